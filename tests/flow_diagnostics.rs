//! The faults of a flow are reported with line, column and the text of the line. No flow makes the program
//! panic or hang.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use taxi_etl::flow;
use taxi_etl::flow::yaml::document::Faults;

/// Faulty flows, each with a name for what is wrong.
const CASES: &[(&str, &str)] = &[
    ("invalid YAML", "id: [a\nnamespace: b\n"),
    ("a duplicate key", "id: a\nid: b\n"),
    ("a list instead of a flow", "- id: a\n"),
    ("an empty file", ""),
    ("a tab", "id: a\n\tnamespace: b\n"),
    ("no tasks", "id: a\nnamespace: b\n"),
    ("an empty list of tasks", "id: a\nnamespace: b\ntasks: []\n"),
    ("tasks that are not a list", "id: a\nnamespace: b\ntasks: {id: t}\n"),
    ("an id with a space", "id: my flow\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\n"),
    ("an unknown property", "id: a\nnamespace: b\nlables: {a: b}\ntasks: [{id: t, type: LOG, message: m}]\n"),
    (
        "a property that is not supported",
        "id: a\nnamespace: b\nworkflow: []\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    ("a task without a type", "id: a\nnamespace: b\ntasks:\n  - id: t\n    message: m\n"),
    (
        "a type that is not supported",
        "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: io.kestra.plugin.gcp.bigquery.Query\n",
    ),
    ("a task's missing property", "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: LOG\n"),
    ("a task's unknown property", "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: LOG\n    mesage: m\n"),
    (
        "an invalid task inside another task",
        "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: IF\n    condition: x\n    then:\n      - {id: u, type: LOG}\n",
    ),
    (
        "a duplicate id at different depths",
        "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: IF\n    condition: x\n    then:\n      - {id: t, type: LOG, message: m}\n",
    ),
    (
        "an expression that does not close",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: '{{ inputs.x'}]\n",
    ),
    ("an invalid expression", "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: '{{ a b }}'}]\n"),
    ("an unknown filter", "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: '{{ a | shout }}'}]\n"),
    (
        "an unknown function",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: 'x {{ rander(1) }}'}]\n",
    ),
    (
        "a function that is not supported",
        "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: LOG\n    message: |\n      one\n      {{ 1 ~ appLink() }}\n",
    ),
    (
        "an unknown argument",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: \"{{ now() | date(zone='UTC') }}\"}]\n",
    ),
    (
        "names that do not exist",
        "id: a\nnamespace: b\ninputs: [{id: year, type: INT}]\nvariables: {table: t}\ntasks:\n  - id: first\n    type: LOG\n    message: \"{{ inputs.yaer }} {{ vars.tabel | upper }}\"\n  - id: second\n    type: LOG\n    message: >\n      {{ outputs.frist.value ~ 1 }} {{ input.year }}\n",
    ),
    (
        "a property whose meaning is clear",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m, when: x, fetchSize: 3}]\n",
    ),
    (
        "one unsupported plugin with a faulty retry",
        "id: a\nnamespace: b\ntasks:\n  - {id: t, type: io.kestra.plugin.jdbc.duckdb.Query, retry: {type: never}, sql: x}\n",
    ),
    (
        "an invalid expression in a variable",
        "id: a\nnamespace: b\nvariables:\n  x:\n    - '{{ ? }}'\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    ("an invalid boolean", "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m, disabled: yes}]\n"),
    ("an invalid duration", "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m, timeout: 5m}]\n"),
    (
        "an invalid number",
        "id: a\nnamespace: b\nconcurrency: {limit: -1}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "a limit of zero",
        "id: a\nnamespace: b\nconcurrency:\n  limit: 0\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    ("an unknown choice", "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m, level: LOUD}]\n"),
    (
        "a retry without interval",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m, retry: {type: constant}}]\n",
    ),
    (
        "a retry of a type that is not supported",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m, retry: {type: random, interval: PT1S}}]\n",
    ),
    (
        "an unsupported type of an input",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: COLOR, itemType: STRING, defaults: [a]}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "an invalid default of an input",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: INT, min: 3, defaults: 2}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "a SELECT input without values",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: SELECT}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "a bound of a STRING input",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: STRING, max: 3}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "a duplicate input",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: INT}\n  - {id: x, type: INT}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "an invalid cron expression",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\ntriggers:\n  - {id: x, type: SCHEDULE, cron: often}\n",
    ),
    (
        "a cron expression with seconds",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\ntriggers:\n  - {id: x, type: SCHEDULE, cron: '0 0 9 1 * *'}\n",
    ),
    (
        "an unknown time zone",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\ntriggers:\n  - {id: x, type: SCHEDULE, cron: '* * * * *', timezone: Mars/Crater}\n",
    ),
    (
        "an invalid value for an input of a trigger",
        "id: a\nnamespace: b\ninputs: [{id: y, type: INT}]\ntasks: [{id: t, type: LOG, message: m}]\ntriggers:\n  - {id: x, type: SCHEDULE, cron: '* * * * *', inputs: {y: many}}\n",
    ),
    (
        "a trigger of an unsupported type",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\ntriggers:\n  - {id: x, type: io.kestra.plugin.core.trigger.Nothing, cron: '* * * * *'}\n",
    ),
    (
        "a validator of an INT input",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: INT, validator: a}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "an ARRAY input without the type of its items",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: ARRAY}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "a plugin default for an unknown property",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\npluginDefaults:\n  - type: LOG\n    values:\n      fetchType: FETCH\n",
    ),
    (
        "a task runner that is not supported",
        "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: io.kestra.plugin.scripts.shell.Commands\n    commands: [ls]\n    containerImage: ubuntu\n    taskRunner: {type: io.kestra.plugin.ee.kubernetes.runner.Kubernetes, namespace: b}\n",
    ),
    (
        "a subflow that is not waited for",
        "id: a\nnamespace: b\ntasks:\n  - {id: t, type: io.kestra.plugin.core.flow.Subflow, namespace: b, flowId: c, wait: false}\n",
    ),
    (
        "a container that is not waited for",
        "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: io.kestra.plugin.scripts.shell.Commands\n    commands: [ls]\n    dockerOptions: {image: ubuntu, wait: false}\n",
    ),
    (
        "multi-byte characters before the fault",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: 'é🚕', lvl: x}]\n",
    ),
    (
        "several faults at once",
        "id: a\ninputs: [{id: x, type: COLOR}]\ntasks:\n  - {id: t, type: LOG, massage: m}\n  - {id: '', type: nothing}\n",
    ),
];

fn text(case: &str) -> String {
    case.replace("type: LOG", "type: io.kestra.plugin.core.log.Log")
        .replace("type: IF", "type: io.kestra.plugin.core.flow.If")
        .replace("type: SCHEDULE", "type: io.kestra.plugin.core.trigger.Schedule")
}

#[test]
fn every_fault_is_reported_with_its_position() {
    let mut report = String::new();
    for (name, case) in CASES {
        let faults = flow::check("flow.yaml", &text(case)).err();
        let faults: Faults = faults.unwrap_or_else(|| panic!("{name}: no fault was found"));
        assert!(
            faults.found.iter().all(|fault| fault.position.line > 0),
            "{name}: a fault without a position: {faults}"
        );
        let _ = write!(report, "── {name}\n{faults}\n\n");
    }
    insta::assert_snapshot!(report);
}

/// Returns the valid flows of the repository, which the tests damage.
fn valid_flows() -> Vec<String> {
    let flows = [
        include_str!("flows/constructs.yaml"),
        include_str!("flows/failing.yaml"),
        include_str!("../examples/flows/wget_copy_merge.yaml"),
        include_str!("../pipelines/postgres_taxi.yaml"),
    ];
    for flow in flows {
        flow::check("flow.yaml", flow).unwrap();
    }
    flows.map(str::to_owned).into()
}

/// Fragments of flows. They reach more of the parser than random characters.
const FRAGMENTS: &[&str] = &[
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    " ?? ",
    " ? ",
    " : ",
    " | date('",
    "')",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "\\",
    "~",
    "..",
    "not ",
    "is ",
    "in",
    "- ",
    "  ",
    "\n",
    "\n  - ",
    ": ",
    "&a ",
    "*a",
    "!!binary ",
    "|\n",
    "id",
    "type",
    "tasks",
    "inputs",
    "then",
    "io.kestra.plugin.core.flow.If",
    "99999999999999999999",
    "-1",
    "1e999",
    ".nan",
    "~",
    "null",
    "true",
    "é",
    "🚕",
    "\u{0}",
    "\t",
    "P1D",
    "PT99999999999999H",
    "0 0 31 2 *",
    "inputs.x",
    "render(",
    "secret('",
    "#",
    "<<: ",
    "---\n",
];

fn assert_check_is_fast(text: &str) {
    let began = Instant::now();
    if let Err(faults) = flow::check("flow.yaml", text) {
        // printing the faults must not fail, either
        assert!(!faults.to_string().is_empty());
    }
    // seconds on a busy machine, and no end for a text whose cost grows without a limit
    assert!(began.elapsed() < Duration::from_secs(60), "{:?} for {text:?}", began.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_damaged_flow_never_panics(
        which in 0..4_usize,
        damages in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, prop::sample::select(FRAGMENTS)), 1..6),
    ) {
        let mut flow: Vec<char> = valid_flows()[which].chars().collect();
        for (position, length, fragment) in damages {
            let start = position.index(flow.len().max(1)).min(flow.len());
            let end = (start + length).min(flow.len());
            flow.splice(start..end, fragment.chars());
        }
        assert_check_is_fast(&flow.into_iter().collect::<String>());
    }

    #[test]
    fn a_text_of_fragments_never_panics(text in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..60)) {
        let text = text.concat();
        assert_check_is_fast(&text);
        assert_check_is_fast(&format!("id: a\nnamespace: b\ntasks:\n  - id: t\n    type: io.kestra.plugin.core.log.Log\n    message: {text:?}\n"));
    }
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    // the program reads flows on its main thread, which has a larger stack than the thread of a test
    let main_thread = std::thread::Builder::new().stack_size(8 << 20);
    main_thread.spawn(check_deep_nesting).unwrap().join().unwrap();
}

fn check_deep_nesting() {
    let deep = 5_000;
    assert_check_is_fast(&"[".repeat(deep));
    assert_check_is_fast(&format!("id: {}", "{a: ".repeat(deep)));
    assert_check_is_fast(&(0..deep).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>());
    assert_check_is_fast(&(0..deep).map(|depth| format!("{}- \n", " ".repeat(depth))).collect::<String>());
    // nested aliases that expand exponentially
    let mut nested_aliases =
        "id: a\nnamespace: b\nvariables:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let _ = writeln!(nested_aliases, "  a{level}: &a{level} [{}]", [below.as_str(); 10].join(", "));
    }
    assert_check_is_fast(&nested_aliases);
}
