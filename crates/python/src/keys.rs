//! Python's objects as keys. Which bytes there are says [`mapreduce_executor::keys`]; which objects they stand for,
//! this: objects that are equal in Python have equal bytes, whatever their types.
//!
//! So that a result has the key that the user emitted, and not merely one equal to it, a *hint* travels beside
//! the bytes. It is empty for what the bytes decode to, else `b` (a bool), `f` (a float that is whole) or `p` and
//! a pickle.

use std::slice;

use mapreduce_executor::keys::{self, Number, Piece, Pieces, SHORT_BYTES, ShortKey, tag};
use pyo3::{
    ffi,
    prelude::*,
    types::{PyBool, PyBytes, PyFloat, PyFrozenSet, PyInt, PyString, PyTuple},
};

use crate::objects::{self, KeyEncodingError, damaged};

/// Keys that are nested deeper are refused, before the stack ends.
const DEPTH_MAX: usize = 100;

/// Which object a key was, among those that are equal to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The one that the bytes decode to.
    Canonical,
    Bool,
    WholeFloat,
    Other,
}

/// Appends the bytes of `key`.
pub fn encode(key: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<Origin> {
    encode_nested(key, out, 0)
}

/// The UTF-8 of the text that a key is, as most are, if it has one; and the short key that it is, if it is short.
#[inline]
pub fn text<'a>(key: &'a Bound<'_, PyAny>) -> Option<(&'a str, Option<ShortKey>)> {
    let text = utf8(key.cast_exact::<PyString>().ok()?)?;
    let offset = (text.as_ptr() as usize).wrapping_sub(key.as_ptr() as usize);
    let short = if (40..=48).contains(&offset) {
        // SAFETY: so near to where the object begins there is only the object, of which nothing but its header of 40 or 48
        // bytes comes before its text, if that is ASCII; any other text stands elsewhere. So the 16 bytes that end with the
        // text are in the object, and behind its count of references. Nobody writes them as long as this thread holds the GIL;
        // an interpreter without one has a longer header.
        let last = unsafe {
            key.as_ptr().byte_add(offset + text.len() - SHORT_BYTES).cast::<[u8; SHORT_BYTES]>().read()
        };
        ShortKey::of_last_bytes(tag::TEXT, last, text.len())
    } else {
        ShortKey::of_bytes(tag::TEXT, text.as_bytes())
    };
    Some((text, short))
}

/// A text's UTF-8, if it has one. What PyO3 offers is not inlined, which a pair of short objects feels.
#[inline]
fn utf8<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a str> {
    let mut n_bytes = 0;
    // SAFETY: the object is a text and is alive.
    let bytes = unsafe { ffi::PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut n_bytes) };
    if bytes.is_null() {
        drop(PyErr::take(text.py()));
        return None;
    }
    // SAFETY: so many bytes of UTF-8 are there, unchanged as long as the object is.
    Some(unsafe { str::from_utf8_unchecked(slice::from_raw_parts(bytes.cast(), n_bytes as usize)) })
}

/// Appends the bytes of `value`, whose order is to be that of values. What has no order, or another one than its
/// bytes, is refused.
pub fn encode_sortable(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let start = out.len();
    encode(value, out)?;
    let mut pieces = Pieces::new(&out[start..]);
    while !pieces.is_empty() {
        let what = match pieces.skip().map_err(|error| damaged(&error.to_string()))? {
            tag::SET => "sets have no order: use tuple(sorted(value))",
            tag::COMPLEX => "complex numbers have no order: use (value.real, value.imag)",
            tag::RATIO => "no float is equal to it, so it can't be compared with others: use float(value)",
            _ => continue,
        };
        return Err(KeyEncodingError::new_err(what));
    }
    Ok(())
}

/// Appends the hint of a key that has this origin.
pub fn put_hint(key: &Bound<'_, PyAny>, origin: Origin, out: &mut Vec<u8>) -> PyResult<()> {
    match origin {
        Origin::Canonical => {}
        Origin::Bool => out.push(b'b'),
        Origin::WholeFloat => out.push(b'f'),
        Origin::Other => {
            out.push(b'p');
            out.extend_from_slice(objects::pickle(key)?.as_bytes());
        }
    }
    Ok(())
}

/// The key that was encoded as these bytes and this hint.
pub fn decode<'py>(py: Python<'py>, bytes: &[u8], hint: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match hint.split_first() {
        Some((b'p', pickled)) => objects::unpickle(&PyBytes::new(py, pickled)),
        Some((b'b', [])) => Ok(PyBool::new(py, decode_bytes(py, bytes)?.is_truthy()?).to_owned().into_any()),
        Some((b'f', [])) => Ok(PyFloat::new(py, decode_bytes(py, bytes)?.extract()?).into_any()),
        Some(_) => Err(damaged("a key's hint")),
        None => decode_bytes(py, bytes),
    }
}

/// Whether the order of the bytes may differ from Python's order: the key holds something whose place only
/// Python knows, such as a date.
pub fn order_is_approximate(hint: &[u8]) -> bool {
    hint.first() == Some(&b'p')
}

fn encode_nested(key: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<Origin> {
    if let Ok(text) = key.cast_exact::<PyString>() {
        encode_text(text, out)?;
    } else if let Ok(int) = key.cast_exact::<PyInt>() {
        encode_int(int, out)?;
    } else if let Ok(elements) = key.cast_exact::<PyTuple>() {
        return encode_tuple(elements, out, depth);
    } else if let Ok(float) = key.cast_exact::<PyFloat>() {
        return encode_float(float, out);
    } else if let Ok(bytes) = key.cast_exact::<PyBytes>() {
        keys::put_bytes(out, tag::BYTES, bytes.as_bytes());
    } else if key.is_none() {
        out.push(tag::NONE);
    } else if let Ok(truth) = key.cast_exact::<PyBool>() {
        keys::put_number(out, false, u64::from(truth.is_true()), 0);
        return Ok(Origin::Bool);
    } else if let Ok(elements) = key.cast_exact::<PyFrozenSet>() {
        return encode_set(elements, out, depth);
    } else {
        return encode_by_rule(key, out, depth);
    }
    Ok(Origin::Canonical)
}

fn encode_text(text: &Bound<'_, PyString>, out: &mut Vec<u8>) -> PyResult<()> {
    if let Ok(utf8) = text.to_str() {
        keys::put_bytes(out, tag::TEXT, utf8.as_bytes());
        return Ok(());
    }
    // Only lone surrogates have no UTF-8.
    let bytes = text.call_method1("encode", ("utf-8", "surrogatepass"))?;
    keys::put_bytes(out, tag::TEXT, bytes.cast::<PyBytes>()?.as_bytes());
    Ok(())
}

fn encode_int(int: &Bound<'_, PyInt>, out: &mut Vec<u8>) -> PyResult<()> {
    if let Ok(small) = int.extract::<i64>() {
        keys::put_number(out, small < 0, small.unsigned_abs(), 0);
        return Ok(());
    }
    let n_bytes = int.call_method0("bit_length")?.extract::<usize>()?.div_ceil(8);
    let magnitude = int.call_method0("__abs__")?.call_method1("to_bytes", (n_bytes, "big"))?;
    let put = keys::put_big(out, int.lt(0)?, magnitude.cast::<PyBytes>()?.as_bytes());
    put.map_err(|error| KeyEncodingError::new_err(error.to_string()))
}

fn encode_float(float: &Bound<'_, PyFloat>, out: &mut Vec<u8>) -> PyResult<Origin> {
    let value = float.value();
    keys::put_float(out, value).map_err(|nan| {
        KeyEncodingError::new_err(format!("{nan}: leave such pairs out, or use a string such as 'nan'"))
    })?;
    Ok(if value == 0.0 && value.is_sign_negative() {
        Origin::Other
    } else if value.is_finite() && value.fract() == 0.0 {
        Origin::WholeFloat
    } else {
        Origin::Canonical
    })
}

/// What holds elements is canonical if all of them are.
fn container(elements_are_canonical: bool) -> Origin {
    if elements_are_canonical { Origin::Canonical } else { Origin::Other }
}

fn deeper(depth: usize) -> PyResult<usize> {
    if depth < DEPTH_MAX {
        return Ok(depth + 1);
    }
    Err(KeyEncodingError::new_err(format!("a key is nested more than {DEPTH_MAX} deep: use a flat tuple")))
}

fn encode_tuple(elements: &Bound<'_, PyTuple>, out: &mut Vec<u8>, depth: usize) -> PyResult<Origin> {
    let (depth, mut canonical) = (deeper(depth)?, true);
    out.push(tag::TUPLE);
    for element in elements.as_slice() {
        canonical &= encode_nested(element, out, depth)? == Origin::Canonical;
    }
    out.push(tag::END);
    Ok(container(canonical))
}

fn encode_set(elements: &Bound<'_, PyFrozenSet>, out: &mut Vec<u8>, depth: usize) -> PyResult<Origin> {
    let (depth, mut canonical) = (deeper(depth)?, true);
    let mut encoded = Vec::with_capacity(elements.len());
    for element in elements.iter() {
        let mut bytes = Vec::new();
        canonical &= encode_nested(&element, &mut bytes, depth)? == Origin::Canonical;
        encoded.push(bytes);
    }
    encoded.sort_unstable();
    out.push(tag::SET);
    encoded.iter().for_each(|bytes| out.extend_from_slice(bytes));
    out.push(tag::END);
    Ok(container(canonical))
}

/// Encodes what `_keys.canonical` says that `key` is equal to.
fn encode_by_rule(key: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> PyResult<Origin> {
    let depth = deeper(depth)?;
    let (kind, parts): (String, Bound<'_, PyAny>) = objects::canonical_key(key)?.extract()?;
    let tag = match kind.as_str() {
        "ratio" => tag::RATIO,
        "complex" => tag::COMPLEX,
        "object" => tag::OBJECT,
        _ => {
            encode_nested(&parts, out, depth)?;
            return Ok(Origin::Other);
        }
    };
    out.push(tag);
    let (first, second): (Bound<'_, PyAny>, Bound<'_, PyAny>) = parts.extract()?;
    encode_nested(&first, out, depth)?;
    encode_nested(&second, out, depth)?;
    Ok(Origin::Other)
}

fn decode_bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut pieces = Pieces::new(bytes);
    match decode_nested(py, &mut pieces, 0)? {
        Some(key) if pieces.is_empty() => Ok(key),
        _ => Err(damaged("a key")),
    }
}

/// None at the end of a tuple or set.
fn decode_nested<'py>(
    py: Python<'py>,
    pieces: &mut Pieces<'_>,
    depth: usize,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let piece = pieces.next_piece().map_err(|error| damaged(&error.to_string()))?;
    Ok(Some(match piece {
        Piece::End => return Ok(None),
        Piece::None => py.None().into_bound(py),
        Piece::Number(number) => decode_number(py, &number)?,
        Piece::Bytes(bytes) => PyBytes::new(py, &bytes).into_any(),
        Piece::Text(utf8) => match std::str::from_utf8(&utf8) {
            Ok(text) => PyString::new(py, text).into_any(),
            Err(_) => PyBytes::new(py, &utf8).call_method1("decode", ("utf-8", "surrogatepass"))?,
        },
        Piece::Tuple => PyTuple::new(py, decode_elements(py, pieces, depth)?)?.into_any(),
        Piece::Set => PyFrozenSet::new(py, decode_elements(py, pieces, depth)?)?.into_any(),
        Piece::Opaque => return Err(damaged("a key without its hint")),
    }))
}

fn decode_elements<'py>(
    py: Python<'py>,
    pieces: &mut Pieces<'_>,
    depth: usize,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let (depth, mut elements) = (deeper(depth)?, Vec::new());
    while let Some(element) = decode_nested(py, pieces, depth)? {
        elements.push(element);
    }
    Ok(elements)
}

fn decode_number<'py>(py: Python<'py>, number: &Number) -> PyResult<Bound<'py, PyAny>> {
    match number {
        Number::Int(value) => Ok(value.into_pyobject(py)?.into_any()),
        Number::Float(value) => Ok(PyFloat::new(py, *value).into_any()),
        Number::Big { negative, magnitude } => {
            let positive =
                py.get_type::<PyInt>().call_method1("from_bytes", (PyBytes::new(py, magnitude), "big"))?;
            if *negative { positive.neg() } else { Ok(positive) }
        }
    }
}

/// For tests: the bytes and the hint of a key.
#[pyfunction]
pub fn _encode_key<'py>(key: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let (mut bytes, mut hint) = (Vec::new(), Vec::new());
    let origin = encode(key, &mut bytes)?;
    put_hint(key, origin, &mut hint)?;
    Ok((PyBytes::new(key.py(), &bytes), PyBytes::new(key.py(), &hint)))
}

/// For tests: the key that has these bytes and this hint.
#[pyfunction]
pub fn _decode_key<'py>(py: Python<'py>, bytes: &[u8], hint: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    decode(py, bytes, hint)
}
