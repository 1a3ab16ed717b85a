//! Files that native jobs read and write.

use std::io;

use mapreduce_core::{Compression, FileFormat, InputDescription, InvalidText, OutputDescription};
use mapreduce_formats::{
    FormatError, SPLIT_BYTES, absolute, check_output, find, split, suitable_split_bytes,
};

use super::session::{NativeError, system};

/// The most that a split holds: a native task gets through this in less than a second, too, and fewer tasks have less
/// to merge.
const NATIVE_SPLIT_BYTES: u64 = 2 * SPLIT_BYTES;

/// What a job reads: files of one format, or several such inputs.
#[derive(Debug, Clone)]
pub struct Input(Vec<Files>);

/// Files of one format.
#[derive(Debug, Clone)]
struct Files {
    patterns: Vec<String>,
    format: FileFormat,
    /// None: what suits them.
    split_bytes: Option<u64>,
}

impl Input {
    /// Files of any format. Patterns are paths, directories, globs and URLs (`file://`, `hdfs://`, `s3://`).
    pub fn files(format: FileFormat, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let patterns = patterns.into_iter().map(Into::into).collect();
        Input(vec![Files { patterns, format, split_bytes: None }])
    }

    /// Lines of UTF-8.
    pub fn text(patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Input::files(FileFormat::Text { invalid: InvalidText::Error }, patterns)
    }

    /// These and others, of any format. The mapper tells them apart by [`Record::input`](super::Record::input),
    /// which counts them from 0.
    pub fn and(mut self, others: Input) -> Self {
        self.0.extend(others.0);
        self
    }

    /// About how many bytes one map task reads.
    pub fn split_bytes(mut self, split_bytes: u64) -> Self {
        self.0.iter_mut().for_each(|files| files.split_bytes = Some(split_bytes.max(1)));
        self
    }

    /// The files as they are now.
    pub(super) async fn describe(&self) -> Result<Vec<InputDescription>, FormatError> {
        let mut inputs = Vec::with_capacity(self.0.len());
        for Files { patterns, format, split_bytes } in &self.0 {
            let files = find(patterns, None).await?;
            let suitable = || suitable_split_bytes(&files, NATIVE_SPLIT_BYTES);
            let splits = split(&files, format, split_bytes.unwrap_or_else(suitable));
            inputs.push(InputDescription::Files { format: *format, files, splits });
        }
        Ok(inputs)
    }
}

/// Where a job writes its results: one file a partition.
#[derive(Debug, Clone)]
pub struct Output {
    /// The directory: a path, or a URL of one.
    pub directory: String,
    /// Text, JSON Lines, CSV or records of fixed length.
    pub format: FileFormat,
    /// How the files are compressed.
    pub compression: Compression,
    /// Whether what is there already is replaced.
    pub overwrite: bool,
}

impl Output {
    /// Lines of text in a directory that is absent or empty.
    pub fn text(directory: impl Into<String>) -> Self {
        let format = FileFormat::Text { invalid: InvalidText::Error };
        Output { directory: directory.into(), format, compression: Compression::None, overwrite: false }
    }

    /// An error if there is something in its place already.
    pub(super) async fn describe(self) -> Result<OutputDescription, NativeError> {
        let url = absolute(&self.directory)?;
        check_output(&url, self.overwrite).await?;
        let nonce = getrandom::u64().map_err(io::Error::from).map_err(system("no randomness"))?;
        let Output { format, compression, overwrite, .. } = self;
        Ok(OutputDescription { url, format, compression, overwrite, nonce })
    }
}
