//! What everything that goes out to a receiver of somebody else has in common: [`mod@line`], the window
//! over what waits for one receiver, and [`rate`], how many may begin in a second. Pure.

pub mod line;
pub mod rate;
