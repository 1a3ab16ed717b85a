//! LEB128: numbers in as few bytes as they need, 7 bits a byte, lowest first.

/// What the largest number takes.
pub const BYTES_MAX: usize = 10;

/// Appends `number`.
#[inline]
pub fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off the front of `rest`; none if there is no whole one.
#[inline]
pub fn take(rest: &mut &[u8]) -> Option<u64> {
    match rest.split_first() {
        Some((&byte @ 0..0x80, after)) => {
            *rest = after;
            Some(byte.into())
        }
        _ => take_long(rest),
    }
}

fn take_long(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for n in 0..BYTES_MAX {
        let byte = *rest.get(n)?;
        let bits = u64::from(byte & 0x7f);
        if n == BYTES_MAX - 1 && bits > 1 {
            return None;
        }
        number |= bits << (7 * n);
        if byte < 0x80 {
            *rest = &rest[n + 1..];
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trip(number: u64, shift in 0..64, after: Vec<u8>) {
            let number = number >> shift;
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            for cut in 0..bytes.len() {
                prop_assert_eq!(take(&mut &bytes[..cut]), None);
            }
            bytes.extend_from_slice(&after);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take(&mut rest), Some(number));
            prop_assert_eq!(rest, after);
        }
    }

    #[test]
    fn more_than_64_bits_are_no_number() {
        assert_eq!(take(&mut &[0xff; 11][..]), None);
        assert_eq!(take(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2][..]), None);
    }
}
