//! Writing an object in parts.
//!
//! A file of HDFS is written from its beginning to its end by one writer. So the parts go, in the order in which they were
//! given, to a task that owns the file.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};
use tokio::sync::{mpsc, oneshot};

use super::{
    connection::Connection,
    draft::{Draft, Target, patiently},
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
    pub(super) fn new(connection: Arc<Connection>, file: String) -> Result<Self> {
        let (requests, received) = mpsc::unbounded_channel();
        let writing = Writing { connection: connection.clone(), file: file.clone(), draft: None };
        io::handle()?.spawn(writing.serve(received));
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

/// What the task owns.
struct Writing {
    connection: Arc<Connection>,
    file: String,
    /// None before the first part.
    draft: Option<Draft>,
}

impl Writing {
    /// Does what is asked for until something fails or it is over. A caller that does not wait for a reply gets none.
    async fn serve(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        loop {
            match requests.recv().await {
                Some(Request::Append(part, reply)) => {
                    let done = self.append(part).await;
                    let failed = done.is_err();
                    if failed {
                        self.discard().await;
                    }
                    drop(reply.send(done));
                    if failed {
                        return;
                    }
                }
                Some(Request::Complete(reply)) => return drop(reply.send(self.complete().await)),
                Some(Request::Abort(reply)) => {
                    self.discard().await;
                    return drop(reply.send(Ok(())));
                }
                None => return self.discard().await,
            }
        }
    }

    /// The first part is kept until the DataNodes have it: if one of them is dead, which most often shows then, others get
    /// it, and the upload need not begin again.
    async fn append(&mut self, part: PutPayload) -> Result<(), Failure> {
        let chunks: Vec<Bytes> = part.into_iter().collect();
        if let Some(draft) = &mut self.draft {
            for chunk in chunks {
                draft.write(chunk).await?;
            }
            return Ok(());
        }
        let (connection, file) = (&self.connection, &self.file);
        let begin = || async { Draft::of(connection.clone(), file, &chunks).await?.synced().await };
        self.draft = Some(patiently(begin).await?);
        Ok(())
    }

    async fn complete(self) -> Result<(), Failure> {
        let draft = match self.draft {
            Some(draft) => draft,
            None => Draft::begin(self.connection, &self.file).await?,
        };
        draft.close().await?.publish(&self.file, Target::MayBeThere).await
    }

    async fn discard(&mut self) {
        if let Some(draft) = self.draft.take() {
            draft.discard().await;
        }
    }
}
