//! A file that is read, wherever it is, and known to be as it was at submission.

mod local;
mod remote;
mod sequence;

use std::{io, sync::Arc};

use bytes::Bytes;
use mapreduce_core::InputFile;

pub(super) use self::sequence::Sequence;
use self::{local::LocalFile, remote::RemoteFile};
use crate::{FormatError, location::Location};

/// A file, open.
pub(super) struct OpenFile {
    /// As a person would name it.
    pub(super) url: Arc<str>,
    pub(super) length: u64,
    place: Place,
}

enum Place {
    Local(LocalFile),
    Remote(RemoteFile),
}

impl OpenFile {
    pub(super) fn open(input: &InputFile) -> Result<Arc<Self>, FormatError> {
        let (url, place) = match Location::parse_with(&input.url, remote::store)? {
            Location::Local(path) => {
                (input.url.as_str().into(), Place::Local(LocalFile::open(&path, input)?))
            }
            Location::Remote(place) => {
                let url: Arc<str> = place.shown().into();
                (url, Place::Remote(RemoteFile::open(place, input)?))
            }
        };
        let open = OpenFile { url, length: input.length, place };
        open.check_unchanged()?;
        Ok(Arc::new(open))
    }

    /// Compares the file with what it was at submission. A store's is compared whenever something is read of it.
    pub(super) fn check_unchanged(&self) -> Result<(), FormatError> {
        match &self.place {
            Place::Local(file) => file.check_unchanged(&self.url, self.length),
            Place::Remote(_) => Ok(()),
        }
    }

    pub(super) fn refused(&self, error: io::Error) -> FormatError {
        FormatError::unreadable(&self.url, error)
    }

    /// These bytes, which must be in the file.
    pub(super) fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, FormatError> {
        match &self.place {
            Place::Local(file) => {
                let mut bytes = Vec::new();
                file.append(&self.url, offset, length, &mut bytes)?;
                Ok(bytes.into())
            }
            Place::Remote(file) => file.get(offset, length),
        }
    }

    pub(super) fn is_remote(&self) -> bool {
        matches!(self.place, Place::Remote(_))
    }
}
