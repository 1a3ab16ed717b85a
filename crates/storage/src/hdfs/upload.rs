//! Writing an object in parts.
//!
//! A file of HDFS is written from its beginning to its end by one writer. So the parts go, in the order in which they were
//! given, to a task that owns the file.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use tokio::sync::{mpsc, oneshot};

use super::{
    connection::Connection,
    draft::{Draft, Target},
    failure::Failure,
    io, made,
};

type Reply = oneshot::Sender<Result<(), Failure>>;

enum Request {
    Append(PutPayload, Reply),
    Complete(Reply),
    Abort(Reply),
}

/// If it is dropped before it is complete, the file is deleted.
#[derive(Debug)]
pub(super) struct Upload {
    connection: Arc<Connection>,
    file: String,
    requests: mpsc::UnboundedSender<Request>,
}

impl Upload {
    pub(super) async fn begin(connection: Arc<Connection>, file: String) -> Result<Self> {
        let (requests, received) = mpsc::unbounded_channel();
        let (for_task, file_of_task) = (connection.clone(), file.clone());
        io::run(async move {
            let draft = Draft::begin(for_task.clone(), &file_of_task).await;
            let draft = draft.map_err(|failure| failure.about(&for_task.place, &file_of_task))?;
            io::handle()?.spawn(write(draft, file_of_task, received));
            Ok(())
        })
        .await?;
        Ok(Upload { connection, file, requests })
    }

    /// Sends a request at once, and waits for the reply when that is asked for.
    fn request(&self, request: impl FnOnce(Reply) -> Request) -> UploadPart {
        let (reply, replied) = oneshot::channel();
        // If the task is gone, so is the reply.
        let _ = self.requests.send(request(reply));
        let (connection, file) = (self.connection.clone(), self.file.clone());
        Box::pin(async move {
            let gone = |_| Err(Failure::Refused("this upload has failed or ended before".to_owned()));
            replied.await.unwrap_or_else(gone).map_err(|failure| failure.about(&connection.place, &file))
        })
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.request(|reply| Request::Append(data, reply))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.request(Request::Complete).await.map(|()| made())
    }

    async fn abort(&mut self) -> Result<()> {
        self.request(Request::Abort).await
    }
}

/// Does what is asked for until something fails or it is over. A caller that does not wait for a reply gets none.
async fn write(mut draft: Draft, file: String, mut requests: mpsc::UnboundedReceiver<Request>) {
    loop {
        match requests.recv().await {
            Some(Request::Append(part, reply)) => match append(&mut draft, part).await {
                Ok(()) => drop(reply.send(Ok(()))),
                Err(failure) => {
                    draft.discard().await;
                    return drop(reply.send(Err(failure)));
                }
            },
            Some(Request::Complete(reply)) => {
                let done = match draft.close().await {
                    Ok(written) => written.publish(&file, Target::MayBeThere).await,
                    Err(failure) => Err(failure),
                };
                return drop(reply.send(done));
            }
            Some(Request::Abort(reply)) => {
                draft.discard().await;
                return drop(reply.send(Ok(())));
            }
            None => return draft.discard().await,
        }
    }
}

async fn append(draft: &mut Draft, part: PutPayload) -> Result<(), Failure> {
    for chunk in part {
        draft.write(chunk).await?;
    }
    Ok(())
}
