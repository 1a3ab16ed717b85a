//! A network that is cut at the worst moment, once.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The request arrives, and is answered in vain.
    Reply,
    /// The request never arrives.
    Request,
}

/// Passes on what goes to and from a port of this machine, and cuts the first connection on which a request comes that has
/// certain bytes in it. Connections after that are left alone.
pub struct Cutting {
    /// Where to connect.
    pub port: u16,
    has_cut: Arc<AtomicBool>,
}

impl Cutting {
    /// In the background, until the test ends.
    pub fn start(to: u16, at: &'static [u8], cut: Cut) -> Cutting {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let has_cut = Arc::new(AtomicBool::new(false));
        let shared = has_cut.clone();
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                tokio::spawn(pass(client, server, at, cut, shared.clone()));
            }
        });
        Cutting { port, has_cut }
    }

    /// Whether it has.
    pub fn has_cut(&self) -> bool {
        self.has_cut.load(Ordering::Relaxed)
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, at: &[u8], cut: Cut, has_cut: Arc<AtomicBool>) {
    let (mut request, mut reply) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        // An error is an end.
        tokio::select! {
            read = client.read(&mut request) => {
                let Some(n) = read.ok().filter(|n| *n > 0) else { return };
                // A request is short and comes in one piece.
                let is_it = request[..n].windows(at.len()).any(|window| window == at);
                if is_it && !has_cut.swap(true, Ordering::Relaxed) {
                    if cut == Cut::Reply {
                        server.write_all(&request[..n]).await.unwrap();
                        // The answer shows that it was done.
                        assert!(server.read(&mut reply).await.unwrap() > 0);
                    }
                    return;
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
