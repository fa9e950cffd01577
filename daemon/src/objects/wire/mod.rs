//! How callers say things about objects that mean the same: members of a query string, filters inside
//! of filters, other names of fields. Clients of the platform whose types are in
//! `contrib/object-types/` write them in these ways, and go on doing so.
//!
//! Everything here turns one JSON object into another, plainer one. It must never look at what is
//! stored, and decides nothing: what may be filtered, and what an object may hold, is judged after it.

pub mod fields;
pub mod filter;
pub mod query;
#[cfg(test)]
pub mod testing;
