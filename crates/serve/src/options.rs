//! How a server serves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::batch::BatchOptions;
use crate::tokens::BearerTokens;

/// How a server serves; what isn't said is as [`ServeOptions::default`] has it.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where it listens; port 0 is one that is free.
    pub address: SocketAddr,
    /// So many rows are computed together at most.
    pub batch_rows: usize,
    /// So long a batch waits for requests that are just being read.
    pub batch_window: Duration,
    /// So many rows wait for a model at most, and as many requests for texts.
    pub queue: usize,
    /// An answer is of use for so long, unless a request says otherwise.
    pub deadline: Duration,
    /// A body has so many bytes at most.
    pub body_limit: usize,
    /// The bodies of all requests have so many bytes at once.
    pub body_memory: usize,
    /// So many connections are open at once.
    pub connections: usize,
    /// A request's head comes within so long, the first as well as the next on a connection.
    pub header_timeout: Duration,
    /// A request's body comes within so long, and a client takes what is sent to it.
    pub body_timeout: Duration,
    /// What was accepted is answered for so long after the server is asked to stop.
    pub grace: Duration,
    /// How often files are looked at; never without.
    pub reload: Option<Duration>,
    /// So many texts are written at once.
    pub writers: usize,
    /// So many threads read requests and write answers; without, as many as there are cores.
    pub threads: Option<usize>,
    /// Who may ask.
    pub tokens: BearerTokens,
}

impl Default for ServeOptions {
    fn default() -> ServeOptions {
        ServeOptions {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            batch_rows: 64,
            batch_window: Duration::from_micros(500),
            queue: 1024,
            deadline: Duration::from_secs(30),
            body_limit: 16 << 20,
            body_memory: 256 << 20,
            connections: 1024,
            header_timeout: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(30),
            reload: Some(Duration::from_secs(2)),
            writers: 2,
            threads: None,
            tokens: BearerTokens::default(),
        }
    }
}

impl ServeOptions {
    /// How rows are put together.
    pub(crate) fn batching(&self) -> BatchOptions {
        BatchOptions { rows: self.batch_rows.max(1), window: self.batch_window, waiting: self.queue.max(1) }
    }
}
