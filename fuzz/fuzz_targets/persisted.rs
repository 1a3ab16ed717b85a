//! Fuzzes `mapreduce_decoders::persisted`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mapreduce_decoders::persisted::run(data));
