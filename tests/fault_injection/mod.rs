//! Injects hundreds of faults at random instants of a load. After each fault, the target is unchanged or
//! complete, the ledger agrees with it, the next load completes it, and nothing is left behind.
//!
//! `TAXI_FAULTS` is the number of faults (default 20), `TAXI_FAULT_SEED` the seed (default 1). The same seed
//! gives the same faults, but not at exactly the same instants. A failure message has the seed, the round and
//! the fault.

mod faults;
mod test_bed;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use fastrand::Rng;

use crate::support::{OwnServer, STAGING_TABLES, SmallDisk, json, skipped, wait_until};
use faults::{KINDS, Kind, LoadOutcome, clock_library, inject};
use test_bed::{REJECTS, SourceFault, TARGET, TestBed};

/// Checks what must hold after a fault, and after the load that follows it. Returns whether the load had
/// taken effect.
fn check(kind: Kind, bed: &TestBed, before: &[String], outcomes: &[LoadOutcome], context: &str) -> bool {
    let output: String = outcomes.iter().map(|outcome| outcome.output.as_str()).collect();
    // start the server again after a crash, as the next load would
    json(&bed.server.taxi(&["up", "--output", "json"]).output().unwrap());
    let database = bed.database();
    let number = |query: &str| database.value(query).parse::<u64>().unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taxi-etl'";
    wait_until("the sessions are gone", || number(sessions) == 0);

    let target = database.sql(TARGET).remove(0);
    let is_complete = target == bed.complete;
    assert!(is_complete || target == before, "{context}: half a load: {target:?}\n{output}");
    let succeeded = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'succeeded'";
    let runs_before = u64::from(before == bed.partial);
    assert_eq!(
        number(succeeded),
        runs_before + u64::from(is_complete),
        "{context}: the ledger disagrees\n{output}"
    );
    let rejects = u64::from(REJECTS) * number(succeeded);
    assert_eq!(
        number("SELECT count(*) FROM taxi_etl.rejects"),
        rejects,
        "{context}: rejects disagree\n{output}"
    );
    let lost = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'lost'";
    let reported_success = outcomes.iter().any(|outcome| outcome.succeeded);
    assert!(is_complete || !reported_success, "{context}: a load reports success\n{output}");

    bed.set_source_fault(SourceFault::None);
    let next = json(&bed.load(&bed.url).output().unwrap());
    let expected = if is_complete { "skipped" } else { "loaded" };
    assert_eq!(next["status"], expected, "{context}: the next load\n{output}");
    assert_eq!(database.sql(TARGET).remove(0), bed.complete, "{context}: after the next load\n{output}");
    wait_until("the next load's sessions are gone", || number(sessions) == 0);
    for (what, query) in [
        ("staging tables", STAGING_TABLES),
        ("locks", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
        ("running runs", "SELECT count(*) FROM taxi_etl.runs WHERE status = 'running'"),
    ] {
        assert_eq!(number(query), 0, "{context}: {what} are left\n{output}");
    }
    // with the kinds from ClockJumped on, every load ends by itself and records how
    assert!(number(lost) == 0 || kind < Kind::ClockJumped, "{context}: runs are lost\n{output}");
    assert!(
        !matches!(kind, Kind::DatabaseStalled | Kind::DatabaseTimeouts) || reported_success,
        "{context}: a short stall or a timeout ended the load\n{output}"
    );
    let left: Vec<_> =
        std::fs::read_dir(bed.temp.path()).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{context}: files are left: {left:?}");
    is_complete
}

/// The results of the faults of one kind.
#[derive(Default)]
struct Tally {
    faults: u32,
    failed: u32,
    complete: u32,
}

#[test]
fn no_fault_loses_or_duplicates_a_row() {
    let setting = |name: &str, default: u64| {
        std::env::var(name)
            .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let (faults, seed) = (setting("TAXI_FAULTS", 20), setting("TAXI_FAULT_SEED", 1));
    let mut rng = Rng::with_seed(seed);
    let main_bed = TestBed::new(OwnServer::new(), None);
    let small_bed = SmallDisk::mount("320m").map(|disk| {
        let server = OwnServer::at(disk.path());
        TestBed::new(server, Some(disk))
    });
    if small_bed.is_none() {
        skipped("cannot mount a small disk: the disk does not fill up");
    }
    if clock_library().is_none() {
        skipped("TAXI_FAKETIME is not set: the clock does not jump");
    }
    let kinds: Vec<Kind> = KINDS
        .iter()
        .filter(|(kind, _)| match kind {
            Kind::DiskFull => small_bed.is_some(),
            Kind::ClockJumped => clock_library().is_some(),
            Kind::PoolerRestarted => main_bed.pooler.is_some(),
            _ => true,
        })
        .flat_map(|(kind, weight)| std::iter::repeat_n(*kind, *weight as usize))
        .collect();
    let mut tallies: BTreeMap<Kind, Tally> = BTreeMap::new();
    let began = Instant::now();
    for round in 0..faults {
        // each kind once, then random kinds
        let kind = match KINDS.get(round as usize) {
            Some((kind, _)) if kinds.contains(kind) => *kind,
            _ => kinds[rng.usize(..kinds.len())],
        };
        let bed = match (&small_bed, kind) {
            (Some(small_bed), Kind::DiskFull) => small_bed,
            _ => &main_bed,
        };
        // a load does not read a file that is loaded already, so it would not notice the change
        let has_rows = rng.bool() && kind != Kind::FileChanged;
        // with a partition the load merges, in one of three rounds; without one it attaches
        let has_partition = rng.u8(..3) == 0;
        bed.reset(has_rows, has_partition);
        let before = if has_rows { &bed.partial } else { &bed.empty };
        let (outcomes, description) = inject(kind, bed, &mut rng);
        let context = format!(
            "seed {seed}, round {round}, {kind:?} {description}, some rows before: {has_rows}, has partition: {has_partition}"
        );
        let complete = check(kind, bed, before, &outcomes, &context);
        let tally = tallies.entry(kind).or_default();
        tally.faults += 1;
        tally.failed += u32::from(outcomes.iter().any(|outcome| !outcome.succeeded));
        tally.complete += u32::from(complete);
        if (round + 1) % 100 == 0 {
            eprintln!("{} faults after {:.0} s", round + 1, began.elapsed().as_secs_f64());
        }
    }
    let mut text = format!(
        "{faults} faults with seed {seed} in {:.0} s, a load takes {:.2} s: no row was lost or duplicated\n",
        began.elapsed().as_secs_f64(),
        main_bed.load_duration.as_secs_f64()
    );
    let _ = writeln!(text, "{:20} {:>6} {:>11} {:>15}", "fault", "tried", "load failed", "took effect");
    for (kind, tally) in tallies {
        let kind = format!("{kind:?}");
        let _ = writeln!(text, "{kind:20} {:>6} {:>11} {:>15}", tally.faults, tally.failed, tally.complete);
    }
    eprint!("{text}");
}
