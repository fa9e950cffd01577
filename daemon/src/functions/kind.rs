//! The kinds of runner processes, and what of them concerns whoever hands out processes.

/// What a runner process is, for its whole life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunnerKind {
    /// The embedded JavaScript engine.
    Quickjs,
    /// Node.js, on the folder of one version.
    Node,
    /// A supervisor that starts an executable of the version for every run.
    Process,
}

impl RunnerKind {
    /// All of them.
    pub const ALL: [RunnerKind; 3] = [RunnerKind::Quickjs, RunnerKind::Node, RunnerKind::Process];

    /// The name in manifests, in messages and on a runner's command line.
    pub fn name(self) -> &'static str {
        match self {
            RunnerKind::Quickjs => "quickjs",
            RunnerKind::Node => "node",
            RunnerKind::Process => "process",
        }
    }

    /// The kind of that name.
    pub fn of_name(name: &str) -> Option<RunnerKind> {
        RunnerKind::ALL.into_iter().find(|it| it.name() == name)
    }

    /// Whether a process that has run one version can go over to another. Not where the sandbox is
    /// made for one folder; and Node.js keeps every module that it has loaded.
    pub(super) fn changes_version(self) -> bool {
        match self {
            RunnerKind::Quickjs => true,
            RunnerKind::Node | RunnerKind::Process => false,
        }
    }
}
