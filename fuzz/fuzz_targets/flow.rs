//! Checking a flow never panics or hangs, and its faults have messages.

#![no_main]

use libfuzzer_sys::fuzz_target;
use taxi_etl::flow;

fuzz_target!(|text: &str| {
    if let Err(faults) = flow::check("flow.yaml", text) {
        assert!(!faults.to_string().is_empty());
    }
});
