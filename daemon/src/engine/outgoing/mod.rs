//! What everything that goes out to a receiver of somebody else has in common: [`mod@line`], the window
//! over what waits for one receiver, [`rate`], how many may begin in a second, both pure, and [`signals`],
//! how the task of one receiver is told that there is something to do.

pub mod line;
pub mod rate;
pub mod signals;
