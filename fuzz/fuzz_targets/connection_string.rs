//! No text makes the reading of a connection string panic; what is read names a place.

#![no_main]

use libfuzzer_sys::fuzz_target;
use taxi_etl::database::settings::Settings;

fuzz_target!(|text: &str| {
    match Settings::parse(text) {
        Ok(settings) => assert!(!settings.address().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
