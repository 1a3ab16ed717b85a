//! Unpacking, as a stream. Whatever is cut short or damaged is an error, as far as the format lets it be
//! noticed: gzip and bzip2 always carry checksums, zstd and LZ4 if their writer wanted (ours does).

use std::{
    io::{self, BufRead, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use mapreduce_core::Compression;

use super::file::Sequence;

/// How much of a compressed file is read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// The stored bytes of a file for a decoder, counted as it takes them.
pub(super) struct Stored {
    reader: BufReader<Sequence>,
    taken: Arc<AtomicU64>,
    /// Whether it was read beyond its end.
    overrun: bool,
}

impl Stored {
    pub(super) fn new(stored: Sequence, taken: Arc<AtomicU64>) -> Self {
        Stored { reader: BufReader::with_capacity(CHUNK_BYTES, stored), taken, overrun: false }
    }
}

impl Read for Stored {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(out)?;
        self.overrun |= read == 0 && !out.is_empty();
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl BufRead for Stored {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        self.reader.consume(count);
    }
}

/// A reader of what `stored` unpacks to.
pub(super) fn decoder(compression: Compression, stored: Stored) -> io::Result<Box<dyn Read + Send>> {
    Ok(match compression {
        Compression::None => Box::new(stored),
        Compression::Gzip => Box::new(MultiGzDecoder::new(stored)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(stored)?),
        Compression::Bzip2 => Box::new(MultiBzDecoder::new(stored)),
        Compression::Lz4 => Box::new(Lz4Frames { decoder: FrameDecoder::new(stored), at_end: false }),
    })
}

/// LZ4 frames, one behind the other. The library's decoder reads one at a time, and to it a file that ends
/// between two blocks is at its end; it is not, unless the frame's end mark was there.
struct Lz4Frames {
    decoder: FrameDecoder<Stored>,
    at_end: bool,
}

impl Read for Lz4Frames {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.at_end {
            let read = self.decoder.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            // Behind an end mark the decoder does not look for more, so an overrun means that there was none.
            if self.decoder.get_ref().overrun {
                let why = "the last frame has no end, as if of `lz4 -l`, whose old format never has one";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
            }
            self.at_end = self.decoder.get_mut().fill_buf()?.is_empty();
        }
        Ok(0)
    }
}
