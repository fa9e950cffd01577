//! A manifest's text to a [`Manifest`] and everything that is wrong with it, at once.
//!
//! Owns the YAML, both dialects (version 1 keys end up under their version 2 names), the checks
//! that need nothing but the text, and the places in it. It must never do I/O or compile what
//! belongs to others: cron, jq and Rego are checked by the plugins, which report through
//! [`Places`]; whether a source type exists is the host's to say.
//!
//! What real manifests get wrong without meaning something else is accepted with a warning: flat
//! lists where levels belong, a `filter` beside its `config`, keys of the other version, empty
//! sections, unknown keys, `yes` for `true`. What would not do what it says is an error.
//!
//! YAML is that of version 1.2, core schema: see `scalar.rs`. Aliases and `<<` work; an alias counts
//! as what it stands for.

mod bindings;
mod descriptors;
mod fields;
mod functions;
mod inputs;
mod instructions;
mod keyrings;
mod masking;
mod names;
mod node;
mod object_types;
mod operation_keyrings;
mod places;
mod problem;
mod registration;
mod scalar;
mod sections;
mod sources;
#[cfg(test)]
mod trace;
mod values;
mod views;
mod yaml;

#[cfg(test)]
mod tests;

pub use instructions::render_instructions;
pub use masking::{MASK, mask_secrets, mask_url, named_secrets, names_secret_of_request};
pub use places::Places;
pub use problem::{Problem, Severity};

use crate::model::manifest::Manifest;

/// The longest manifest.
pub const MAX_BYTES: usize = 1 << 20;
/// The most values in one manifest, each alias counted as what it stands for.
pub const MAX_NODES: usize = 100_000;
/// The deepest nesting.
pub const MAX_DEPTH: usize = 64;
/// The longest list in a part that this module reads.
pub const MAX_ITEMS: usize = 1000;

/// What came out of a text.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// There only when no problem is an error.
    pub manifest: Option<Manifest>,
    /// What could be read, when there are errors: good for finding more of them, and nothing else.
    pub partial: Option<Manifest>,
    /// In the order of the file.
    pub problems: Vec<Problem>,
    pub places: Places,
}

/// Reads a manifest.
pub fn parse(text: &str) -> Parsed {
    let mut r = fields::Reader::default();
    let (root, manifest) = read(&mut r, text);
    let (manifest, partial) =
        if r.problems.has_errors() { (None, manifest) } else { (manifest, None) };
    Parsed {
        manifest,
        partial,
        problems: r.problems.into_sorted(),
        places: Places::new(root, r.moved),
    }
}

fn read(r: &mut fields::Reader, text: &str) -> (Option<node::Node>, Option<Manifest>) {
    let root = yaml::load(text, &mut r.problems);
    let manifest = root.as_ref().and_then(|root| sections::read(r, root));
    names::check(&r.names, &mut r.problems);
    (root, manifest)
}

/// What a parse of this text knows and meets.
#[cfg(test)]
fn trace(text: &str) -> trace::Trace {
    let mut r = fields::Reader::default();
    read(&mut r, text);
    r.trace
}

/// Reads any YAML document (of which JSON is a part) under the same bounds and the same stance as a
/// manifest.
pub fn read_yaml(text: &str) -> Result<serde_json::Value, Vec<Problem>> {
    let mut problems = problem::Problems::default();
    let value = yaml::load(text, &mut problems).and_then(|root| {
        let value = root.to_json();
        value.map_err(|place| problems.error(place, "", "JSON cannot express this number")).ok()
    });
    match value.filter(|_| !problems.has_errors()) {
        Some(value) => Ok(value),
        None => Err(problems.into_sorted()),
    }
}
