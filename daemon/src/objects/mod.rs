//! The pure part of objects: whether a definition makes sense, what a change makes of an object, how
//! values are written so that they sort, what a filter means, and how a list is best read.
//!
//! Must never read a clock or the store: what has to be looked up is handed in.

pub mod document;
pub mod filter;
pub mod index;
pub mod own;
pub mod path;
pub mod plan;
pub mod query;
