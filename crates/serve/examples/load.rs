//! A load on a server: one request again and again over connections that are kept, as fast as it answers or at a rate, and how long
//! answers took. At a rate, a request's time counts from when it was due, so that a server that stands still can't hide it.
//!
//! `cargo run --release -p kiln-serve --example load -- ADDRESS PATH TYPE FILE CONNECTIONS SECONDS [RATE]`

use std::io::{Error, ErrorKind, Result};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// What a connection saw.
#[derive(Default)]
struct Seen {
    micros: Vec<u32>,
    failed: usize,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, kind, file, connections, seconds, rate @ ..] = arguments.as_slice() else {
        return Err(Error::other("ADDRESS PATH TYPE FILE CONNECTIONS SECONDS [RATE]"));
    };
    let number = |text: &String| text.parse::<f64>().map_err(Error::other);
    let (connections, seconds) = (number(connections)? as usize, number(seconds)?);
    let rate = rate.first().map(number).transpose()?;
    let body = std::fs::read(file)?;
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    let request: &'static [u8] = request.leak();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(seconds);
    let all = runtime.block_on(async {
        let asks: Vec<_> = (0..connections)
            .map(|number| {
                let pause = rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate));
                let first = began + pause.unwrap_or_default() * number as u32 / connections as u32;
                tokio::spawn(ask(address.clone(), request, first, pause, end))
            })
            .collect();
        let mut all = Seen::default();
        for ask in asks {
            let seen = ask.await.map_err(Error::other)??;
            all.micros.extend(seen.micros);
            all.failed += seen.failed;
        }
        Ok::<_, Error>(all)
    })?;
    let took = began.elapsed().as_secs_f64();
    let Seen { mut micros, failed } = all;
    micros.sort_unstable();
    let at = |share: f64| {
        micros
            .get(((micros.len() as f64 * share) as usize).min(micros.len().max(1) - 1))
            .copied()
            .unwrap_or(0)
    };
    println!(
        "{{\"requests_per_second\": {:.0}, \"answers\": {}, \"failed\": {failed}, \"p50_us\": {}, \"p90_us\": {}, \"p99_us\": {}, \"p999_us\": {}, \"worst_us\": {}}}",
        micros.len() as f64 / took,
        micros.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    Ok(())
}

/// Asks until the end, or at a pace.
async fn ask(
    address: String,
    request: &'static [u8],
    mut due: Instant,
    pause: Option<Duration>,
    end: Instant,
) -> Result<Seen> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let mut client = Client { stream, bytes: vec![0; 64 << 10], filled: 0 };
    let mut seen = Seen::default();
    while Instant::now() < end && due < end {
        if let Some(pause) = pause {
            tokio::time::sleep_until(due.into()).await;
            let status = client.round(request).await?;
            seen.add(status, due.elapsed());
            due += pause;
        } else {
            let began = Instant::now();
            let status = client.round(request).await?;
            seen.add(status, began.elapsed());
        }
    }
    Ok(seen)
}

impl Seen {
    fn add(&mut self, status: u16, took: Duration) {
        match status {
            200 => self.micros.push(took.as_micros().min(u32::MAX.into()) as u32),
            _ => self.failed += 1,
        }
    }
}

struct Client {
    stream: TcpStream,
    bytes: Vec<u8>,
    filled: usize,
}

impl Client {
    /// Sends the request, reads the answer, and says its status.
    async fn round(&mut self, request: &[u8]) -> Result<u16> {
        let mut sent = 0;
        while sent < request.len() {
            match self.stream.try_write(&request[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        self.filled = 0;
        let mut whole = None;
        loop {
            let count = std::future::poll_fn(|cx| {
                let mut buffer = ReadBuf::new(&mut self.bytes[self.filled..]);
                std::pin::Pin::new(&mut self.stream)
                    .poll_read(cx, &mut buffer)
                    .map(|read| read.map(|()| buffer.filled().len()))
            })
            .await?;
            if count == 0 {
                return Err(Error::other("the server closed the connection"));
            }
            self.filled += count;
            let read = &self.bytes[..self.filled];
            if whole.is_none()
                && let Some(head) = read.windows(4).position(|four| four == b"\r\n\r\n")
            {
                whole = Some(head + 4 + length(&read[..head]));
            }
            if whole.is_some_and(|whole| self.filled >= whole) {
                let status = read.get(9..12).and_then(|status| std::str::from_utf8(status).ok());
                return status
                    .and_then(|status| status.parse().ok())
                    .ok_or_else(|| Error::other("no answer of HTTP"));
            }
        }
    }
}

/// The length of the body that a head says.
fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    line.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}
