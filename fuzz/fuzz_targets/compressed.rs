//! Fuzzes `mapreduce_decoders::files::compressed`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mapreduce_decoders::files::compressed::run(data));
