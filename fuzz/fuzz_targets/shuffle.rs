//! Fuzzes `mapreduce_decoders::shuffle`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mapreduce_decoders::shuffle::run(data));
