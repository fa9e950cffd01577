//! To be written.
pub mod glue {}
