//! Parsing a connection string never panics. A valid string has an address, and an error has a message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use taxi_etl::database::settings::Settings;

fuzz_target!(|text: &str| {
    match Settings::parse(text) {
        Ok(settings) => assert!(!settings.address().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
