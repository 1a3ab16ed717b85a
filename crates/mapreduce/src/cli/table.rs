//! Tables of text, as people read them.

use std::io::{self, Write};

use chrono::DateTime;

/// Writes `rows` below `header`, columns aligned to the left, two spaces apart.
pub(super) fn write<const N: usize>(
    out: &mut impl Write,
    header: [&str; N],
    rows: &[[String; N]],
) -> io::Result<()> {
    let mut widths = header.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let header = header.map(str::to_owned);
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A moment as people read it, in UTC: `2026-11-05 14:03:22.120`.
pub(super) fn moment(unix_ms: u64) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(DateTime::from_timestamp_millis);
    moment.map_or_else(|| "?".to_owned(), |moment| moment.format("%Y-%m-%d %H:%M:%S%.3f").to_string())
}

/// A text for something that may be absent.
pub(super) fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut out = Vec::new();
        let rows = [["map/10".to_owned(), "é".to_owned()], ["map/2".to_owned(), String::new()]];
        write(&mut out, ["TASK", "KEY"], &rows).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "TASK    KEY\nmap/10  é\nmap/2\n");
    }

    #[test]
    fn moments_are_dates_in_utc() {
        assert_eq!(moment(0), "1970-01-01 00:00:00.000");
        assert_eq!(moment(1_793_887_402_120), "2026-11-05 14:03:22.120");
        assert_eq!(moment(u64::MAX), "?");
    }
}
