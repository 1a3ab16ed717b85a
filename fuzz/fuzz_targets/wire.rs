//! Fuzzes `mapreduce_decoders::wire`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mapreduce_decoders::wire::run(data));
