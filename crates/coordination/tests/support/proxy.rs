//! A way to a server that can be closed: what is sent on it then is kept, and may be delivered late.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What becomes of what a client sends.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Open,
    Closed,
    /// What was sent before is delivered: up to the write, and nothing of what the client sent when it had lost patience.
    OpenForTheWrite,
}

/// Ends with its last handle.
pub struct Proxy {
    pub port: u16,
    way: watch::Sender<Way>,
    /// Whether a write was kept.
    pub kept: watch::Receiver<bool>,
    /// How often the server has named this on the connection that the write was sent on, if any.
    pub named: watch::Receiver<usize>,
    _connections: JoinSet<()>,
}

impl Proxy {
    /// To the server at this port. `write` are bytes of the write that will be kept, `name` is what answers are known by.
    pub async fn start(server: u16, write: &'static [u8], name: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (way, kept, named) =
            (watch::Sender::new(Way::Open), watch::Sender::new(false), watch::Sender::new(0));
        let (heard_kept, heard_named) = (kept.subscribe(), named.subscribe());
        let (heard_way, name, mut connections) = (way.subscribe(), Arc::new(name), JoinSet::new());
        connections.spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
                let (way, kept, named, name) = (heard_way.clone(), kept.clone(), named.clone(), name.clone());
                all.spawn(pass_on(client, server, way, write, kept, named, name));
            }
        });
        Proxy { port, way, kept: heard_kept, named: heard_named, _connections: connections }
    }

    pub fn close(&self) {
        self.way.send_replace(Way::Closed);
    }

    pub fn deliver_the_write(&self) {
        self.way.send_replace(Way::OpenForTheWrite);
    }
}

async fn pass_on(
    client: TcpStream,
    server: TcpStream,
    mut way: watch::Receiver<Way>,
    write: &'static [u8],
    kept: watch::Sender<bool>,
    named: watch::Sender<usize>,
    name: Arc<String>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut sent, mut said) = ([0; 16384], [0; 16384]);
    let (mut held, mut heard, mut is_kept, mut is_gone) = (vec![], vec![], false, false);
    loop {
        tokio::select! {
            n = from_client.read(&mut sent), if !is_gone => {
                let n = n.unwrap_or(0);
                is_gone = n == 0;
                if *way.borrow() == Way::Open {
                    to_server.write_all(&sent[..n]).await.unwrap();
                } else if !is_kept {
                    held.extend_from_slice(&sent[..n]);
                    is_kept = contains(&held, write) > 0;
                    if is_kept {
                        kept.send_replace(true);
                    }
                }
            }
            n = from_server.read(&mut said) => {
                let n = n.unwrap_or(0);
                if n == 0 {
                    return;
                }
                // The client may be gone.
                let _ = to_client.write_all(&said[..n]).await;
                heard.extend_from_slice(&said[..n]);
                if is_kept {
                    named.send_replace(contains(&heard, name.as_bytes()));
                }
            }
            changed = way.changed() => {
                if changed.is_err() {
                    return;
                }
                if is_kept && *way.borrow() == Way::OpenForTheWrite {
                    to_server.write_all(&held).await.unwrap();
                }
            }
        }
    }
}

/// How often.
fn contains(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).filter(|window| *window == part).count()
}
