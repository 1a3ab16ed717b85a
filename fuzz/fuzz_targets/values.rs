//! Fuzzes `mapreduce_decoders::values`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mapreduce_decoders::values::run(data));
