//! What is wrong with a flow is said at its line and column, with the line shown; no flow makes the program panic or hang.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use taxi_etl::flow;
use taxi_etl::flow::yaml::document::Faults;

/// A flow with one task, and something wrong with it.
const CASES: &[(&str, &str)] = &[
    ("no YAML", "id: [a\nnamespace: b\n"),
    ("a key twice", "id: a\nid: b\n"),
    ("a list is no flow", "- id: a\n"),
    ("nothing at all", ""),
    ("a tab", "id: a\n\tnamespace: b\n"),
    ("no tasks", "id: a\nnamespace: b\n"),
    ("an empty list of tasks", "id: a\nnamespace: b\ntasks: []\n"),
    ("tasks are no list", "id: a\nnamespace: b\ntasks: {id: t}\n"),
    ("an id with a space", "id: my flow\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\n"),
    ("an unknown property", "id: a\nnamespace: b\nlables: {a: b}\ntasks: [{id: t, type: LOG, message: m}]\n"),
    (
        "a property that is not supported",
        "id: a\nnamespace: b\nsla: []\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    ("a task without a type", "id: a\nnamespace: b\ntasks:\n  - id: t\n    message: m\n"),
    (
        "a type that is not supported",
        "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: io.kestra.plugin.gcp.bigquery.Query\n",
    ),
    ("a task's missing property", "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: LOG\n"),
    ("a task's unknown property", "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: LOG\n    mesage: m\n"),
    (
        "a task below another",
        "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: IF\n    condition: x\n    then:\n      - {id: u, type: LOG}\n",
    ),
    (
        "an id twice, at different depths",
        "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: IF\n    condition: x\n    then:\n      - {id: t, type: LOG, message: m}\n",
    ),
    (
        "an expression that does not close",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: '{{ inputs.x'}]\n",
    ),
    (
        "an expression that is none",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: '{{ a b }}'}]\n",
    ),
    ("an unknown filter", "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: '{{ a | shout }}'}]\n"),
    ("an unknown function", "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: '{{ kv(1) }}'}]\n"),
    (
        "an expression in a variable",
        "id: a\nnamespace: b\nvariables:\n  x:\n    - '{{ ? }}'\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "a boolean that is none",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m, disabled: yes}]\n",
    ),
    ("a time that is none", "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m, timeout: 5m}]\n"),
    (
        "a number that is none",
        "id: a\nnamespace: b\nconcurrency: {limit: -1}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "a limit of nothing",
        "id: a\nnamespace: b\nconcurrency:\n  limit: 0\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    ("a choice that is none", "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m, level: LOUD}]\n"),
    (
        "a retry without interval",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m, retry: {type: constant}}]\n",
    ),
    (
        "a retry of a type that is not supported",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m, retry: {type: random, interval: PT1S}}]\n",
    ),
    (
        "an input's type",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: FILE}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "an input's default",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: INT, min: 3, defaults: 2}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "an input without values",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: SELECT}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "bounds of a text",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: STRING, max: 3}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "an input twice",
        "id: a\nnamespace: b\ninputs:\n  - {id: x, type: INT}\n  - {id: x, type: INT}\ntasks: [{id: t, type: LOG, message: m}]\n",
    ),
    (
        "a cron expression",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\ntriggers:\n  - {id: x, type: SCHEDULE, cron: often}\n",
    ),
    (
        "a cron expression with seconds",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\ntriggers:\n  - {id: x, type: SCHEDULE, cron: '0 0 9 1 * *'}\n",
    ),
    (
        "a time zone",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\ntriggers:\n  - {id: x, type: SCHEDULE, cron: '* * * * *', timezone: Mars/Crater}\n",
    ),
    (
        "a trigger's input",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\ntriggers:\n  - {id: x, type: SCHEDULE, cron: '* * * * *', inputs: {y: 1}}\n",
    ),
    (
        "a trigger of another type",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\ntriggers:\n  - {id: x, type: io.kestra.plugin.core.trigger.Webhook, cron: '* * * * *'}\n",
    ),
    (
        "defaults of nothing that is supported",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\npluginDefaults:\n  - {type: io.kestra.plugin.gcp, values: {projectId: x}}\n",
    ),
    (
        "a default that the type does not have",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: m}]\npluginDefaults:\n  - type: LOG\n    values:\n      fetchType: FETCH\n",
    ),
    (
        "a container",
        "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: io.kestra.plugin.scripts.shell.Commands\n    commands: [ls]\n    containerImage: ubuntu\n    taskRunner: {type: io.kestra.plugin.scripts.runner.docker.Docker}\n",
    ),
    (
        "a subflow that is not waited for",
        "id: a\nnamespace: b\ntasks:\n  - {id: t, type: io.kestra.plugin.core.flow.Subflow, namespace: b, flowId: c, wait: false}\n",
    ),
    (
        "characters of several bytes before the fault",
        "id: a\nnamespace: b\ntasks: [{id: t, type: LOG, message: 'é🚕', lvl: x}]\n",
    ),
    (
        "several at once",
        "id: a\ninputs: [{id: x, type: FILE}]\ntasks:\n  - {id: t, type: LOG, massage: m}\n  - {id: '', type: nothing}\n",
    ),
];

fn text(case: &str) -> String {
    case.replace("type: LOG", "type: io.kestra.plugin.core.log.Log")
        .replace("type: IF", "type: io.kestra.plugin.core.flow.If")
        .replace("type: SCHEDULE", "type: io.kestra.plugin.core.trigger.Schedule")
}

#[test]
fn every_fault_is_shown_at_its_place() {
    let mut seen = String::new();
    for (name, case) in CASES {
        let faults = flow::check("flow.yaml", &text(case)).err();
        let faults: Faults = faults.unwrap_or_else(|| panic!("{name}: nothing was found wrong"));
        assert!(
            faults.found.iter().all(|fault| fault.position.line > 0),
            "{name}: without a place: {faults}"
        );
        let _ = write!(seen, "── {name}\n{faults}\n\n");
    }
    insta::assert_snapshot!(seen);
}

/// The flows of the repository, to be damaged.
fn sound() -> Vec<String> {
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

/// Bits of flows, which are more likely to be read than random characters.
const BITS: &[&str] = &[
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

fn is_judged_soon(text: &str) {
    let began = Instant::now();
    if let Err(faults) = flow::check("flow.yaml", text) {
        // to say it must not fail, either
        assert!(!faults.to_string().is_empty());
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?} for {text:?}", began.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_damage_to_a_flow_makes_it_panic(
        which in 0..4_usize,
        damages in prop::collection::vec((any::<prop::sample::Index>(), 0..12_usize, prop::sample::select(BITS)), 1..6),
    ) {
        let mut flow: Vec<char> = sound()[which].chars().collect();
        for (place, length, bit) in damages {
            let start = place.index(flow.len().max(1)).min(flow.len());
            let end = (start + length).min(flow.len());
            flow.splice(start..end, bit.chars());
        }
        is_judged_soon(&flow.into_iter().collect::<String>());
    }

    #[test]
    fn no_text_of_bits_makes_it_panic(bits in prop::collection::vec(prop::sample::select(BITS), 0..60)) {
        let bits = bits.concat();
        is_judged_soon(&bits);
        is_judged_soon(&format!("id: a\nnamespace: b\ntasks:\n  - id: t\n    type: io.kestra.plugin.core.log.Log\n    message: {bits:?}\n"));
    }
}

#[test]
fn no_depth_of_nesting_overflows_the_stack() {
    let deep = 5_000;
    is_judged_soon(&"[".repeat(deep));
    is_judged_soon(&format!("id: {}", "{a: ".repeat(deep)));
    is_judged_soon(&(0..deep).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>());
    is_judged_soon(&(0..deep).map(|depth| format!("{}- \n", " ".repeat(depth))).collect::<String>());
    // an alias that stands for many
    let mut laughs = "id: a\nnamespace: b\nvariables:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let _ = writeln!(laughs, "  a{level}: &a{level} [{}]", [below.as_str(); 10].join(", "));
    }
    is_judged_soon(&laughs);
}
