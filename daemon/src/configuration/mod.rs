//! What a snap-in's configuration may be, and what a change of it means: decisions without side
//! effects. Owns the checks of input values, what is missing before an activation, and the plan of
//! an upgrade. Must never store, ask or call anything.

pub mod dates;
pub mod differences;
mod ids;
pub mod inputs;
#[cfg(test)]
mod inputs_tests;
pub mod operation_inputs;
pub mod plan;
mod plan_sections;
#[cfg(test)]
mod plan_tests;
pub mod readiness;
pub mod secret_parts;
pub mod suggest;
pub mod values;
pub mod write_only;
