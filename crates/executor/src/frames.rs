//! Frames on a blocking socket: a length (u32, big-endian) and a message, as tokio's `LengthDelimitedCodec`
//! has them on the worker's side.

use std::io::{self, Read, Write};

use prost::Message;

/// Longest frame: a failure carries a traceback and a pickled exception.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Room for a message before any of it has come.
const BODY_BYTES_FIRST: usize = 64 << 10;

/// The next message; none when the other side has closed the socket between two frames.
pub fn read_frame<M: Message + Default>(socket: &mut impl Read) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    let first = loop {
        match socket.read(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            first => break first?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut length[first..])?;
    let length = u32::from_be_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes is too long"),
        ));
    }
    // As much as comes, and not as much as was announced.
    let mut body = Vec::with_capacity(length.min(BODY_BYTES_FIRST));
    if socket.take(length as u64).read_to_end(&mut body)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    M::decode(body.as_slice()).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Sends a message.
pub fn write_frame(socket: &mut impl Write, message: &impl Message) -> io::Result<()> {
    let length = message.encoded_len();
    let header = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("a message of {length} bytes is too long"))
    })?;
    let mut frame = Vec::with_capacity(4 + length);
    frame.extend_from_slice(&header.to_be_bytes());
    frame.extend_from_slice(&message.encode_to_vec());
    socket.write_all(&frame)
}

#[cfg(test)]
mod tests {
    use mapreduce_rpc::executor::{RunTask, ToExecutor, to_executor};

    use super::*;

    fn message() -> ToExecutor {
        let run = RunTask { job: "job_1".into(), task: "map/0".into(), ..RunTask::default() };
        ToExecutor { message: Some(to_executor::Message::Run(run)) }
    }

    #[test]
    fn messages_follow_each_other_until_the_end() {
        let mut wire = Vec::new();
        write_frame(&mut wire, &message()).unwrap();
        write_frame(&mut wire, &message()).unwrap();
        let mut socket = wire.as_slice();
        assert_eq!(read_frame(&mut socket).unwrap(), Some(message()));
        assert_eq!(read_frame(&mut socket).unwrap(), Some(message()));
        assert_eq!(read_frame::<ToExecutor>(&mut socket).unwrap(), None);
    }

    #[test]
    fn an_end_within_a_frame_is_an_error_and_a_huge_frame_is_refused() {
        let mut wire = Vec::new();
        write_frame(&mut wire, &message()).unwrap();
        for cut in 1..wire.len() {
            assert!(read_frame::<ToExecutor>(&mut &wire[..cut]).is_err());
        }
        assert!(read_frame::<ToExecutor>(&mut &[0xff; 8][..]).is_err());
    }
}
