//! Fuzzes `mapreduce_decoders::records`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mapreduce_decoders::records::run(data));
