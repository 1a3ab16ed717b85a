//! Ports for servers that can't be given one that is bound already.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below those that Linux gives to clients, which would take one between its choice and the server's start.
const FIRST: u32 = 12_000;
const END: u32 = 32_000;
/// How many the processes that run at a time have before they come upon each other's.
const EACH: u32 = 100;

/// So many ports of loopback that nobody listens on, and that are given only once in this process.
pub fn free_ports(n: usize) -> Vec<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let candidates = std::iter::repeat_with(|| {
        let offset = process::id().wrapping_mul(EACH).wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        u16::try_from(FIRST + offset % (END - FIRST)).expect("END is a port")
    });
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates.take((END - FIRST) as usize).filter(is_free).take(n).collect()
}
