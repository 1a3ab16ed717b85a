//! Fuzzes `mapreduce_decoders::files::lines`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mapreduce_decoders::files::lines::run(data));
