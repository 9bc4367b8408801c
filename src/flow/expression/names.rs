//! The names that expressions may use.

/// The variables that expressions may use.
pub(crate) const VARIABLES: [&str; 12] = [
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
];

/// The supported functions: `name(…)`.
pub(crate) const FUNCTIONS: [&str; 5] = ["render", "secret", "now", "fromJson", "range"];
/// The supported filters: `value | name`.
pub(crate) const FILTERS: [&str; 17] = [
    "abs", "date", "dateAdd", "default", "first", "join", "json", "last", "length", "lower", "replace",
    "reverse", "sort", "split", "toJson", "trim", "upper",
];
/// The supported tests: `value is name`.
pub(crate) const TESTS: [&str; 5] = ["null", "empty", "defined", "iterable", "map"];
