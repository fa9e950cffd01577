//! A supervisor: for every run it starts an executable of the version in a sandbox of its own.

mod about;

pub use self::about::About;
