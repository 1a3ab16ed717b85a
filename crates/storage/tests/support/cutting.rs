//! A network that is cut at the worst moment, once.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The request arrives, and is answered in vain.
    Reply,
    /// The request never arrives.
    Request,
    /// The request arrives when it is [let through](Cutting::let_through), and nothing is said until then.
    Time,
}

/// Passes on what goes to and from a port of this machine, and cuts the first connection on which a request comes that has
/// certain bytes in it. Connections after that are left alone.
pub struct Cutting {
    /// Where to connect.
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    at: &'static [u8],
    cut: Cut,
    has_cut: AtomicBool,
    may_pass: Notify,
    has_passed: Notify,
}

impl Cutting {
    /// In the background, until the test ends.
    pub fn start(to: u16, at: &'static [u8], cut: Cut) -> Cutting {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let (has_cut, may_pass, has_passed) = Default::default();
        let shared = Arc::new(Shared { at, cut, has_cut, may_pass, has_passed });
        let sharing = shared.clone();
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                tokio::spawn(pass(client, server, sharing.clone()));
            }
        });
        Cutting { port, shared }
    }

    /// Whether it has.
    pub fn has_cut(&self) -> bool {
        self.shared.has_cut.load(Ordering::Relaxed)
    }

    /// Lets the request through that [`Cut::Time`] has kept, and returns when it was answered.
    pub async fn let_through(&self) {
        self.shared.may_pass.notify_one();
        self.shared.has_passed.notified().await;
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, shared: Arc<Shared>) {
    let (mut request, mut reply) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        // An error is an end.
        tokio::select! {
            read = client.read(&mut request) => {
                let Some(n) = read.ok().filter(|n| *n > 0) else { return };
                // A request is short and comes in one piece.
                let is_it = request[..n].windows(shared.at.len()).any(|window| window == shared.at);
                if is_it && !shared.has_cut.swap(true, Ordering::Relaxed) {
                    return cut(server, &request[..n], &shared).await;
                }
                if server.write_all(&request[..n]).await.is_err() { return }
            }
            read = server.read(&mut reply) => {
                let Some(n) = read.ok().filter(|n| *n > 0) else { return };
                if client.write_all(&reply[..n]).await.is_err() { return }
            }
        }
    }
}

async fn cut(mut server: TcpStream, request: &[u8], shared: &Shared) {
    if shared.cut == Cut::Time {
        shared.may_pass.notified().await;
    }
    if shared.cut != Cut::Request {
        server.write_all(request).await.unwrap();
        // The answer shows that it was dealt with.
        assert!(server.read(&mut [0; 1]).await.unwrap() > 0);
    }
    shared.has_passed.notify_one();
}
