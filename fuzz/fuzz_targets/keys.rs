//! Fuzzes `mapreduce_decoders::keys`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mapreduce_decoders::keys::run(data));
