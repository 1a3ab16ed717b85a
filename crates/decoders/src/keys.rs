//! Encoded keys.

use mapreduce_executor::keys::{
    Number, Piece, Pieces, first_length, is_first, prefix, put_big, put_bytes, put_float, put_number, tag,
};

/// Takes the bytes apart, puts the pieces together again, and finds where the first key ends.
pub fn run(data: &[u8]) {
    let _ = prefix(data);
    let _ = is_first(&data[..data.len() / 2], data);
    if let Some(length) = first_length(data) {
        assert!((1..=data.len()).contains(&length));
    }
    let (mut pieces, mut skipped) = (Pieces::new(data), Pieces::new(data));
    while !pieces.is_empty() {
        let Ok(piece) = pieces.next_piece() else { return };
        assert!(skipped.skip().is_ok_and(|first| same_kind(first, &piece)), "{piece:?} can't be skipped");
        assert_eq!(skipped.bad(), pieces.bad(), "{piece:?} ends elsewhere when it is skipped");
        check_smallest(&piece);
        // An opaque key's tag is not in its piece.
        if let Some(again) = encoded(&piece) {
            let mut read = Pieces::new(&again);
            assert_eq!(read.next_piece().as_ref(), Ok(&piece));
            assert!(read.is_empty());
        }
    }
}

fn same_kind(first: u8, piece: &Piece<'_>) -> bool {
    match piece {
        Piece::None => first == tag::NONE,
        Piece::Number(_) => (tag::MINUS_INFINITY..=tag::INFINITY).contains(&first),
        Piece::Bytes(_) => first == tag::BYTES,
        Piece::Text(_) => first == tag::TEXT,
        Piece::Tuple => first == tag::TUPLE,
        Piece::Set => first == tag::SET,
        Piece::End => first == tag::END,
        Piece::Opaque => first >= tag::RATIO,
    }
}

/// A number is given in the smallest kind that holds it.
fn check_smallest(piece: &Piece<'_>) {
    match piece {
        Piece::Number(Number::Big { negative, magnitude }) => {
            let magnitude = magnitude.iter().fold(0u128, |n, byte| n.saturating_mul(256) | u128::from(*byte));
            let most = if *negative { 1 << 63 } else { (1 << 63) - 1 };
            assert!(magnitude > most, "{magnitude} is not big");
        }
        Piece::Number(Number::Float(float)) => assert!(float.is_infinite() || float.fract() != 0.0),
        _ => {}
    }
}

fn encoded(piece: &Piece<'_>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match piece {
        Piece::None => out.push(tag::NONE),
        Piece::Number(Number::Int(n)) => put_number(&mut out, *n < 0, n.unsigned_abs(), 0),
        Piece::Number(Number::Big { negative, magnitude }) => {
            put_big(&mut out, *negative, magnitude).unwrap()
        }
        Piece::Number(Number::Float(float)) => put_float(&mut out, *float).unwrap(),
        Piece::Bytes(bytes) => put_bytes(&mut out, tag::BYTES, bytes),
        Piece::Text(bytes) => put_bytes(&mut out, tag::TEXT, bytes),
        Piece::Tuple | Piece::Set | Piece::End | Piece::Opaque => return None,
    }
    Some(out)
}

/// Numbers of all sizes, text with zeros, and a nested tuple.
pub fn seeds() -> Vec<Vec<u8>> {
    let made = |put: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        put(&mut out);
        out
    };
    let ints = [0, 1, -1, 100, -12_345_678, i64::MAX, i64::MIN + 1];
    let floats = [0.1, -1e300, 5e-324, f64::INFINITY, f64::NEG_INFINITY, 1e20];
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    seeds.extend(ints.map(|n: i64| made(&|out| put_number(out, n < 0, n.unsigned_abs(), 0))));
    seeds.extend(floats.map(|float| made(&|out| put_float(out, float).unwrap())));
    seeds.push(made(&|out| put_big(out, true, &[0xff; 40]).unwrap()));
    seeds.push(made(&|out| put_bytes(out, tag::TEXT, b"a\0b\0\0")));
    seeds.push(made(&|out| put_bytes(out, tag::BYTES, b"plain")));
    let all = seeds.concat();
    for outer in [tag::TUPLE, tag::SET] {
        seeds.push([&[outer, tag::NONE, tag::TUPLE][..], &all, &[tag::END, tag::END]].concat());
    }
    seeds.push([&[tag::RATIO][..], &seeds[1], &seeds[3]].concat());
    seeds
}
