//! What a test needs of the host and cannot bring with it: Node.js, a registry of npm.
//!
//! Where it is missing the test says so and passes: nobody has to have all of it to work on something
//! else. The variable [`REQUIRE`] lists what must not be missing, as `.ci/run` sets it: then it fails.

/// The variable, with words such as `node registry`.
pub const REQUIRE: &str = "MORTISE_TESTS_REQUIRE";

/// Something that a test needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Node.js with npm.
    Node,
    /// A registry of npm packages.
    Registry,
}

impl Need {
    /// Its word in the variable.
    fn word(self) -> &'static str {
        match self {
            Need::Node => "node",
            Need::Registry => "registry",
        }
    }

    fn is_in(self, required: &str) -> bool {
        required.split_whitespace().any(|it| it == self.word())
    }

    /// Says that a test tests nothing for want of it.
    ///
    /// # Panics
    ///
    /// When it is required.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says what must be there")]
    pub fn is_missing(self, why: &str) {
        let required = std::env::var(REQUIRE).unwrap_or_default();
        assert!(!self.is_in(&required), "{why}, and {REQUIRE} has `{}`", self.word());
        eprintln!("not tested: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::Need;

    #[test]
    fn only_what_is_listed_is_required() {
        assert!(Need::Node.is_in("node") && Need::Registry.is_in(" node  registry"));
        assert!(!Need::Node.is_in("") && !Need::Node.is_in("nodes registry"));
    }
}
