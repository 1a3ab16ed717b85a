//! Fuzzes `mapreduce_decoders::frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mapreduce_decoders::frames::run(data));
