//! A row of CSV as the bytes of one record: the fields' ends, then their text.
//!
//! ```text
//! count: u32 | end of each field in the text: u32 | text of all fields, UTF-8         (little endian)
//! ```
//!
//! So any field is found at once, and text is checked and copied as a whole.

/// The fields of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvRow<'a> {
    ends: &'a [[u8; 4]],
    text: &'a str,
}

impl<'a> CsvRow<'a> {
    /// The row that a record of a CSV file is; `None` if the bytes are no row.
    pub fn decode(record: &'a [u8]) -> Option<Self> {
        let (count, rest) = record.split_first_chunk::<4>()?;
        let ends_bytes = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(4)?;
        let (ends, text) = rest.split_at_checked(ends_bytes)?;
        let (ends, _) = ends.as_chunks::<4>();
        let row = CsvRow { ends, text: std::str::from_utf8(text).ok()? };
        let whole = ends.last().is_none_or(|end| u32::from_le_bytes(*end) as usize == text.len());
        (whole && (0..row.len()).all(|i| row.get(i).is_some())).then_some(row)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The `i`th field, from 0.
    pub fn get(&self, i: usize) -> Option<&'a str> {
        let start = i.checked_sub(1).and_then(|before| self.end(before)).unwrap_or(0);
        self.text.get(start..self.end(i)?)
    }

    /// The fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = &'a str> {
        let row = *self;
        (0..row.len()).filter_map(move |i| row.get(i))
    }

    fn end(&self, i: usize) -> Option<usize> {
        self.ends.get(i).map(|end| u32::from_le_bytes(*end) as usize)
    }
}

/// Appends the row of `fields` to `out`. Together they must be shorter than 4 GiB.
pub fn encode_csv_row<'a>(fields: impl IntoIterator<Item = &'a str>, out: &mut Vec<u8>) {
    let (mut ends, mut text) = (Vec::new(), Vec::new());
    for field in fields {
        text.extend_from_slice(field.as_bytes());
        ends.push(text.len());
    }
    push_row(&ends, &text, out);
}

/// The same, from what the parser left.
pub(crate) fn push_row(ends: &[usize], text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(ends.len() as u32).to_le_bytes());
    for &end in ends {
        out.extend_from_slice(&(end as u32).to_le_bytes());
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_come_back(fields: Vec<String>) {
            let mut record = Vec::new();
            encode_csv_row(fields.iter().map(String::as_str), &mut record);
            let row = CsvRow::decode(&record).unwrap();
            prop_assert_eq!(row.fields().collect::<Vec<_>>(), fields);
        }

        #[test]
        fn other_bytes_are_no_row_and_never_a_panic(bytes: Vec<u8>) {
            if let Some(row) = CsvRow::decode(&bytes) {
                prop_assert_eq!(row.fields().count(), row.len());
            }
        }
    }

    #[test]
    fn fields_that_end_out_of_order_or_inside_a_character_are_no_row() {
        for ends in [[2, 1], [1, 2], [3, 2]] {
            let mut record = Vec::new();
            push_row(&ends, "é".as_bytes(), &mut record);
            assert_eq!(CsvRow::decode(&record), None);
        }
    }
}
