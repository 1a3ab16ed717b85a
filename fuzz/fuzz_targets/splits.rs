//! Fuzzes `mapreduce_decoders::splits`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mapreduce_decoders::splits::run(data));
