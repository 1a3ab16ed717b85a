//! Reading a file from an offset on. What a store has is fetched ahead, while what came before is being worked on.

use std::{
    collections::VecDeque,
    io::{self, Read},
    sync::Arc,
};

use bytes::{Buf, Bytes};

use super::{OpenFile, Place, remote::Fetch, remote::RemoteFile};
use crate::FormatError;

/// What is asked of a store at one time: its answer then takes longer than the way to it and back.
const CHUNK_BYTES: u64 = 4 << 20;
/// What is asked for first: some want no more than a header.
const FIRST_BYTES: u64 = 512 << 10;
/// So many chunks are on their way, so that the network is not idle while a processor works. With the one that is used
/// that is 12 MiB a reader.
const CHUNKS_AHEAD: usize = 2;

/// The bytes from an offset to the file's end.
pub(in crate::read) struct Sequence {
    file: Arc<OpenFile>,
    offset: u64,
    ahead: Ahead,
}

impl Sequence {
    /// From `offset`. Behind `end` little is wanted, if anything.
    pub(in crate::read) fn new(file: Arc<OpenFile>, offset: u64, end: u64) -> Self {
        let (chunk, coming, end) = (Bytes::new(), VecDeque::new(), end.min(file.length));
        let ahead = Ahead { chunk, coming, begun: false, next: offset, end };
        Sequence { file, offset, ahead }
    }

    /// Appends the next `wanted` bytes to `out` and says how many they are: fewer only at the end of the file.
    pub(in crate::read) fn fill(&mut self, out: &mut Vec<u8>, wanted: usize) -> Result<usize, FormatError> {
        let left = self.file.length.saturating_sub(self.offset);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
        match &self.file.place {
            Place::Local(file) => file.append(&self.file.url, self.offset, wanted, out)?,
            Place::Remote(file) => {
                out.reserve_exact(wanted);
                let mut missing = wanted;
                while missing > 0 {
                    let chunk = self.ahead.chunk(file, missing)?;
                    let taken = chunk.len().min(missing);
                    out.extend_from_slice(&chunk[..taken]);
                    chunk.advance(taken);
                    missing -= taken;
                }
            }
        }
        self.offset += wanted as u64;
        Ok(wanted)
    }
}

/// For decoders. The error of a store is a [`FormatError`].
impl Read for Sequence {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.file.length.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let wanted = out.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let read = match &self.file.place {
            Place::Local(file) => file.read(self.offset, &mut out[..wanted])?,
            Place::Remote(file) => {
                let chunk = self.ahead.chunk(file, wanted).map_err(io::Error::other)?;
                let taken = chunk.len().min(wanted);
                out[..taken].copy_from_slice(&chunk[..taken]);
                chunk.advance(taken);
                taken
            }
        };
        self.offset += read as u64;
        Ok(read)
    }
}

/// What came of a store's file, and what is on its way.
struct Ahead {
    chunk: Bytes,
    coming: VecDeque<Fetch>,
    begun: bool,
    /// Where the next chunk begins.
    next: u64,
    /// Behind this only what is wanted is fetched.
    end: u64,
}

impl Ahead {
    /// What of the next bytes is there; it is not empty. So many of them are wanted, and in the file.
    fn chunk(&mut self, file: &RemoteFile, wanted: usize) -> Result<&mut Bytes, FormatError> {
        if self.chunk.is_empty() {
            let (chunk_bytes, at_once) =
                if self.begun { (CHUNK_BYTES, 1 + CHUNKS_AHEAD) } else { (FIRST_BYTES, 1) };
            self.begun = true;
            while self.next < self.end && self.coming.len() < at_once {
                let length = (self.end - self.next).min(chunk_bytes);
                self.coming.push_back(file.begin(self.next, length as usize)?);
                self.next += length;
            }
            self.chunk = match self.coming.pop_front() {
                Some(mut fetch) => fetch.wait(file)?,
                None => {
                    self.next += wanted as u64;
                    file.get(self.next - wanted as u64, wanted)?
                }
            };
        }
        Ok(&mut self.chunk)
    }
}
