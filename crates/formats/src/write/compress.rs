//! Compressing, as a stream, with checksums wherever the format has them.

use std::io::{self, Write};

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{FrameEncoder, FrameInfo};
use mapreduce_core::Compression;

/// Compresses what is written to it into a `W`.
pub(super) enum Compressor<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
    Bzip2(BzEncoder<W>),
    Lz4(Box<FrameEncoder<W>>),
}

impl<W: Write> Compressor<W> {
    pub(super) fn new(compression: Compression, out: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Compressor::None(out),
            Compression::Gzip => Compressor::Gzip(GzEncoder::new(out, flate2::Compression::default())),
            Compression::Zstd => {
                let mut encoder = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.include_checksum(true)?;
                Compressor::Zstd(encoder)
            }
            Compression::Bzip2 => Compressor::Bzip2(BzEncoder::new(out, bzip2::Compression::default())),
            Compression::Lz4 => {
                let info = FrameInfo::new().content_checksum(true);
                Compressor::Lz4(Box::new(FrameEncoder::with_frame_info(info, out)))
            }
        })
    }

    /// Ends the stream.
    pub(super) fn finish(self) -> io::Result<W> {
        let mut out = match self {
            Compressor::None(out) => out,
            Compressor::Gzip(encoder) => encoder.finish()?,
            Compressor::Zstd(encoder) => encoder.finish()?,
            Compressor::Bzip2(encoder) => encoder.finish()?,
            Compressor::Lz4(encoder) => encoder.finish()?,
        };
        out.flush()?;
        Ok(out)
    }

    fn out(&mut self) -> &mut dyn Write {
        match self {
            Compressor::None(out) => out,
            Compressor::Gzip(encoder) => encoder,
            Compressor::Zstd(encoder) => encoder,
            Compressor::Bzip2(encoder) => encoder,
            Compressor::Lz4(encoder) => encoder.as_mut(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out().write(bytes)
    }

    /// Does nothing: flushing an encoder would end a block, and cost compression. Files are ended by
    /// [`Compressor::finish`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
