//! The names that expressions may use.

/// The variables that expressions may use.
pub(crate) const VARIABLES: [&str; 15] = [
    "inputs",
    "vars",
    "outputs",
    "trigger",
    "execution",
    "flow",
    "task",
    "taskrun",
    "parent",
    "parents",
    "labels",
    "envs",
    "files",
    "workingDir",
    "outputDir",
];
