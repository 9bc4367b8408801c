//! A file that the load takes is, row by row, what the server's COPY makes of it. `TAXI_FUZZ_DATABASE` names the judge, a
//! database of which nothing is kept; without one only panics and hangs are found.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

#[path = "../../tests/support/judge.rs"]
mod judge;

static JUDGE: LazyLock<Option<judge::Judge>> =
    LazyLock::new(|| std::env::var("TAXI_FUZZ_DATABASE").ok().map(|url| judge::Judge::new(&url)));
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

fuzz_target!(|lines: &[u8]| {
    match &*JUDGE {
        Some(judge) => _ = judge.compare(lines),
        None => _ = RUNTIME.block_on(judge::encode(&[b"a,b,c\n", lines].concat())),
    }
});
