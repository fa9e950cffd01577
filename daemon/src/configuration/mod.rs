//! What a snap-in's configuration may be, and what a change of it means: decisions without side
//! effects. Owns the checks of input values, what is missing before an activation, and the plan of
//! an upgrade. Must never store, ask or call anything.

pub mod inputs;
pub mod plan;
pub mod readiness;
