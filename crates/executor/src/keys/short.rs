//! Keys that fit into two words, made there: most keys are such, and are looked up without having been in memory.

/// The most bytes of a short key.
pub const SHORT_BYTES: usize = 16;

/// An encoded key of up to [`SHORT_BYTES`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortKey {
    /// Its bytes, the first the lowest, filled up with zeros.
    pub(crate) word: u128,
    pub(crate) length: usize,
}

impl ShortKey {
    /// A key that is encoded already.
    #[inline]
    pub(crate) fn encoded(key: &[u8]) -> Option<ShortKey> {
        (key.len() <= SHORT_BYTES).then(|| ShortKey { word: load(key), length: key.len() })
    }

    /// Its bytes, filled up with zeros.
    #[inline]
    pub(crate) fn bytes(self) -> [u8; SHORT_BYTES] {
        self.word.to_le_bytes()
    }

    /// Appends its bytes.
    #[inline]
    pub fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
        out.truncate(out.len() - (SHORT_BYTES - self.length));
    }

    /// What [`put_bytes`](super::put_bytes) would append, if it is short and escapes nothing.
    #[inline]
    pub fn of_bytes(tag: u8, bytes: &[u8]) -> Option<ShortKey> {
        if bytes.len() + 2 > SHORT_BYTES {
            return None;
        }
        ShortKey::of_word(tag, load(bytes), bytes.len())
    }

    /// The same of the last `n` of these bytes, whatever the others are. It has no branch for each of a few lengths, which
    /// no processor foresees.
    #[inline]
    pub fn of_last_bytes(tag: u8, bytes: [u8; SHORT_BYTES], n: usize) -> Option<ShortKey> {
        let n_others = (SHORT_BYTES - 2).checked_sub(n)?;
        ShortKey::of_word(tag, u128::from_le_bytes(bytes) >> 16 >> (8 * n_others), n)
    }

    /// The same of `n` bytes in a word that is filled up with zeros, which leave room for the tag and the end.
    #[inline]
    fn of_word(tag: u8, word: u128, n: usize) -> Option<ShortKey> {
        // The byte that ends it is zero, and there may be no other below.
        let has_zero = zeros(word) & mask(n) != 0;
        (!has_zero).then_some(ShortKey { word: word << 8 | u128::from(tag), length: n + 2 })
    }
}

/// Up to sixteen bytes, the first the lowest. Each of a few lengths has a way without a loop: two loads that overlap.
#[inline]
fn load(bytes: &[u8]) -> u128 {
    let shift = |most: usize| 8 * (bytes.len() - most) as u32;
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << shift(8)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u128::from(u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << shift(4))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u128::from(u32::from(u16::from_le_bytes(*first)) | u32::from(u16::from_le_bytes(*last)) << shift(2))
    } else {
        bytes.first().map_or(0, |byte| u128::from(*byte))
    }
}

/// The highest bit of each byte that is zero, and perhaps of bytes above one that is (Warren, Hacker's Delight, 6-1).
#[inline]
fn zeros(word: u128) -> u128 {
    const ONES: u128 = u128::MAX / 0xff;
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

/// The lowest `n` bytes.
#[inline]
fn mask(n: usize) -> u128 {
    if n < SHORT_BYTES { (1 << (8 * n)) - 1 } else { u128::MAX }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::tag;

    proptest! {
        #[test]
        fn it_is_what_the_format_says(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), 1..=255u8], 0..20),
            others in any::<[u8; SHORT_BYTES]>(),
        ) {
            let expected = [&[tag::TEXT], bytes.as_slice(), &[tag::END]].concat();
            let short = ShortKey::of_bytes(tag::TEXT, &bytes);
            let is_short = expected.len() <= SHORT_BYTES && !bytes.contains(&0);
            prop_assert_eq!(short.is_some(), is_short);
            if let Some(key) = short {
                let mut put = vec![1, 2, 3];
                key.put(&mut put);
                prop_assert_eq!(&put[3..], &expected);
                prop_assert_eq!(Some(key), ShortKey::encoded(&expected));
            }
            let longer = [others.as_slice(), &bytes].concat();
            let last = longer.last_chunk().unwrap();
            prop_assert_eq!(ShortKey::of_last_bytes(tag::TEXT, *last, bytes.len()), short);
        }
    }
}
