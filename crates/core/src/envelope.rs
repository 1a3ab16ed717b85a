//! The frame around every persisted record: one line that names kind, version, length and checksum, then
//! the record as JSON. A person can read it with `cat`; a torn, foreign or damaged file is always noticed.
//!
//! ```text
//! mapreduce marker v1 length=182 crc32c=9f31c2aa
//! {"task":"map/0", ...}
//! ```

use serde::{Serialize, de::DeserializeOwned};

/// A record that is written to storage or coordination. Types are encoded next to where they are defined.
pub trait Persisted: Serialize + DeserializeOwned {
    /// What it is, in one word, for the header line.
    const KIND: &'static str;
    /// Grows with every incompatible change.
    const VERSION: u32;

    /// The framed bytes. Equal records give equal bytes.
    fn encode(&self) -> Vec<u8> {
        // Our records hold only strings, numbers, lists and string-keyed maps, none of which JSON refuses.
        #[expect(clippy::expect_used, reason = "see the line above")]
        let body = serde_json::to_vec(self).expect("a record of plain data");
        let mut framed = header(Self::KIND, Self::VERSION, &body).into_bytes();
        framed.extend_from_slice(&body);
        framed
    }

    /// Reads framed bytes; trusts nothing in them.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let start = &bytes[..bytes.len().min(HEADER_BYTES_MAX)];
        let end = start.iter().position(|&b| b == b'\n').ok_or(DecodeError::NoHeader)?;
        let line = std::str::from_utf8(&bytes[..=end]).map_err(|_| DecodeError::NoHeader)?;
        let body = &bytes[end + 1..];
        if line != header(Self::KIND, Self::VERSION, body) {
            return Err(explain_header(line, Self::KIND, Self::VERSION));
        }
        serde_json::from_slice(body)
            .map_err(|e| DecodeError::Body { kind: Self::KIND, why: shortened(&e.to_string()) })
    }
}

/// No header line is longer. A file that begins with a longer one is not ours, and no error should quote it.
const HEADER_BYTES_MAX: usize = 200;
/// The parser quotes what it finds, however long that is.
const WHY_CHARS_MAX: usize = 500;

/// The beginning of `why`, as far as people read.
fn shortened(why: &str) -> String {
    match why.char_indices().nth(WHY_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &why[..end]),
        None => why.to_owned(),
    }
}

fn header(kind: &str, version: u32, body: &[u8]) -> String {
    format!("mapreduce {kind} v{version} length={} crc32c={:08x}\n", body.len(), crc32c::crc32c(body))
}

/// Why bytes are not the record that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not one of our files at all, or cut within its first line.
    #[error("no mapreduce header line: the file is foreign or torn")]
    NoHeader,
    /// Another kind of record.
    #[error("expected a {expected} record, found {found:?}")]
    WrongKind {
        /// What was asked for.
        expected: &'static str,
        /// What the header says.
        found: String,
    },
    /// Written by another version of this program.
    #[error(
        "the {kind} record has version {found:?}, this program reads v{expected}: run the same version everywhere"
    )]
    WrongVersion {
        /// What was asked for.
        kind: &'static str,
        /// What this program reads.
        expected: u32,
        /// What the header says.
        found: String,
    },
    /// Length or checksum do not fit the body.
    #[error("the {kind} record is damaged: length or checksum do not match its header")]
    Damaged {
        /// What was asked for.
        kind: &'static str,
    },
    /// The checksum fits and the content does not: written by a program that is not this one.
    #[error("the {kind} record can't be read: {why}")]
    Body {
        /// What was asked for.
        kind: &'static str,
        /// The parser's words.
        why: String,
    },
}

fn explain_header(line: &str, kind: &'static str, version: u32) -> DecodeError {
    let mut words = line.split_whitespace();
    if words.next() != Some("mapreduce") {
        return DecodeError::NoHeader;
    }
    match (words.next(), words.next()) {
        (Some(found), _) if found != kind => {
            DecodeError::WrongKind { expected: kind, found: found.to_owned() }
        }
        (_, Some(found)) if found != format!("v{version}") => {
            DecodeError::WrongVersion { kind, expected: version, found: found.to_owned() }
        }
        _ => DecodeError::Damaged { kind },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
        number: u64,
    }
    impl Persisted for Note {
        const KIND: &'static str = "note";
        const VERSION: u32 = 3;
    }

    proptest! {
        #[test]
        fn round_trip(text: String, number: u64) {
            let note = Note { text, number };
            prop_assert_eq!(Note::decode(&note.encode()), Ok(note));
        }

        #[test]
        fn any_changed_or_missing_byte_is_noticed(text: String, at: prop::sample::Index, flip in 1u8..) {
            let bytes = Note { text, number: 7 }.encode();
            let at = at.index(bytes.len());
            prop_assert!(Note::decode(&bytes[..at]).is_err());
            let mut changed = bytes;
            changed[at] ^= flip;
            prop_assert!(Note::decode(&changed).is_err());
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes: Vec<u8>) {
            prop_assert!(Note::decode(&bytes).is_err());
        }
    }

    #[test]
    fn an_error_quotes_no_more_than_people_read() {
        let long = "x".repeat(100_000);
        let foreign = Note::decode(format!("mapreduce {long}\n{{}}").as_bytes());
        assert_eq!(foreign, Err(DecodeError::NoHeader));
        let body = format!("{{\"text\":1,\"{long}\":2}}");
        let body = format!("{}{body}", header("note", 3, body.as_bytes()));
        assert!(Note::decode(body.as_bytes()).unwrap_err().to_string().len() < 1000);
        assert_eq!(shortened(&"é".repeat(600)), format!("{}...", "é".repeat(500)));
    }

    #[test]
    fn the_error_names_what_is_wrong() {
        let other = b"mapreduce plan v3 length=2 crc32c=00000000\n{}";
        assert!(matches!(Note::decode(other), Err(DecodeError::WrongKind { .. })));
        let newer = b"mapreduce note v4 length=2 crc32c=00000000\n{}";
        assert!(matches!(Note::decode(newer), Err(DecodeError::WrongVersion { .. })));
    }
}
