//! Connections of functions, through the daemon's egress and its guard.
