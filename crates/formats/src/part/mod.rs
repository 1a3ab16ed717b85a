//! A file of an output while its job runs: below `_temporary`, until [`publish`](crate::publish()) moves it.

mod local;
mod remote;

use std::io::{self, Write};

use mapreduce_core::{JobId, OutputDescription};
use mapreduce_storage::FileRef;

use self::{local::LocalPart, remote::RemotePart};
use crate::{FormatError, location::Location, publish::temporary_dir};

/// A file that is being written.
pub struct Part {
    url: String,
    place: Place,
}

enum Place {
    Local(LocalPart),
    Remote(RemotePart),
}

impl Part {
    /// A new one in `output`, of `job`, called `name`.
    pub fn create(output: &OutputDescription, job: JobId, name: &str) -> Result<Part, FormatError> {
        match Location::parse(&output.url)? {
            Location::Local(path) => {
                let path = path.join(temporary_dir(output, job)).join(name);
                Ok(Part { url: path.display().to_string(), place: Place::Local(LocalPart::create(path)?) })
            }
            Location::Remote(place) => {
                let place = place.below(&temporary_dir(output, job)).below(name);
                Ok(Part { url: place.shown(), place: Place::Remote(RemotePart::new(place)) })
            }
        }
    }

    /// Its path or URL, as a person would name it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes it durable, and reads it back.
    pub fn finish(self) -> Result<FileRef, FormatError> {
        match self.place {
            Place::Local(part) => part.finish(self.url),
            Place::Remote(part) => part.finish(),
        }
    }

    /// Deletes one that may have been written.
    pub fn delete(output: &OutputDescription, job: JobId, name: &str) -> Result<(), FormatError> {
        match Location::parse(&output.url)? {
            Location::Local(path) => local::delete(&path.join(temporary_dir(output, job)).join(name)),
            Location::Remote(place) => remote::delete(&place.below(&temporary_dir(output, job)).below(name)),
        }
    }
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.place {
            Place::Local(part) => part.write(bytes),
            Place::Remote(part) => part.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // what is written before the end is of no use to anybody
    }
}
