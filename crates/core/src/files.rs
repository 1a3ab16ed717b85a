//! Files as input and output of jobs: what they hold, how they are cut into splits. Plain data, part of the
//! specification; `mapreduce-formats` lists, reads and writes them.

use serde::{Deserialize, Serialize};

/// What the files of an input hold, and what one record of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "format")]
pub enum FileFormat {
    /// Lines; a record is a line without its end, which is `\n` or `\r\n`.
    Text {
        /// What becomes of lines that are not UTF-8.
        invalid: InvalidText,
    },
    /// One JSON value a line; a record is the text of one. Empty lines are none.
    JsonLines,
    /// Rows of fields, RFC 4180; a record is a row.
    Csv {
        /// Between fields.
        delimiter: u8,
        /// Whether the first row of every file names the fields.
        header: bool,
        /// Whether fields may hold line ends. If so, no place inside a file tells where a row begins, and it is
        /// read by one task. If not, a field that does is an error.
        #[serde(default)]
        multiline: bool,
    },
    /// Apache Parquet; a record is a row.
    Parquet,
    /// A record is a whole file.
    WholeFiles,
    /// Records of equal length, one behind the other.
    FixedLength {
        /// Of each.
        record_bytes: u32,
    },
}

/// What becomes of text that is not UTF-8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvalidText {
    /// An error that names file and offset.
    #[default]
    Error,
    /// U+FFFD in its place.
    Replace,
    /// Records are bytes, whatever they hold.
    Bytes,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// It is not.
    None,
    /// `.gz`; several members may follow each other.
    Gzip,
    /// `.zst`; several frames may follow each other.
    Zstd,
    /// `.bz2`; several streams may follow each other.
    Bzip2,
    /// `.lz4`, the frame format; several frames may follow each other.
    Lz4,
}

/// A file as it was when the job was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Where it is: `file:///absolute/path` or another URL of an object store.
    pub url: String,
    /// Its length in bytes, as stored.
    pub length: u64,
    /// When it was last written, in milliseconds since 1970. A file that has changed since is an error.
    pub modified_ms: u64,
    /// What its store calls this version of it, if it tells versions apart: then that is compared instead of the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<String>,
    /// How it is compressed.
    pub compression: Compression,
}

/// A part of a file. It holds the records that begin in it; a compressed or whole file is one range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRange {
    /// Which of the input's files, from 0.
    pub file: u32,
    /// Where it begins, in stored bytes.
    pub offset: u64,
    /// How long it is, in stored bytes.
    pub length: u64,
}
