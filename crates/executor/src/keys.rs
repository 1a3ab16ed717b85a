//! The encoding of keys: bytes whose order is the order of the keys and whose equality is theirs, in every
//! process and in every language. It holds what languages have in common; what a language adds (which of its
//! objects are which kind) is its face's matter.
//!
//! ```text
//! key    = 05                                  nothing (Python's None)
//!        | 10                                  -infinity
//!        | 11 ~(exponent mantissa)             a negative number, every byte complemented
//!        | 12                                  zero
//!        | 13 exponent mantissa                a positive number
//!        | 14                                  +infinity
//!        | 20 escaped 00 | 28 escaped 00       bytes, text (UTF-8): 00 is escaped as 00 ff
//!        | 30 key* 00 | 38 key* 00             tuple; set, its elements sorted by their bytes
//!        | 40 key key | 48 key key             exact ratio; complex number
//!        | 50 key key                          an object: the name of its type, its fields
//! ```
//!
//! Every key ends by itself, so that keys can stand in tuples, and `00` ends before any key begins, so that a
//! shorter tuple comes first. All numbers share one encoding of their exact value, whatever their type:
//! 1.m × 2^e with the exponent `e` first and then `m`, 7 bits a byte with a bit below that says whether more
//! follow, trailing zeros left out. Exponents 0 to 100 take one byte.

mod first;
mod short;

use std::borrow::Cow;

pub use first::{first_length, is_first};
pub use short::{SHORT_BYTES, ShortKey};

/// First bytes of keys.
pub mod tag {
    #![allow(missing_docs, reason = "the module's table says it")]
    pub const END: u8 = 0x00;
    pub const NONE: u8 = 0x05;
    pub const MINUS_INFINITY: u8 = 0x10;
    pub const NEGATIVE: u8 = 0x11;
    pub const ZERO: u8 = 0x12;
    pub const POSITIVE: u8 = 0x13;
    pub const INFINITY: u8 = 0x14;
    pub const BYTES: u8 = 0x20;
    pub const TEXT: u8 = 0x28;
    pub const TUPLE: u8 = 0x30;
    pub const SET: u8 = 0x38;
    pub const RATIO: u8 = 0x40;
    pub const COMPLEX: u8 = 0x48;
    pub const OBJECT: u8 = 0x50;
}

const ESCAPE: u8 = 0xff;
/// The byte of exponent 0.
const EXPONENT_ZERO: u8 = 0x80;
/// Largest exponent of one byte.
const EXPONENT_SHORT_MAX: u64 = 100;
/// Whole numbers of more bits can't be keys: their bytes may be few, and what is made of them takes a megabyte.
const BITS_MAX: u64 = 1 << 23;

/// NaN is not equal to itself, so it can't be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("NaN is not equal to itself, so it can't be a key")]
pub struct NotANumber;

/// A whole number that is too large for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("whole numbers of more than {BITS_MAX} bits can't be keys: use bytes, or a string")]
pub struct TooManyBits;

/// Bytes that are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are not a key, from byte {at} on")]
pub struct BadKey {
    /// Where it shows.
    pub at: usize,
}

/// The first eight bytes of any key as a number, which decides most comparisons: numbers that differ are in the order
/// of their keys. Keys that are shorter count as followed by zeros.
#[inline]
pub fn prefix(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let mut first = [0; 8];
            first[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(first)
        }
    }
}

/// Appends bytes or text, escaped and ended.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    match ShortKey::of_bytes(tag, bytes) {
        Some(short) => short.put(out),
        None => put_long(out, tag, bytes),
    }
}

fn put_long(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.reserve(bytes.len() + 2);
    out.push(tag);
    if memchr::memchr(0, bytes).is_some() {
        put_escaped(out, bytes);
    } else {
        out.extend_from_slice(bytes);
    }
    out.push(tag::END);
}

#[cold]
fn put_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(zero) = memchr::memchr(0, rest) {
        out.extend_from_slice(&rest[..=zero]);
        out.push(ESCAPE);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends the number ±`magnitude` × 2^`exponent`.
pub fn put_number(out: &mut Vec<u8>, negative: bool, magnitude: u64, exponent: i64) {
    if magnitude == 0 {
        return out.push(tag::ZERO);
    }
    let leading_zeros = magnitude.leading_zeros();
    put_finite(out, negative, exponent + i64::from(63 - leading_zeros), |out| {
        // Shifted in two steps: the bits after the leading one may be none at all.
        let mut bits = (magnitude << leading_zeros) << 1;
        loop {
            let group = (bits >> 57) as u8;
            bits <<= 7;
            out.push(group << 1 | u8::from(bits != 0));
            if bits == 0 {
                break;
            }
        }
    });
}

/// Appends a float's exact value.
pub fn put_float(out: &mut Vec<u8>, value: f64) -> Result<(), NotANumber> {
    if value.is_nan() {
        return Err(NotANumber);
    }
    if value.is_infinite() {
        out.push(if value > 0.0 { tag::INFINITY } else { tag::MINUS_INFINITY });
        return Ok(());
    }
    let bits = value.to_bits();
    let (fraction, biased) = (bits & ((1 << 52) - 1), (bits >> 52 & 0x7ff) as i64);
    let (magnitude, exponent) =
        if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
    put_number(out, value.is_sign_negative(), magnitude, exponent);
    Ok(())
}

/// Appends an integer, given by its magnitude, most significant byte first.
pub fn put_big(out: &mut Vec<u8>, negative: bool, magnitude: &[u8]) -> Result<(), TooManyBits> {
    let start = magnitude.iter().position(|&b| b != 0).unwrap_or(magnitude.len());
    let Some((&first, rest)) = magnitude[start..].split_first() else {
        out.push(tag::ZERO);
        return Ok(());
    };
    let below_leading = 7 - first.leading_zeros();
    let exponent = u64::from(below_leading) + 8 * rest.len() as u64;
    let exponent = i64::try_from(exponent).ok().filter(|_| exponent < BITS_MAX).ok_or(TooManyBits)?;
    put_finite(out, negative, exponent, |out| {
        let begin = out.len();
        let mut bits = u32::from(first) & ((1 << below_leading) - 1);
        let mut n_bits = below_leading;
        for &byte in rest {
            (bits, n_bits) = (bits << 8 | u32::from(byte), n_bits + 8);
            while n_bits >= 7 {
                n_bits -= 7;
                out.push(((bits >> n_bits) as u8) << 1 | 1);
                bits &= (1 << n_bits) - 1;
            }
        }
        out.push(((bits << (7 - n_bits)) as u8) << 1);
        // Trailing zeros go; the first group stays; the last says that none follows.
        while out.len() > begin + 1 && out[out.len() - 1] >> 1 == 0 {
            out.pop();
        }
        let last = out.len() - 1;
        out[last] &= !1;
    });
    Ok(())
}

fn put_finite(out: &mut Vec<u8>, negative: bool, exponent: i64, put_mantissa: impl FnOnce(&mut Vec<u8>)) {
    out.push(if negative { tag::NEGATIVE } else { tag::POSITIVE });
    let start = out.len();
    put_exponent(out, exponent);
    put_mantissa(out);
    if negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// `80+e` for 0 to 100; above, `e4+n` and the n bytes of e-101; below 0, the complement of `80+n` and the n bytes
/// of -1-e.
fn put_exponent(out: &mut Vec<u8>, exponent: i64) {
    let (complement, beyond) = match u64::try_from(exponent) {
        Ok(short @ 0..=EXPONENT_SHORT_MAX) => return out.push(EXPONENT_ZERO + short as u8),
        Ok(long) => (0, long - EXPONENT_SHORT_MAX - 1),
        Err(_) => (0xff, !exponent as u64),
    };
    let bytes = beyond.to_be_bytes();
    let n = 8 - (beyond.leading_zeros() / 8).min(7) as usize;
    let prefix = if complement == 0 { EXPONENT_ZERO + EXPONENT_SHORT_MAX as u8 } else { EXPONENT_ZERO };
    out.push((prefix + n as u8) ^ complement);
    out.extend(bytes[8 - n..].iter().map(|byte| byte ^ complement));
}

/// A number, in the smallest kind that holds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// A larger whole number: its sign, and its magnitude, most significant byte first.
    Big {
        /// Whether it is below zero.
        negative: bool,
        /// Its distance from zero.
        magnitude: Vec<u8>,
    },
    /// A number that is not whole, or infinite.
    Float(f64),
}

/// One piece of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece<'a> {
    /// Python's None.
    None,
    /// Any number.
    Number(Number),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// UTF-8, in which Python's lone surrogates may stand.
    Text(Cow<'a, [u8]>),
    /// The pieces up to the matching end are a tuple's.
    Tuple,
    /// The pieces up to the matching end are a set's.
    Set,
    /// The end of a tuple or set.
    End,
    /// A tag whose keys are never rebuilt from their bytes: ratio, complex number, object. Its pieces follow.
    Opaque,
}

/// Reads a key piece by piece; trusts nothing in it.
#[derive(Debug, Clone)]
pub struct Pieces<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Pieces<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Pieces { bytes, at: 0 }
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// That these bytes are no key, here.
    pub fn bad(&self) -> BadKey {
        BadKey { at: self.at }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, BadKey> {
        let byte = *self.bytes.get(self.at).ok_or(self.bad())?;
        self.at += 1;
        Ok(byte)
    }

    /// The next piece.
    #[inline]
    pub fn next_piece(&mut self) -> Result<Piece<'a>, BadKey> {
        Ok(match self.byte()? {
            tag::END => Piece::End,
            tag::NONE => Piece::None,
            tag::MINUS_INFINITY => Piece::Number(Number::Float(f64::NEG_INFINITY)),
            tag::NEGATIVE => Piece::Number(self.finite(0xff)?),
            tag::ZERO => Piece::Number(Number::Int(0)),
            tag::POSITIVE => Piece::Number(self.finite(0)?),
            tag::INFINITY => Piece::Number(Number::Float(f64::INFINITY)),
            tag::BYTES => Piece::Bytes(self.escaped()?),
            tag::TEXT => Piece::Text(self.escaped()?),
            tag::TUPLE => Piece::Tuple,
            tag::SET => Piece::Set,
            tag::RATIO | tag::COMPLEX | tag::OBJECT => Piece::Opaque,
            _ => return Err(BadKey { at: self.at - 1 }),
        })
    }

    #[inline]
    fn escaped(&mut self) -> Result<Cow<'a, [u8]>, BadKey> {
        let (run, goes_on) = self.run()?;
        if goes_on { self.joined(run).map(Cow::Owned) } else { Ok(Cow::Borrowed(run)) }
    }

    /// What begins with `run`, which an escaped zero ends.
    #[cold]
    fn joined(&mut self, run: &[u8]) -> Result<Vec<u8>, BadKey> {
        let (mut whole, mut goes_on) = (run.to_vec(), true);
        while goes_on {
            let run;
            (run, goes_on) = self.run()?;
            whole.extend_from_slice(run);
        }
        Ok(whole)
    }

    /// Bytes up to the end, or up to an escaped zero and with it; and whether more follow.
    #[inline]
    fn run(&mut self) -> Result<(&'a [u8], bool), BadKey> {
        let rest = &self.bytes[self.at..];
        let zero = memchr::memchr(0, rest).ok_or(BadKey { at: self.bytes.len() })?;
        let escaped = rest.get(zero + 1) == Some(&ESCAPE);
        self.at += zero + 1 + usize::from(escaped);
        Ok((&rest[..zero + usize::from(escaped)], escaped))
    }

    fn exponent(&mut self, complement: u8) -> Result<i64, BadKey> {
        let first = self.byte()? ^ complement;
        let short_max = EXPONENT_ZERO + EXPONENT_SHORT_MAX as u8;
        let (flip, n) = match first {
            EXPONENT_ZERO.. if first <= short_max => return Ok(i64::from(first - EXPONENT_ZERO)),
            EXPONENT_ZERO.. => (0, first - short_max),
            _ => (0xff, !first - EXPONENT_ZERO),
        };
        if !(1..=8).contains(&n) {
            return Err(self.bad());
        }
        let mut beyond = 0u64;
        for i in 0..n {
            let byte = self.byte()? ^ complement ^ flip;
            if i == 0 && byte == 0 && n > 1 {
                return Err(self.bad());
            }
            beyond = beyond << 8 | u64::from(byte);
        }
        let beyond = i64::try_from(beyond).map_err(|_| self.bad())?;
        let above = beyond.checked_add(EXPONENT_SHORT_MAX as i64 + 1).ok_or(self.bad())?;
        Ok(if flip == 0 { above } else { !beyond })
    }

    /// ±1.m × 2^e: whole if no bit of `m` stands below 2^0.
    fn finite(&mut self, complement: u8) -> Result<Number, BadKey> {
        let negative = complement != 0;
        let exponent = self.exponent(complement)?;
        // The mantissa with its leading one, and how many bits follow that.
        let (mut small, mut groups, mut n_bits) = (1u128, Vec::new(), 0u64);
        loop {
            let byte = self.byte()? ^ complement;
            n_bits += 7;
            if n_bits <= 126 {
                small = small << 7 | u128::from(byte >> 1);
            } else {
                groups.push(byte >> 1);
            }
            if byte & 1 == 0 {
                // Else one number would have several keys.
                match byte >> 1 {
                    0 if n_bits > 7 => return Err(self.bad()),
                    _ => break,
                }
            }
        }
        if !groups.is_empty() {
            return self.big(negative, exponent, small, &groups);
        }
        let zeros = u64::from(small.trailing_zeros());
        let below_point = ((n_bits - zeros) as i64).checked_sub(exponent).ok_or(self.bad())?;
        let mantissa = small >> zeros;
        if below_point > 0 {
            return self.fraction(negative, mantissa, -below_point);
        }
        // Those of 64 bits are looked at as well: the smallest of 63 bits and a sign is one of them.
        let whole = (exponent < 64).then(|| (mantissa << -below_point).cast_signed());
        match whole.and_then(|whole| i64::try_from(if negative { -whole } else { whole }).ok()) {
            Some(value) => Ok(Number::Int(value)),
            None => self.big(negative, exponent, small, &[]),
        }
    }

    fn fraction(&self, negative: bool, mantissa: u128, exponent: i64) -> Result<Number, BadKey> {
        // Only floats are not whole here, so the mantissa fits; both steps of the scaling are exact.
        let exponent = i32::try_from(exponent).ok().filter(|e| *e >= -1074).ok_or(self.bad())?;
        if mantissa >> 53 != 0 {
            return Err(self.bad());
        }
        let half = exponent / 2;
        let value = mantissa as f64 * 2f64.powi(half) * 2f64.powi(exponent - half);
        Ok(Number::Float(if negative { -value } else { value }))
    }

    fn big(&self, negative: bool, exponent: i64, head: u128, groups: &[u8]) -> Result<Number, BadKey> {
        let exponent = u64::try_from(exponent).ok().filter(|e| *e < BITS_MAX).ok_or(self.bad())?;
        let mut magnitude = vec![0u8; exponent as usize / 8 + 1];
        let top = magnitude.len() * 8 - 1 - exponent as usize;
        let mut put = |index: usize, bit: bool| match magnitude.get_mut((top + index) / 8) {
            Some(byte) => {
                *byte |= u8::from(bit) << (7 - (top + index) % 8);
                true
            }
            None => !bit,
        };
        let head_bits = 128 - head.leading_zeros() as usize;
        let mut whole = (0..head_bits).all(|i| put(i, head >> (head_bits - 1 - i) & 1 == 1));
        for (n, group) in groups.iter().enumerate() {
            whole &= (0..7).all(|i| put(head_bits + 7 * n + i, group >> (6 - i) & 1 == 1));
        }
        if whole { Ok(Number::Big { negative, magnitude }) } else { Err(self.bad()) }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn int(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, value < 0, value.unsigned_abs(), 0);
        out
    }
    fn float(value: f64) -> Vec<u8> {
        let mut out = Vec::new();
        put_float(&mut out, value).unwrap();
        out
    }
    fn big(negative: bool, magnitude: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_big(&mut out, negative, magnitude).unwrap();
        out
    }
    fn read(bytes: &[u8]) -> Result<Number, BadKey> {
        let mut pieces = Pieces::new(bytes);
        match pieces.next_piece()? {
            Piece::Number(number) if pieces.is_empty() => Ok(number),
            _ => Err(pieces.bad()),
        }
    }
    fn text(value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, tag::TEXT, value);
        out
    }
    /// Small numbers often, all numbers sometimes.
    fn ints() -> impl Strategy<Value = i64> {
        prop_oneof![-200i64..200, any::<i64>(), any::<i64>().prop_map(|n| n >> 40 << 20)]
    }

    proptest! {
        #[test]
        fn ints_keep_their_order_and_value(a in ints(), b in ints()) {
            prop_assert_eq!(int(a).cmp(&int(b)), a.cmp(&b));
            prop_assert_eq!(read(&int(a)), Ok(Number::Int(a)));
            prop_assert_eq!(big(a < 0, &a.unsigned_abs().to_be_bytes()), int(a));
        }

        #[test]
        fn floats_keep_their_order_and_value(a: f64, b: f64) {
            prop_assert_eq!(Some(float(a).cmp(&float(b))), a.partial_cmp(&b));
            match read(&float(a)) {
                Ok(Number::Float(back)) => prop_assert_eq!(back, a),
                Ok(Number::Int(back)) => prop_assert_eq!(back as f64, a),
                Ok(Number::Big { .. }) => prop_assert!(a.abs() >= 2f64.powi(63) && a.fract() == 0.0),
                Err(error) => prop_assert!(false, "{}", error),
            }
        }

        #[test]
        fn ints_and_floats_compare_by_exact_value(a in ints(), b in -300.0..300.0f64) {
            // Both are exact in 128-bit fixed point: b's last bit is worth at least 2^-60 or is dropped here.
            let b = (b * 2f64.powi(40)).trunc() / 2f64.powi(40);
            let exact = (i128::from(a) << 40).cmp(&((b * 2f64.powi(40)) as i128));
            prop_assert_eq!(int(a).cmp(&float(b)), exact);
        }

        #[test]
        fn big_ints_keep_their_order_and_value(a in prop::collection::vec(any::<u8>(), 0..60), b in prop::collection::vec(any::<u8>(), 0..60), zeros in 0..20usize) {
            let a = [a, vec![0; zeros]].concat();
            let strip = |bytes: &[u8]| bytes.iter().copied().skip_while(|b| *b == 0).collect::<Vec<_>>();
            let (stripped, other) = (strip(&a), strip(&b));
            let expected = stripped.len().cmp(&other.len()).then_with(|| stripped.cmp(&other));
            prop_assert_eq!(big(false, &a).cmp(&big(false, &b)), expected);
            prop_assert_eq!(big(true, &a).cmp(&big(true, &b)), expected.reverse());
            match read(&big(false, &a)) {
                Ok(Number::Int(value)) => prop_assert_eq!(strip(&value.to_be_bytes()), stripped),
                Ok(Number::Big { magnitude, .. }) => prop_assert_eq!(strip(&magnitude), stripped),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn text_keeps_its_order_and_value(a in prop::collection::vec(0u8..9, 0..20), b in prop::collection::vec(0u8..9, 0..20)) {
            prop_assert_eq!(text(&a).cmp(&text(&b)), a.cmp(&b));
            let bytes = text(&a);
            let mut pieces = Pieces::new(&bytes);
            prop_assert_eq!(pieces.next_piece(), Ok(Piece::Text(Cow::Owned(a))));
            prop_assert!(pieces.is_empty());
        }

        #[test]
        fn no_key_begins_with_another(a in ints(), b in ints()) {
            prop_assert_eq!(int(b).starts_with(&int(a)), a == b);
        }

        #[test]
        fn garbage_is_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), tag in 0x10u8..0x15) {
            for bytes in [bytes.clone(), [vec![tag], bytes].concat()] {
                let mut pieces = Pieces::new(&bytes);
                while !pieces.is_empty() && pieces.next_piece().is_ok() {}
            }
        }
    }

    #[test]
    fn the_ends_of_63_bits_and_a_sign_are_no_big_numbers() {
        for end in [i64::MIN, i64::MAX] {
            assert_eq!(read(&int(end)), Ok(Number::Int(end)));
        }
        assert!(matches!(read(&float(-2f64.powi(64))), Ok(Number::Big { negative: true, .. })));
    }

    #[test]
    fn a_number_that_takes_a_megabyte_is_a_key_and_a_larger_one_is_not() {
        let mut largest = vec![0; BITS_MAX as usize / 8];
        largest[0] = 0x80;
        let key = big(false, &largest);
        assert_eq!(read(&key), Ok(Number::Big { negative: false, magnitude: largest.clone() }));
        largest.insert(0, 1);
        assert_eq!(put_big(&mut Vec::new(), false, &largest), Err(TooManyBits));
        // 2^(2^32 - 1), which is half a gigabyte.
        assert!(read(&[0x13, 0xe8, 0xff, 0xff, 0xff, 0x9a, 0]).is_err());
    }

    #[test]
    fn a_number_has_one_key() {
        let one = int(1);
        assert_eq!(one, [0x13, 0x80, 0]);
        assert!(read(&[0x13, 0x80, 1, 0]).is_err());
        assert!(read(&[0x13, 0xe6, 0, 0, 0]).is_err());
    }

    #[test]
    fn an_exponent_below_all_floats_is_an_error() {
        let lowest = [0x13, 0x77, 0x80, 0, 0, 0, 0, 0, 0, 0x65];
        assert_eq!(read(&[lowest.as_slice(), &[1; 14], &[2]].concat()), Err(BadKey { at: 25 }));
    }

    #[test]
    fn kinds_stand_in_the_documented_order_and_zero_is_one() {
        assert_eq!(float(-0.0), int(0));
        assert_eq!(float(1.0), int(1));
        assert!(put_float(&mut Vec::new(), f64::NAN).is_err());
        let keys = [
            vec![tag::NONE],
            float(f64::NEG_INFINITY),
            int(i64::MIN),
            float(-0.5),
            int(0),
            float(5e-324),
            int(1),
            float(1e300),
            float(f64::INFINITY),
            text(b""),
        ];
        assert!(keys.windows(2).all(|pair| pair[0].cmp(&pair[1]) == Ordering::Less));
    }
}
