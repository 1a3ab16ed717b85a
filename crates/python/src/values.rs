//! Python's objects as values: one byte of kind, then the content. Common types have a compact form that
//! decodes to an equal object of the same type; everything else is pickled.
//!
//! ```text
//! 00..7f       the ints 0 to 127                     88 n values     a tuple of n
//! 80 81 82     None, False, True                     89 n values     a list of n
//! 83 zigzag    an int of 64 bits                     8a n (k v)*     a dict of n
//! 84 n bytes   a longer int, little endian           8b n bytes      a pickle
//! 85 8 bytes   a float                               8c n value      that value n times, in runs of values only
//! 86 n bytes   a str, UTF-8                          a0..bf bytes    a str of 0 to 31 bytes
//! 87 n bytes   bytes                                 f0..ff          the ints -16 to -1
//! ```
//!
//! At most one list or dict of a value has the compact form: with two, they might be one object twice, or hold
//! each other, which only a pickle keeps.

use mapreduce_executor::{Values, varint};
use pyo3::{
    prelude::*,
    types::{IntoPyDict, PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple},
};

use crate::objects::{self, damaged};

mod kind {
    pub const NONE: u8 = 0x80;
    pub const FALSE: u8 = 0x81;
    pub const TRUE: u8 = 0x82;
    pub const INT: u8 = 0x83;
    pub const BIG_INT: u8 = 0x84;
    pub const FLOAT: u8 = 0x85;
    pub const STR: u8 = 0x86;
    pub const BYTES: u8 = 0x87;
    pub const TUPLE: u8 = 0x88;
    pub const LIST: u8 = 0x89;
    pub const DICT: u8 = 0x8a;
    pub const PICKLE: u8 = 0x8b;
    pub const REPEAT: u8 = 0x8c;
    pub const SHORT_STR: u8 = 0xa0;
    pub const SHORT_STR_MAX: u8 = 0xbf;
}

/// What is nested deeper is pickled, and is refused when decoded, before the stack ends.
const DEPTH_MAX: usize = 50;

/// Appends one value.
pub fn encode(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> PyResult<()> {
    let start = out.len();
    if (Compact { out, may_change: false }).put(value, 0)? {
        return Ok(());
    }
    out.truncate(start);
    let pickled = objects::pickle(value)?;
    out.push(kind::PICKLE);
    put_sized(out, pickled.as_bytes());
    Ok(())
}

/// Appends `n` times the same value to a run of values.
pub fn encode_repeated(value: &Bound<'_, PyAny>, n: u64, out: &mut Vec<u8>) -> PyResult<()> {
    if n != 1 {
        out.push(kind::REPEAT);
        varint::put(out, n);
    }
    encode(value, out)
}

/// Whether the value can't change and decodes to an equal one of the same type, so that one object may stand for
/// many.
pub fn is_atom(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_none()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyBytes>()
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

struct Compact<'a> {
    out: &'a mut Vec<u8>,
    /// Whether a list or dict was met.
    may_change: bool,
}

impl Compact<'_> {
    /// False if the value has no compact form; what was appended is of no use then.
    fn put(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<bool> {
        if let Ok(int) = value.cast_exact::<PyInt>() {
            self.put_int(int)?;
        } else if let Ok(text) = value.cast_exact::<PyString>() {
            // Lone surrogates have no UTF-8.
            let Ok(utf8) = text.to_str() else { return Ok(false) };
            match u8::try_from(utf8.len()) {
                Ok(short) if short <= kind::SHORT_STR_MAX - kind::SHORT_STR => {
                    self.out.push(kind::SHORT_STR + short);
                    self.out.extend_from_slice(utf8.as_bytes());
                }
                _ => {
                    self.out.push(kind::STR);
                    put_sized(self.out, utf8.as_bytes());
                }
            }
        } else if let Ok(float) = value.cast_exact::<PyFloat>() {
            self.out.push(kind::FLOAT);
            self.out.extend_from_slice(&float.value().to_le_bytes());
        } else if let Ok(elements) = value.cast_exact::<PyTuple>() {
            return self.put_elements(kind::TUPLE, elements.as_slice().iter().map(Bound::clone), depth);
        } else if value.is_none() {
            self.out.push(kind::NONE);
        } else if let Ok(truth) = value.cast_exact::<PyBool>() {
            self.out.push(if truth.is_true() { kind::TRUE } else { kind::FALSE });
        } else if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            self.out.push(kind::BYTES);
            put_sized(self.out, bytes.as_bytes());
        } else if self.may_change {
            return Ok(false);
        } else if let Ok(elements) = value.cast_exact::<PyList>() {
            self.may_change = true;
            return self.put_elements(kind::LIST, elements.iter(), depth);
        } else if let Ok(entries) = value.cast_exact::<PyDict>() {
            self.may_change = true;
            return self.put_dict(entries, depth);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn put_int(&mut self, int: &Bound<'_, PyInt>) -> PyResult<()> {
        match int.extract::<i64>() {
            Ok(small @ 0..=127) => self.out.push(small as u8),
            Ok(small @ -16..=-1) => self.out.push(small as i8 as u8),
            Ok(value) => {
                self.out.push(kind::INT);
                varint::put(self.out, (value << 1 ^ value >> 63) as u64);
            }
            Err(_) => {
                let n_bytes = int.call_method0("bit_length")?.extract::<usize>()? / 8 + 1;
                let options = [("signed", true)].into_py_dict(int.py())?;
                let bytes = int.call_method("to_bytes", (n_bytes, "little"), Some(&options))?;
                self.out.push(kind::BIG_INT);
                put_sized(self.out, bytes.cast::<PyBytes>()?.as_bytes());
            }
        }
        Ok(())
    }

    fn put_elements<'py>(
        &mut self,
        kind: u8,
        elements: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
        depth: usize,
    ) -> PyResult<bool> {
        self.out.push(kind);
        varint::put(self.out, elements.len() as u64);
        for element in elements {
            if depth == DEPTH_MAX || !self.put(&element, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn put_dict(&mut self, entries: &Bound<'_, PyDict>, depth: usize) -> PyResult<bool> {
        self.out.push(kind::DICT);
        varint::put(self.out, entries.len() as u64);
        for (key, value) in entries.iter() {
            let fits = depth < DEPTH_MAX && self.put(&key, depth + 1)? && self.put(&value, depth + 1)?;
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The value that all of `bytes` encode.
pub fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut rest = bytes;
    let value = take(py, &mut rest, 0)?;
    if rest.is_empty() { Ok(value) } else { Err(damaged("bytes follow a value")) }
}

/// Takes the next value and how often it stands there off a run of values.
pub fn take_repeated<'py>(py: Python<'py>, rest: &mut &[u8]) -> PyResult<(Bound<'py, PyAny>, u64)> {
    let mut n = 1;
    if let Some((&kind::REPEAT, after)) = rest.split_first() {
        *rest = after;
        n = take_number(rest)?;
    }
    Ok((take(py, rest, 0)?, n))
}

/// What Python's `sum` makes of these values, if they are all ints of 64 bits and it stays one.
pub fn sum_of_ints(runs: &[Values]) -> Option<i64> {
    let mut sum = 0i64;
    for run in runs {
        let (mut rest, mut n_left) = (run.bytes.as_ref(), run.count);
        while n_left > 0 || !rest.is_empty() {
            let mut n = 1;
            if let Some((&kind::REPEAT, after)) = rest.split_first() {
                rest = after;
                n = varint::take(&mut rest)?;
            }
            let value = take_int(&mut rest)?;
            n_left = n_left.checked_sub(n).filter(|_| n > 0)?;
            sum = sum.checked_add(value.checked_mul(i64::try_from(n).ok()?)?)?;
        }
    }
    Some(sum)
}

fn take_int(rest: &mut &[u8]) -> Option<i64> {
    let (&kind, after) = rest.split_first()?;
    *rest = after;
    match kind {
        0..=0x7f => Some(kind.into()),
        0xf0.. => Some((kind as i8).into()),
        kind::INT => varint::take(rest).map(from_zigzag),
        _ => None,
    }
}

fn from_zigzag(zigzag: u64) -> i64 {
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

fn take_number(rest: &mut &[u8]) -> PyResult<u64> {
    varint::take(rest).ok_or_else(|| damaged("a number in a value"))
}

fn take_bytes<'a>(rest: &mut &'a [u8], n: u64) -> PyResult<&'a [u8]> {
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    let (bytes, after) = rest.split_at_checked(n).ok_or_else(|| damaged("a value ends too early"))?;
    *rest = after;
    Ok(bytes)
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> PyResult<&'a [u8]> {
    let n = take_number(rest)?;
    take_bytes(rest, n)
}

fn take<'py>(py: Python<'py>, rest: &mut &[u8], depth: usize) -> PyResult<Bound<'py, PyAny>> {
    let (&kind, after) = rest.split_first().ok_or_else(|| damaged("a value is missing"))?;
    *rest = after;
    Ok(match kind {
        0..=0x7f => kind.into_pyobject(py)?.into_any(),
        0xf0.. => (kind as i8).into_pyobject(py)?.into_any(),
        kind::SHORT_STR..=kind::SHORT_STR_MAX => {
            PyString::from_bytes(py, take_bytes(rest, u64::from(kind - kind::SHORT_STR))?)?.into_any()
        }
        kind::NONE => py.None().into_bound(py),
        kind::FALSE | kind::TRUE => PyBool::new(py, kind == kind::TRUE).to_owned().into_any(),
        kind::INT => from_zigzag(take_number(rest)?).into_pyobject(py)?.into_any(),
        kind::BIG_INT => {
            let options = [("signed", true)].into_py_dict(py)?;
            let bytes = PyBytes::new(py, take_sized(rest)?);
            py.get_type::<PyInt>().call_method("from_bytes", (bytes, "little"), Some(&options))?
        }
        kind::FLOAT => {
            let (bytes, after) = rest.split_first_chunk().ok_or_else(|| damaged("a float ends too early"))?;
            *rest = after;
            PyFloat::new(py, f64::from_le_bytes(*bytes)).into_any()
        }
        kind::STR => PyString::from_bytes(py, take_sized(rest)?)?.into_any(),
        kind::BYTES => PyBytes::new(py, take_sized(rest)?).into_any(),
        kind::TUPLE => PyTuple::new(py, take_elements(py, rest, depth)?)?.into_any(),
        kind::LIST => PyList::new(py, take_elements(py, rest, depth)?)?.into_any(),
        kind::DICT => take_dict(py, rest, depth)?,
        kind::PICKLE => objects::unpickle(&PyBytes::new(py, take_sized(rest)?))?,
        _ => return Err(damaged("a value of unknown kind")),
    })
}

fn deeper(depth: usize) -> PyResult<usize> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(damaged("a value is nested too deep")) }
}

fn take_elements<'py>(py: Python<'py>, rest: &mut &[u8], depth: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let n = take_number(rest)?;
    let depth = if n == 0 { depth } else { deeper(depth)? };
    // Every element takes a byte at least, so a false number ends soon and reserves nothing.
    (0..n).map(|_| take(py, rest, depth)).collect()
}

fn take_dict<'py>(py: Python<'py>, rest: &mut &[u8], depth: usize) -> PyResult<Bound<'py, PyAny>> {
    let n = take_number(rest)?;
    let depth = if n == 0 { depth } else { deeper(depth)? };
    let dict = PyDict::new(py);
    for _ in 0..n {
        let key = take(py, rest, depth)?;
        dict.set_item(key, take(py, rest, depth)?)?;
    }
    Ok(dict.into_any())
}

/// For tests: the bytes of a value.
#[pyfunction]
pub fn _encode_value<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let mut out = Vec::new();
    encode(value, &mut out)?;
    Ok(PyBytes::new(value.py(), &out))
}

/// For tests: the value of these bytes.
#[pyfunction]
pub fn _decode_value<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    decode(py, bytes)
}
