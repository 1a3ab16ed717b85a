//! Keys that stand one behind the other, as a key and a value do that values are sorted by: where the first ends.

use smallvec::SmallVec;

use super::{BadKey, ESCAPE, Pieces, tag};

impl Pieces<'_> {
    /// Passes over the next piece without making anything of it; answers its first byte.
    pub fn skip(&mut self) -> Result<u8, BadKey> {
        let start = self.at;
        let first = self.byte()?;
        match first {
            tag::NEGATIVE | tag::POSITIVE => {
                let complement = if first == tag::NEGATIVE { 0xff } else { 0 };
                self.exponent(complement)?;
                while (self.byte()? ^ complement) & 1 == 1 {}
            }
            tag::BYTES | tag::TEXT => loop {
                let zero = memchr::memchr(0, &self.bytes[self.at..]).ok_or(self.bad())?;
                self.at += zero + 1;
                if self.bytes.get(self.at) != Some(&ESCAPE) {
                    break;
                }
                self.at += 1;
            },
            tag::END | tag::NONE | tag::MINUS_INFINITY | tag::ZERO | tag::INFINITY => {}
            tag::TUPLE | tag::SET | tag::RATIO | tag::COMPLEX | tag::OBJECT => {}
            _ => return Err(BadKey { at: start }),
        }
        Ok(first)
    }
}

/// How long the key is that `bytes` begin with; none if they begin with no key.
pub fn first_length(bytes: &[u8]) -> Option<usize> {
    let mut pieces = Pieces::new(bytes);
    // Of everything that has begun and not ended: how many keys it still lacks; none if it ends with an end.
    let mut open: SmallVec<[Option<u8>; 8]> = SmallVec::new();
    loop {
        match pieces.skip().ok()? {
            tag::TUPLE | tag::SET => {
                open.push(None);
                continue;
            }
            tag::RATIO | tag::COMPLEX | tag::OBJECT => {
                open.push(Some(2));
                continue;
            }
            tag::END if open.pop() != Some(None) => return None,
            _ => {}
        }
        // A key has ended here, and with it perhaps what it is the last of.
        loop {
            match open.last_mut() {
                None => return Some(pieces.at),
                Some(None) => break,
                Some(Some(lacking @ 2..)) => {
                    *lacking -= 1;
                    break;
                }
                Some(Some(_)) => open.pop(),
            };
        }
    }
}

/// Whether the first of the keys in `bytes` is `key`. Beginning with its bytes is not enough: those of text that
/// goes on with a zero do, too.
pub fn is_first(key: &[u8], bytes: &[u8]) -> bool {
    bytes.strip_prefix(key).is_some_and(|rest| rest.first() != Some(&ESCAPE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::{put_big, put_bytes, put_float, put_number};

    /// Any key of any kind, nested.
    fn any_key() -> impl Strategy<Value = Vec<u8>> {
        let made = |put: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            put(&mut out);
            out
        };
        let plain = prop_oneof![
            Just(vec![tag::NONE]),
            any::<i64>().prop_map(move |n| made(&|out| put_number(out, n < 0, n.unsigned_abs(), 0))),
            any::<f64>().prop_map(move |n| made(&|out| put_float(out, n).unwrap())),
            (any::<bool>(), prop::collection::vec(any::<u8>(), 0..30)).prop_map(
                move |(negative, magnitude)| made(&|out| put_big(out, negative, &magnitude).unwrap())
            ),
            (any::<bool>(), prop::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], 0..9))
                .prop_map(move |(is_text, bytes)| {
                    made(&|out| put_bytes(out, if is_text { tag::TEXT } else { tag::BYTES }, &bytes))
                }),
        ];
        plain.prop_recursive(4, 24, 4, |inner| {
            let pair = (
                prop_oneof![Just(tag::RATIO), Just(tag::COMPLEX), Just(tag::OBJECT)],
                inner.clone(),
                inner.clone(),
            );
            prop_oneof![
                (prop_oneof![Just(tag::TUPLE), Just(tag::SET)], prop::collection::vec(inner, 0..4))
                    .prop_map(|(tag, elements)| [vec![tag], elements.concat(), vec![tag::END]].concat()),
                pair.prop_map(|(tag, a, b)| [vec![tag], a, b].concat()),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_the_length_of_the_first_of_two(a in any_key(), b in any_key()) {
            prop_assert_eq!(first_length(&a), Some(a.len()));
            prop_assert_eq!(first_length(&[a.clone(), b].concat()), Some(a.len()));
            for cut in 0..a.len() {
                // A text may end before each of its zeros, where none is known to be escaped.
                prop_assert!(first_length(&a[..cut]).is_none() || a[cut] == ESCAPE);
            }
        }

        #[test]
        fn keys_with_values_are_in_the_order_of_keys_then_of_values(a in [any_key(), any_key()], b in [any_key(), any_key()]) {
            prop_assert_eq!(a.concat().cmp(&b.concat()), a.cmp(&b));
            prop_assert_eq!([&a[0], &b[1]].map(Vec::as_slice).concat().cmp(&a.concat()), b[1].cmp(&a[1]));
        }

        #[test]
        fn the_first_is_told_from_those_that_begin_alike(a in any_key(), b in any_key(), c in any_key(), zeros in 0..3usize) {
            prop_assert!(is_first(&a, &[a.clone(), c.clone()].concat()));
            prop_assert_eq!(is_first(&a, &[b.clone(), c.clone()].concat()), a == b);
            let text = |zeros| {
                let mut text = Vec::new();
                put_bytes(&mut text, tag::TEXT, &vec![0; zeros]);
                text
            };
            prop_assert_eq!(is_first(&text(1), &[text(zeros), c].concat()), zeros == 1);
        }

        #[test]
        fn garbage_is_no_key_or_ends_within(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..0x51], 0..40)) {
            prop_assert!(first_length(&bytes).is_none_or(|length| (1..=bytes.len()).contains(&length)));
        }
    }
}
