//! What keys, values and results of native jobs are made of.

use std::io::Write;

use mapreduce_executor::{
    keys::{self, Number, Piece, Pieces, ShortKey, tag},
    varint,
};

/// A type that keys, values or results may have. As keys, equal ones have equal bytes, in the order of the type.
pub trait Datum: Sized {
    /// What a reference to one is, such as `str` for `String`: what is emitted need not be owned.
    type Ref: ?Sized;

    /// The reference to this one.
    fn as_ref(&self) -> &Self::Ref;
    /// One like that.
    fn from_ref(value: &Self::Ref) -> Self;
    /// Appends it as a key.
    fn put_key(key: &Self::Ref, out: &mut Vec<u8>);
    /// What [`Datum::put_key`] appends, if it is short and can be had in a quicker way.
    #[inline]
    fn short_key(key: &Self::Ref) -> Option<ShortKey> {
        let _ = key;
        None
    }
    /// Reads what [`Datum::put_key`] wrote; none if it did not.
    fn take_key(key: &mut Pieces<'_>) -> Option<Self>;
    /// The same in `place`, whose memory it may use again.
    #[inline]
    fn take_key_in<'p>(key: &mut Pieces<'_>, place: &'p mut Option<Self>) -> Option<&'p Self> {
        Some(place.insert(Self::take_key(key)?))
    }
    /// Appends it as a value, which ends by itself.
    fn put(value: &Self::Ref, out: &mut Vec<u8>);
    /// Takes what [`Datum::put`] wrote off the front; none if it did not.
    fn take(rest: &mut &[u8]) -> Option<Self>;
    /// The same where it lies, if it lies there as it is; else in `place`.
    #[inline]
    fn take_ref<'a>(rest: &mut &'a [u8], place: &'a mut Option<Self>) -> Option<&'a Self::Ref> {
        Some(place.insert(Self::take(rest)?).as_ref())
    }
    /// Appends it as people read it.
    fn show(value: &Self::Ref, out: &mut Vec<u8>);
    /// As JSON.
    fn to_json(value: &Self::Ref) -> serde_json::Value;
    /// Whether a result of this type is a whole line of text, to be written without its key.
    const IS_LINE: bool = false;
}

macro_rules! integer {
    ($($type:ty),*) => { $(
        impl Datum for $type {
            type Ref = $type;
            fn as_ref(&self) -> &$type {
                self
            }
            fn from_ref(value: &$type) -> $type {
                *value
            }
            fn put_key(key: &$type, out: &mut Vec<u8>) {
                let number = i128::from(*key);
                keys::put_number(out, number < 0, number.unsigned_abs() as u64, 0);
            }
            fn take_key(key: &mut Pieces<'_>) -> Option<$type> {
                match key.next_piece().ok()? {
                    Piece::Number(Number::Int(number)) => number.try_into().ok(),
                    Piece::Number(Number::Big { negative, magnitude }) if magnitude.len() <= 8 => {
                        let number = magnitude.iter().fold(0i128, |n, byte| n << 8 | i128::from(*byte));
                        (if negative { -number } else { number }).try_into().ok()
                    }
                    _ => None,
                }
            }
            fn put(value: &$type, out: &mut Vec<u8>) {
                // Zigzag: small numbers of either sign take few bytes.
                let value = i128::from(*value);
                match u64::try_from((value << 1) ^ (value >> 127)) {
                    Ok(zigzag) if zigzag < u64::MAX => varint::put(out, zigzag),
                    _ => {
                        varint::put(out, u64::MAX);
                        out.extend_from_slice(&value.to_le_bytes());
                    }
                }
            }
            fn take(rest: &mut &[u8]) -> Option<$type> {
                let value = match varint::take(rest)? {
                    u64::MAX => {
                        let (bytes, after) = rest.split_first_chunk::<16>()?;
                        *rest = after;
                        i128::from_le_bytes(*bytes)
                    }
                    zigzag => i128::from(zigzag >> 1) ^ -i128::from(zigzag & 1),
                };
                value.try_into().ok()
            }
            fn show(value: &$type, out: &mut Vec<u8>) {
                let _ = write!(out, "{value}"); // a vector takes all
            }
            fn to_json(value: &$type) -> serde_json::Value {
                (*value).into()
            }
        }
    )* };
}

integer!(i32, i64, u32, u64);

impl Datum for f64 {
    type Ref = f64;
    fn as_ref(&self) -> &f64 {
        self
    }
    fn from_ref(value: &f64) -> f64 {
        *value
    }
    /// NaN, which has no order, comes after all numbers.
    fn put_key(key: &f64, out: &mut Vec<u8>) {
        if keys::put_float(out, *key).is_err() {
            keys::put_bytes(out, tag::TEXT, b"NaN");
        }
    }
    fn take_key(key: &mut Pieces<'_>) -> Option<f64> {
        match key.next_piece().ok()? {
            Piece::Number(Number::Int(number)) => Some(number as f64),
            Piece::Number(Number::Float(number)) => Some(number),
            Piece::Number(Number::Big { negative, magnitude }) => {
                let number = magnitude.iter().fold(0.0, |n, byte| n * 256.0 + f64::from(*byte));
                Some(if negative { -number } else { number })
            }
            Piece::Text(_) => Some(f64::NAN),
            _ => None,
        }
    }
    fn put(value: &f64, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.to_le_bytes());
    }
    fn take(rest: &mut &[u8]) -> Option<f64> {
        let (bytes, after) = rest.split_first_chunk::<8>()?;
        *rest = after;
        Some(f64::from_le_bytes(*bytes))
    }
    fn show(value: &f64, out: &mut Vec<u8>) {
        let _ = write!(out, "{value}"); // a vector takes all
    }
    fn to_json(value: &f64) -> serde_json::Value {
        (*value).into()
    }
}

impl Datum for String {
    type Ref = str;
    fn as_ref(&self) -> &str {
        self
    }
    fn from_ref(value: &str) -> String {
        value.to_owned()
    }
    fn put_key(key: &str, out: &mut Vec<u8>) {
        keys::put_bytes(out, tag::TEXT, key.as_bytes());
    }
    #[inline]
    fn short_key(key: &str) -> Option<ShortKey> {
        ShortKey::of_bytes(tag::TEXT, key.as_bytes())
    }
    fn take_key(key: &mut Pieces<'_>) -> Option<String> {
        match key.next_piece().ok()? {
            Piece::Text(text) => String::from_utf8(text.into_owned()).ok(),
            _ => None,
        }
    }
    #[inline]
    fn take_key_in<'p>(key: &mut Pieces<'_>, place: &'p mut Option<String>) -> Option<&'p String> {
        let Piece::Text(text) = key.next_piece().ok()? else { return None };
        let key = place.get_or_insert_default();
        key.clear();
        key.push_str(std::str::from_utf8(&text).ok()?);
        Some(key)
    }
    fn put(value: &str, out: &mut Vec<u8>) {
        put_sized(value.as_bytes(), out);
    }
    fn take(rest: &mut &[u8]) -> Option<String> {
        std::str::from_utf8(take_sized(rest)?).ok().map(str::to_owned)
    }
    fn take_ref<'a>(rest: &mut &'a [u8], _: &'a mut Option<String>) -> Option<&'a str> {
        std::str::from_utf8(take_sized(rest)?).ok()
    }
    fn show(value: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(value.as_bytes());
    }
    fn to_json(value: &str) -> serde_json::Value {
        value.into()
    }
}

impl Datum for Vec<u8> {
    type Ref = [u8];
    fn as_ref(&self) -> &[u8] {
        self
    }
    fn from_ref(value: &[u8]) -> Vec<u8> {
        value.to_vec()
    }
    fn put_key(key: &[u8], out: &mut Vec<u8>) {
        keys::put_bytes(out, tag::BYTES, key);
    }
    #[inline]
    fn short_key(key: &[u8]) -> Option<ShortKey> {
        ShortKey::of_bytes(tag::BYTES, key)
    }
    fn take_key(key: &mut Pieces<'_>) -> Option<Vec<u8>> {
        match key.next_piece().ok()? {
            Piece::Bytes(bytes) => Some(bytes.into_owned()),
            _ => None,
        }
    }
    #[inline]
    fn take_key_in<'p>(key: &mut Pieces<'_>, place: &'p mut Option<Vec<u8>>) -> Option<&'p Vec<u8>> {
        let Piece::Bytes(bytes) = key.next_piece().ok()? else { return None };
        let key = place.get_or_insert_default();
        key.clear();
        key.extend_from_slice(&bytes);
        Some(key)
    }
    fn put(value: &[u8], out: &mut Vec<u8>) {
        put_sized(value, out);
    }
    fn take(rest: &mut &[u8]) -> Option<Vec<u8>> {
        take_sized(rest).map(<[u8]>::to_vec)
    }
    fn take_ref<'a>(rest: &mut &'a [u8], _: &'a mut Option<Vec<u8>>) -> Option<&'a [u8]> {
        take_sized(rest)
    }
    fn show(value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(value);
    }
    fn to_json(value: &[u8]) -> serde_json::Value {
        String::from_utf8_lossy(value).into()
    }
}

/// A result that is a whole line of text output, written without its key.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line(pub Vec<u8>);

impl Datum for Line {
    type Ref = [u8];
    const IS_LINE: bool = true;
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
    fn from_ref(value: &[u8]) -> Line {
        Line(value.to_vec())
    }
    fn put_key(key: &[u8], out: &mut Vec<u8>) {
        <Vec<u8> as Datum>::put_key(key, out);
    }
    fn take_key(key: &mut Pieces<'_>) -> Option<Line> {
        <Vec<u8> as Datum>::take_key(key).map(Line)
    }
    fn put(value: &[u8], out: &mut Vec<u8>) {
        put_sized(value, out);
    }
    fn take(rest: &mut &[u8]) -> Option<Line> {
        <Vec<u8> as Datum>::take(rest).map(Line)
    }
    fn take_ref<'a>(rest: &mut &'a [u8], _: &'a mut Option<Line>) -> Option<&'a [u8]> {
        take_sized(rest)
    }
    fn show(value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(value);
    }
    fn to_json(value: &[u8]) -> serde_json::Value {
        <Vec<u8> as Datum>::to_json(value)
    }
}

impl<A: Datum, B: Datum> Datum for (A, B) {
    type Ref = (A, B);
    fn as_ref(&self) -> &(A, B) {
        self
    }
    fn from_ref((a, b): &(A, B)) -> (A, B) {
        (A::from_ref(a.as_ref()), B::from_ref(b.as_ref()))
    }
    fn put_key((a, b): &(A, B), out: &mut Vec<u8>) {
        out.push(tag::TUPLE);
        A::put_key(a.as_ref(), out);
        B::put_key(b.as_ref(), out);
        out.push(tag::END);
    }
    fn take_key(key: &mut Pieces<'_>) -> Option<(A, B)> {
        if key.next_piece().ok()? != Piece::Tuple {
            return None;
        }
        let pair = (A::take_key(key)?, B::take_key(key)?);
        (key.next_piece().ok()? == Piece::End).then_some(pair)
    }
    fn put((a, b): &(A, B), out: &mut Vec<u8>) {
        A::put(a.as_ref(), out);
        B::put(b.as_ref(), out);
    }
    fn take(rest: &mut &[u8]) -> Option<(A, B)> {
        Some((A::take(rest)?, B::take(rest)?))
    }
    fn show((a, b): &(A, B), out: &mut Vec<u8>) {
        A::show(a.as_ref(), out);
        out.push(b' ');
        B::show(b.as_ref(), out);
    }
    fn to_json((a, b): &(A, B)) -> serde_json::Value {
        [A::to_json(a.as_ref()), B::to_json(b.as_ref())].into_iter().collect()
    }
}

fn put_sized(bytes: &[u8], out: &mut Vec<u8>) {
    varint::put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint::take(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key<T: Datum>(datum: &T) -> Vec<u8> {
        let mut out = Vec::new();
        T::put_key(datum.as_ref(), &mut out);
        out
    }

    fn check<T: Datum + PartialEq + PartialOrd + std::fmt::Debug>(a: &T, b: &T) {
        assert_eq!(key(a).partial_cmp(&key(b)), a.partial_cmp(b));
        if let Some(short) = T::short_key(a.as_ref()) {
            let mut put = Vec::new();
            short.put(&mut put);
            assert_eq!(put, key(a));
        }
        assert_eq!(T::take_key(&mut Pieces::new(&key(a))).as_ref(), Some(a));
        assert_eq!(T::take_key_in(&mut Pieces::new(&key(a)), &mut Some(T::from_ref(b.as_ref()))), Some(a));
        let mut both = Vec::new();
        T::put(a.as_ref(), &mut both);
        T::put(b.as_ref(), &mut both);
        let mut places = [None, None];
        let mut rest = both.as_slice();
        for (datum, place) in [a, b].into_iter().zip(&mut places) {
            assert_eq!(T::take_ref(&mut rest, place).map(T::from_ref).as_ref(), Some(datum));
        }
        let mut rest = both.as_slice();
        assert_eq!((T::take(&mut rest).as_ref(), T::take(&mut rest).as_ref()), (Some(a), Some(b)));
        assert!(rest.is_empty());
    }

    proptest! {
        #[test]
        fn data_keep_value_and_order(
            integers: (i64, i64),
            unsigned: (u64, u64),
            small: (i32, i32),
            floats in (-1e300..1e300f64, -1e300..1e300f64),
            texts: (String, String),
            bytes: (Vec<u8>, Vec<u8>),
        ) {
            check(&integers.0, &integers.1);
            check(&unsigned.0, &unsigned.1);
            check(&small.0, &small.1);
            check(&floats.0, &floats.1);
            check(&texts.0, &texts.1);
            check(&bytes.0, &bytes.1);
            check(&(texts.0, integers.0), &(texts.1, integers.1));
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_kept() {
        for number in [0, 1, u64::MAX, u64::MAX - 1, i64::MAX as u64, i64::MAX as u64 + 1] {
            check(&number, &7);
        }
        for number in [i64::MIN, i64::MAX, 0, -1] {
            check(&number, &-7);
        }
    }
}
