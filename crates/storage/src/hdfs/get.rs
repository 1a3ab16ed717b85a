//! Reading objects.

use std::{ops::Range, pin::pin, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use hdfs_native::{HdfsError, client::FileStatus, file::FileReader};
use object_store::{GetOptions, GetResult, GetResultPayload, ObjectMeta, Result, path::Path};
use tokio::{sync::mpsc::Sender, try_join};

use super::{
    connection::Connection,
    delete::Directories,
    draft::DATA_PATIENCE,
    failure::{Failure, generic},
    io, list,
};

pub(super) async fn get(connection: Arc<Connection>, path: Path, options: GetOptions) -> Result<GetResult> {
    let file = connection.place.file(&path);
    let (status, reader) = open(&connection, &file, options.head)
        .await
        .map_err(|failure| failure.about(&connection.place, &file))?;
    let mut meta = list::meta(path, &status);
    options.check_preconditions(&meta)?;
    let range = match (&reader, &options.range) {
        (Some(reader), asked) => {
            // Somebody may have written another between the two requests: this is what will be read.
            meta.size = reader.file_length() as u64;
            let all = 0..meta.size;
            asked.as_ref().map_or(Ok(all), |asked| asked.as_range(meta.size)).map_err(generic)?
        }
        (None, _) => 0..0,
    };
    Ok(result(connection, reader, meta, range))
}

fn result(
    connection: Arc<Connection>,
    reader: Option<FileReader>,
    meta: ObjectMeta,
    range: Range<u64>,
) -> GetResult {
    let mut extensions = object_store::Extensions::new();
    extensions.insert(Directories::of(connection.clone()));
    let stream = match reader {
        Some(reader) => read(connection, reader, meta.location.clone(), range.clone()),
        None => futures::stream::empty().boxed(),
    };
    let payload = GetResultPayload::Stream(stream);
    GetResult { payload, meta, range, attributes: Default::default(), extensions }
}

/// What `file` is, and a reader of it unless only the first is wanted.
async fn open(
    connection: &Connection,
    file: &str,
    head: bool,
) -> Result<(FileStatus, Option<FileReader>), Failure> {
    let status = connection.status(file);
    let reader = async {
        match head {
            true => Ok(None),
            false => connection.reader(file).await.map(Some),
        }
    };
    let (status, reader) = try_join!(status, reader)?;
    if status.isdir { Err(Failure::Absent) } else { Ok((status, reader)) }
}

/// The bytes, as they come. The client checks them against HDFS's checksums, and asks another DataNode if one has none or
/// others.
fn read(
    connection: Arc<Connection>,
    reader: FileReader,
    path: Path,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes>> {
    io::streamed(|sender| async move {
        if let Err(failure) = send(&reader, range, &sender).await {
            let error = failure.about(&connection.place, &connection.place.file(&path));
            // Nobody waits for it, if this can't be sent.
            let _ = sender.send(Err(error)).await;
        }
    })
}

async fn send(reader: &FileReader, range: Range<u64>, sender: &Sender<Result<Bytes>>) -> Result<(), Failure> {
    let mut left = (range.end - range.start) as usize;
    let mut chunks = pin!(reader.read_range_stream(range.start as usize, left));
    while left > 0 {
        let ended = || Err(HdfsError::DataTransferError(format!("it ends {left} bytes too early")));
        let chunk = async { chunks.next().await.unwrap_or_else(ended) };
        let chunk = io::in_time(DATA_PATIENCE, chunk).await?;
        left = left.saturating_sub(chunk.len());
        if sender.send(Ok(chunk)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
