//! The rows of a file that a load accepts equal the rows that the server's COPY reads from it.
//! `TAXI_FUZZ_DATABASE` names the database to use as the oracle; it is not changed. Without it, the target
//! finds only panics and hangs.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

#[path = "../../tests/support/oracle.rs"]
mod oracle;

static ORACLE: LazyLock<Option<oracle::Oracle>> =
    LazyLock::new(|| std::env::var("TAXI_FUZZ_DATABASE").ok().map(|url| oracle::Oracle::new(&url)));
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

fuzz_target!(|lines: &[u8]| {
    match &*ORACLE {
        Some(oracle) => _ = oracle.compare(lines),
        None => _ = RUNTIME.block_on(oracle::encode(&[b"a,b,c\n", lines].concat())),
    }
});
