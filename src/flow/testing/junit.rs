//! The results of tests as JUnit XML, which CI systems read.

use std::fmt::Write as _;

use super::{CaseStatus, SuiteResult};

/// The results as XML.
pub(crate) fn xml(suites: &[SuiteResult]) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>".to_owned();
    for suite in suites {
        let count = |status: CaseStatus| suite.cases.iter().filter(|case| case.status == status).count();
        let (tests, failures) = (suite.cases.len(), count(CaseStatus::Failed));
        let skipped = count(CaseStatus::Skipped);
        let name = escape(&suite.id);
        let _ = write!(
            out,
            "\n  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" skipped=\"{skipped}\">"
        );
        for case in &suite.cases {
            let (id, class) = (escape(&case.id), escape(&suite.flow));
            let _ = write!(
                out,
                "\n    <testcase classname=\"{class}\" name=\"{id}\" time=\"{:.3}\">",
                case.seconds
            );
            if case.status == CaseStatus::Skipped {
                out.push_str("<skipped/>");
            }
            let faults: Vec<&str> = case.faults().collect();
            if let Some(first) = faults.first() {
                let message = escape(first.lines().next().unwrap_or_default());
                let text = escape(&faults.join("\n"));
                let _ = write!(out, "<failure message=\"{message}\">{text}</failure>");
            }
            out.push_str("</testcase>");
        }
        out.push_str("\n  </testsuite>");
    }
    out.push_str("\n</testsuites>\n");
    out
}

/// Replaces what XML does not allow in a text or an attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            character if character.is_control() => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}
