//! Fuzzes `mapreduce_decoders::files::parquet`.

#![no_main]

use std::panic;

// The fuzzer's hook would end the process at panics of the Parquet library, which the reader takes for damage. Those
// that nobody catches end it all the same.
libfuzzer_sys::fuzz_target!(init: panic::set_hook(Box::new(|_| {})), |data: &[u8]| {
    mapreduce_decoders::files::parquet::run(data);
});
