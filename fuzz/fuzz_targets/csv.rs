//! Fuzzes `mapreduce_decoders::files::csv`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mapreduce_decoders::files::csv::run(data));
