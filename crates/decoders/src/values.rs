//! Values of native jobs, pairs of earlier results, rows of CSV, ids, and the headers of calls.

use mapreduce::native::{Datum, Line};
use mapreduce_core::{AttemptId, Incarnation, JobId, JobPhase, TaskId};
use mapreduce_executor::{keys::Pieces, pair, varint};
use mapreduce_formats::{CsvRow, encode_csv_row};
use mapreduce_rpc::{WIRE_VERSION, headers::Credentials, parse};
use tonic::{
    Request,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

use crate::{check_error, seed};

/// Reads the bytes as what the choice says.
pub fn run(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    match choice {
        0 => datum::<i32>(bytes),
        1 => datum::<u64>(bytes),
        2 => datum::<i64>(bytes),
        3 => datum::<f64>(bytes),
        4 => datum::<String>(bytes),
        5 => datum::<Line>(bytes),
        6 => datum::<((String, i64), Vec<u8>)>(bytes),
        7 => varints(bytes),
        8 => pairs(bytes),
        9 => row(bytes),
        10 => ids(&String::from_utf8_lossy(bytes)),
        _ => headers(bytes),
    }
}

/// Values one behind the other; and the bytes as a key. Compared as bytes, since NaN is not equal to itself.
fn datum<T: Datum>(bytes: &[u8]) {
    let put = |datum: &T| {
        let mut out = Vec::new();
        T::put(datum.as_ref(), &mut out);
        out
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut place = None;
        let mut by_ref = rest;
        let taken = T::take(&mut rest).map(|datum| put(&datum));
        let where_it_lies = T::take_ref(&mut by_ref, &mut place).map(|datum| put(&T::from_ref(datum)));
        assert_eq!(taken, where_it_lies);
        let Some(first) = taken else { break };
        assert_eq!(rest.len(), by_ref.len());
        let again = T::take(&mut first.as_slice());
        assert!(again.is_some_and(|again| put(&again) == first), "a value is not what it was");
    }
    let key = |datum: &T| {
        let mut out = Vec::new();
        T::put_key(datum.as_ref(), &mut out);
        out
    };
    if let Some(datum) = T::take_key(&mut Pieces::new(bytes)) {
        let (mut shown, first) = (Vec::new(), key(&datum));
        T::show(datum.as_ref(), &mut shown);
        let _ = T::to_json(datum.as_ref());
        let again = T::take_key(&mut Pieces::new(&first));
        assert!(again.is_some_and(|again| key(&again) == first), "a key is not what it was");
    }
}

fn varints(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(number) = varint::take(&mut rest) {
        let mut again = Vec::new();
        varint::put(&mut again, number);
        assert_eq!(varint::take(&mut again.as_slice()), Some(number));
    }
}

fn pairs(bytes: &[u8]) {
    let Some([key, hint, values]) = pair(bytes) else { return };
    let _ = (&bytes[key], &bytes[hint], &bytes[values]);
}

fn row(bytes: &[u8]) {
    let Some(row) = CsvRow::decode(bytes) else { return };
    let fields: Vec<&str> = row.fields().collect();
    assert_eq!(fields.len(), row.len());
    let mut again = Vec::new();
    encode_csv_row(fields.iter().copied(), &mut again);
    assert_eq!(CsvRow::decode(&again).map(|row| row.fields().collect()), Some(fields));
}

/// Every id reads only what it writes.
fn ids(text: &str) {
    let check = |found: Result<String, mapreduce_rpc::BadField>| match found {
        Ok(again) => assert_eq!(again, text),
        Err(error) => check_error(&error),
    };
    check(parse::<JobId>(text).map(|id| id.to_string()));
    check(parse::<TaskId>(text).map(|id| id.to_string()));
    check(parse::<AttemptId>(text).map(|id| id.to_string()));
    check(parse::<Incarnation>(text).map(|id| id.to_string()));
    check(parse::<JobPhase>(text).map(|phase| phase.name().to_owned()));
}

fn headers(bytes: &[u8]) {
    let Ok(value) = MetadataValue::<Ascii>::try_from(bytes) else { return };
    let mut headers = MetadataMap::new();
    headers.insert("authorization", value.clone());
    headers.insert("mapreduce-version", MetadataValue::from(WIRE_VERSION));
    match Credentials::from_headers(&headers) {
        Ok(credentials) => {
            let mut request = Request::new(());
            credentials.attach(&mut request);
            assert_eq!(Credentials::from_headers(request.metadata()).ok(), Some(credentials));
        }
        Err(status) => check_error(&status),
    }
    headers.insert("mapreduce-version", value);
    let _ = Credentials::from_headers(&headers).map_err(|status| check_error(&status));
}

/// One of each.
pub fn seeds() -> Vec<Vec<u8>> {
    fn put<T: Datum>(choice: u8, data: &[T]) -> Vec<u8> {
        let mut out = vec![choice];
        data.iter().for_each(|datum| T::put(datum.as_ref(), &mut out));
        out
    }
    let mut fields = Vec::new();
    encode_csv_row(["one", "", "three\n"], &mut fields);
    vec![
        put(0, &[1, -7, i32::MAX]),
        put(1, &[1, u64::MAX, u64::MAX / 2]),
        put(2, &[0, i64::MIN, i64::MAX]),
        put(3, &[0.5, -1e300]),
        put(4, &["text".to_owned(), String::new()]),
        put(5, &[Line(b"a line".to_vec())]),
        put(6, &[(("text".to_owned(), -5), vec![1, 2])]),
        seed(7, [1, 0x80, 1, 0xff, 0xff, 0x7f]),
        seed(8, [2, 0x12, 0, 1, b'f', 9, 9]),
        seed(9, fields),
        seed(10, b"job_12"),
        seed(10, b"worker-0123456789ab"),
        seed(10, b"2-1"),
        seed(10, b"map/12"),
        seed(11, b"Basic YWRhOnNlY3JldA=="),
        seed(11, b"Bearer 0123abcd"),
    ]
}
