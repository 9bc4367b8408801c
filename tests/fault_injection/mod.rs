//! Faults at random instants, hundreds of them: after each the target is as it was or complete, the ledger says the same, the
//! next load completes it, and nothing is left behind.
//!
//! `TAXI_FAULTS` says how many (30), `TAXI_FAULT_SEED` which (1): the same seed makes the same faults, though not to the
//! microsecond. A failure names the seed, the round and the fault.

mod site;
mod strike;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use fastrand::Rng;

use crate::support::{OwnServer, STAGING_TABLES, SmallDisk, json, skipped, wait_until};
use site::{Misbehaviour, REJECTS, Site, TARGET};
use strike::{Ended, KINDS, Kind, clock_library, strike};

/// What must hold after a fault, and after the load that follows it. Returns whether the load had taken effect.
fn check(kind: Kind, site: &Site, before: &[String], ended: &[Ended], context: &str) -> bool {
    let said: String = ended.iter().map(|ended| ended.said.as_str()).collect();
    // a server that was killed is brought up again, as the next load would
    json(&site.server.taxi(&["up", "--output", "json"]).output().unwrap());
    let database = site.database();
    let number = |query: &str| database.value(query).parse::<u64>().unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taxi-etl'";
    wait_until("the sessions are gone", || number(sessions) == 0);

    let target = database.sql(TARGET).remove(0);
    let is_complete = target == site.complete;
    assert!(is_complete || target == before, "{context}: half a load: {target:?}\n{said}");
    let succeeded = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'succeeded'";
    let runs_before = u64::from(before == site.some);
    assert_eq!(
        number(succeeded),
        runs_before + u64::from(is_complete),
        "{context}: the ledger disagrees\n{said}"
    );
    let rejects = u64::from(REJECTS) * number(succeeded);
    assert_eq!(
        number("SELECT count(*) FROM taxi_etl.rejects"),
        rejects,
        "{context}: rejects disagree\n{said}"
    );
    let lost = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'lost'";
    let claimed = ended.iter().any(|ended| ended.succeeded);
    assert!(is_complete || !claimed, "{context}: a load says that it succeeded\n{said}");

    site.misbehave(Misbehaviour::None);
    let next = json(&site.load(&site.url).output().unwrap());
    let expected = if is_complete { "skipped" } else { "loaded" };
    assert_eq!(next["status"], expected, "{context}: the next load\n{said}");
    assert_eq!(database.sql(TARGET).remove(0), site.complete, "{context}: after the next load\n{said}");
    wait_until("the next load's sessions are gone", || number(sessions) == 0);
    for (what, query) in [
        ("staging tables", STAGING_TABLES),
        ("locks", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
        ("runs under way", "SELECT count(*) FROM taxi_etl.runs WHERE status = 'running'"),
    ] {
        assert_eq!(number(query), 0, "{context}: {what} are left\n{said}");
    }
    // who has ended by itself has said how: so it is from the jump of a clock on, in the order of the kinds
    assert!(number(lost) == 0 || kind < Kind::ClockJumped, "{context}: runs are lost\n{said}");
    assert!(kind != Kind::DatabaseStalled || claimed, "{context}: a short stall was the end\n{said}");
    let left: Vec<_> =
        std::fs::read_dir(site.temp.path()).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{context}: files are left: {left:?}");
    is_complete
}

/// What came of the faults of a kind.
#[derive(Default)]
struct Tally {
    faults: u32,
    failed: u32,
    complete: u32,
}

#[test]
fn no_fault_loses_or_doubles_a_row() {
    let setting = |name: &str, default: u64| {
        std::env::var(name)
            .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let (faults, seed) = (setting("TAXI_FAULTS", 30), setting("TAXI_FAULT_SEED", 1));
    let mut rng = Rng::with_seed(seed);
    let site = Site::new(OwnServer::new(), None);
    let small = SmallDisk::mount("320m").map(|disk| {
        let server = OwnServer::at(disk.path());
        Site::new(server, Some(disk))
    });
    if small.is_none() {
        skipped("no small disk can be mounted: no fault is a full disk");
    }
    if clock_library().is_none() {
        skipped("TAXI_FAKETIME names no libfaketime: no clock jumps");
    }
    let kinds: Vec<Kind> = KINDS
        .iter()
        .filter(|(kind, _)| match kind {
            Kind::DiskFull => small.is_some(),
            Kind::ClockJumped => clock_library().is_some(),
            _ => true,
        })
        .flat_map(|(kind, weight)| std::iter::repeat_n(*kind, *weight as usize))
        .collect();
    let mut tallies: BTreeMap<Kind, Tally> = BTreeMap::new();
    let began = Instant::now();
    for round in 0..faults {
        // each at least once, then as they fall
        let kind = match KINDS.get(round as usize) {
            Some((kind, _)) if kinds.contains(kind) => *kind,
            _ => kinds[rng.usize(..kinds.len())],
        };
        let site = match (&small, kind) {
            (Some(small), Kind::DiskFull) => small,
            _ => &site,
        };
        // of a file that is loaded already nothing would be read
        let some = rng.bool() && kind != Kind::FileChanged;
        // of three loads one merges, the others attach
        let has_partition = rng.u8(..3) == 0;
        site.reset(some, has_partition);
        let before = if some { &site.some } else { &site.empty };
        let (ended, described) = strike(kind, site, &mut rng);
        let context = format!(
            "seed {seed}, round {round}, {kind:?} {described}, some rows before: {some}, has partition: {has_partition}"
        );
        let complete = check(kind, site, before, &ended, &context);
        let tally = tallies.entry(kind).or_default();
        tally.faults += 1;
        tally.failed += u32::from(ended.iter().any(|ended| !ended.succeeded));
        tally.complete += u32::from(complete);
        if (round + 1) % 100 == 0 {
            eprintln!("{} faults after {:.0} s", round + 1, began.elapsed().as_secs_f64());
        }
    }
    let mut text = format!(
        "{faults} faults with seed {seed} in {:.0} s, a load takes {:.2} s: no row was lost, none doubled\n",
        began.elapsed().as_secs_f64(),
        site.took.as_secs_f64()
    );
    let _ = writeln!(text, "{:20} {:>6} {:>11} {:>15}", "fault", "tried", "load failed", "took effect");
    for (kind, tally) in tallies {
        let kind = format!("{kind:?}");
        let _ = writeln!(text, "{kind:20} {:>6} {:>11} {:>15}", tally.faults, tally.failed, tally.complete);
    }
    eprint!("{text}");
}
