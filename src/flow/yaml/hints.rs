//! What a person probably meant by a name that does not exist.

/// Names that people write, and the names of the properties that they mean.
const MEANINGS: &[(&str, &str)] = &[
    ("runner", "taskRunner"),
    ("docker", "taskRunner"),
    ("taskDefaults", "pluginDefaults"),
    ("defaults", "pluginDefaults"),
    ("plugin_defaults", "pluginDefaults"),
    ("vars", "variables"),
    ("env", "variables"),
    ("parameters", "inputs"),
    ("params", "inputs"),
    ("steps", "tasks"),
    ("schedule", "triggers"),
    ("cron", "triggers"),
    ("onError", "errors"),
    ("onFailure", "errors"),
    ("name", "id"),
    ("default", "defaults"),
    ("options", "values"),
    ("regex", "validator"),
    ("pattern", "validator"),
    ("label", "displayName"),
    ("when", "runIf"),
    ("if", "runIf"),
    ("condition", "runIf"),
    ("retries", "retry"),
    ("continueOnError", "allowFailure"),
    ("ignoreErrors", "allowFailure"),
    ("command", "commands"),
    ("image", "containerImage"),
    ("dockerImage", "containerImage"),
    ("environment", "env"),
    ("url", "uri"),
    ("uri", "url"),
    ("user", "username"),
    ("query", "sql"),
    ("statement", "sql"),
    ("timezone", "timeZone"),
    ("msg", "message"),
    ("text", "message"),
    ("value", "format"),
    ("value", "values"),
    ("items", "values"),
    ("max_attempts", "maxAttempts"),
    ("maxRetries", "maxAttempts"),
    ("attempts", "maxAttempts"),
    ("delay", "interval"),
    ("delay", "duration"),
    ("namespaceId", "namespace"),
    ("flow", "flowId"),
    ("subflow", "flowId"),
];

/// The smallest similarity of two names, from 0 to 1, at which one is taken for a misspelling of the other.
const SIMILARITY: f64 = 0.7;

/// The known property that `name` stands for: by its meaning, otherwise by its letters.
pub(crate) fn property<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let meant = MEANINGS.iter().filter(|(written, _)| *written == name);
    let known_as = |meant: &str| known.iter().find(|known| **known == meant).copied();
    meant.filter_map(|(_, meant)| known_as(meant)).next().or_else(|| by_letters(name, known))
}

/// The known name that differs from `name` in a few letters. None if the nearest differs in more.
pub(crate) fn by_letters<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let similarity = |known: &str| strsim::normalized_damerau_levenshtein(&plain(known), &plain(name));
    let nearest = known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    Some(*nearest).filter(|nearest| similarity(nearest) >= SIMILARITY)
}

#[cfg(test)]
mod tests {
    use super::property;

    #[test]
    fn a_name_is_suggested_by_meaning_then_by_letters_and_never_from_far_away() {
        let task = [
            "id",
            "type",
            "runIf",
            "retry",
            "timeout",
            "sql",
            "fetchType",
            "taskRunner",
            "commands",
            "message",
            "level",
        ];
        for (written, meant) in [
            ("runner", Some("taskRunner")),
            ("when", Some("runIf")),
            ("retries", Some("retry")),
            ("mesage", Some("message")),
            ("fetch_type", Some("fetchType")),
            ("comands", Some("commands")),
            ("timeZoneId", None),
            ("logLevel", None),
            ("ssl", None),
            ("fetchSize", None),
        ] {
            assert_eq!(property(written, &task), meant, "{written}");
        }
        let flow = ["id", "tasks", "pluginDefaults", "labels", "inputs"];
        assert_eq!(property("taskDefaults", &flow), Some("pluginDefaults"));
        assert_eq!(property("lables", &flow), Some("labels"));
    }
}
