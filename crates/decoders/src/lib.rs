//! Proof that bytes from outside are safe to decode, not published. Every family of decoders has a function here that
//! takes any bytes: whatever they are, it must return, without a panic and with little memory. What can be encoded
//! again must come back the same.
//!
//! ```text
//!   fuzz/fuzz_targets/<target>.rs (nightly) ──┐
//!   tests/corpus.rs (every `make test`) ──────┴──► run(bytes) ──► checksums put right ──► the decoder
//!   examples/seeds.rs ──► seeds(), by the real encoders ──► fuzz/corpus/<target>/
//! ```
//!
//! Most decoders stand behind a checksum that no fuzzer guesses. So the first byte of an input chooses what it is for,
//! and most choices put the checksums right before the decoder sees the rest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a broken promise ends the run")]

mod checksums;
pub mod files;
pub mod frames;
pub mod keys;
pub mod persisted;
pub mod records;
pub mod shuffle;
pub mod splits;
pub mod values;
pub mod wire;

/// One family of decoders.
pub struct Target {
    /// Its name, also of its directory in the corpus.
    pub name: &'static str,
    /// Decodes any bytes.
    pub run: fn(&[u8]),
    /// Inputs to begin with, made by the encoders.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 12] = [
    Target { name: "records", run: records::run, seeds: records::seeds },
    Target { name: "persisted", run: persisted::run, seeds: persisted::seeds },
    Target { name: "splits", run: splits::run, seeds: splits::seeds },
    Target { name: "shuffle", run: shuffle::run, seeds: shuffle::seeds },
    Target { name: "frames", run: frames::run, seeds: frames::seeds },
    Target { name: "wire", run: wire::run, seeds: wire::seeds },
    Target { name: "keys", run: keys::run, seeds: keys::seeds },
    Target { name: "values", run: values::run, seeds: values::seeds },
    Target { name: "lines", run: files::lines::run, seeds: files::lines::seeds },
    Target { name: "csv", run: files::csv::run, seeds: files::csv::seeds },
    Target { name: "compressed", run: files::compressed::run, seeds: files::compressed::seeds },
    Target { name: "parquet", run: files::parquet::run, seeds: files::parquet::seeds },
];

/// No error of a decoder is longer, whatever it was given: people read it, and logs keep it.
const ERROR_BYTES_MAX: usize = 2500;

/// An error that may be shown.
fn check_error(error: &impl std::fmt::Display) {
    let length = error.to_string().len();
    assert!(length <= ERROR_BYTES_MAX, "an error of {length} bytes");
}

/// A seed: the choice, and what follows it.
fn seed(choice: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [&[choice], bytes.as_ref()].concat()
}
