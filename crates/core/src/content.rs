//! Bytes that stand in a record itself, because an object of their own would cost more than they do.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A few bytes; base64 in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

/// No content is longer, but for code.
const CONTENT_BYTES_MAX: u64 = 16 << 10;
/// No code that stands in a specification is longer.
pub const CODE_CONTENT_BYTES_MAX: u64 = 64 << 10;
/// All contents of one record together, but for code, are about so long at most.
const CONTENTS_BYTES_MAX: u64 = 1 << 20;

/// How long each of `n` contents of one record may be.
pub fn content_bytes_max(n: u32) -> u64 {
    (CONTENTS_BYTES_MAX / u64::from(n.max(1))).min(CONTENT_BYTES_MAX)
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Content).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(bytes: Vec<u8>) {
            let json = serde_json::to_string(&Content(bytes.clone())).unwrap();
            prop_assert_eq!(serde_json::from_str::<Content>(&json).unwrap(), Content(bytes));
        }

        #[test]
        fn other_text_is_an_error_and_never_a_panic(text: String) {
            let decoded = serde_json::from_value::<Content>(text.clone().into());
            prop_assert!(decoded.is_err() || STANDARD.encode(decoded.unwrap().0) == text);
        }
    }

    #[test]
    fn a_record_of_many_contents_stays_small() {
        assert_eq!(content_bytes_max(0), CONTENT_BYTES_MAX);
        assert_eq!(content_bytes_max(10), CONTENT_BYTES_MAX);
        assert_eq!(content_bytes_max(100_000), 10);
    }
}
