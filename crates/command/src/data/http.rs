//! As much of HTTP/1.1 as a download needs: GET with a range, redirects, bodies of known length or in chunks. Without TLS: what comes
//! is checked by its checksum, so nobody on the way can change it unseen.

use std::io::{BufRead, BufReader, Read, Take, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// What a server answers.
pub struct Answer {
    pub status: u16,
    /// Bytes of this answer's body, if they are known.
    pub length: Option<u64>,
    body: Body,
}

enum Body {
    Counted(Take<BufReader<TcpStream>>),
    Chunked { from: BufReader<TcpStream>, left: u64, ended: bool },
}

/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(20);
/// Lines and numbers of headers are at most this.
const LONGEST: u64 = 16 << 10;
const MOST_HEADERS: usize = 100;
const MOST_REDIRECTS: usize = 5;

/// Asks for a file from a byte on.
pub fn get(url: &str, from: u64, patience: Option<Duration>) -> Result<Answer> {
    let mut url = url.to_string();
    for _ in 0..=MOST_REDIRECTS {
        let (answer, elsewhere) = ask(&url, from, patience.unwrap_or(PATIENCE))?;
        match elsewhere {
            None => return Ok(answer),
            Some(place) if place.starts_with("http://") => url = place,
            Some(place) if place.starts_with('/') => {
                let host = url.trim_start_matches("http://").split('/').next().unwrap_or("");
                url = format!("http://{host}{place}");
            }
            Some(place) => bail!("the server points to {place}, which isn't plain HTTP"),
        }
    }
    bail!("the server points from place to place without end")
}

fn ask(url: &str, from: u64, patience: Duration) -> Result<(Answer, Option<String>)> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} isn't plain HTTP"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let place = if host.contains(':') { host.to_string() } else { format!("{host}:80") };
    let address = place.to_socket_addrs().with_context(|| format!("{host} isn't found"))?.next();
    let address = address.with_context(|| format!("{host} has no address"))?;
    let mut stream =
        TcpStream::connect_timeout(&address, patience).with_context(|| format!("{host} can't be reached"))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let range = if from > 0 { format!("Range: bytes={from}-\r\n") } else { String::new() };
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: kiln\r\nAccept-Encoding: identity\r\nConnection: close\r\n{range}\r\n"
    )?;
    let mut reader = BufReader::new(stream);
    let first = line(&mut reader)?;
    let status = first.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let Some(status) = status.filter(|_| first.starts_with("HTTP/1.")) else {
        bail!("{host} doesn't answer in HTTP")
    };
    let (mut length, mut chunked, mut elsewhere) = (None, false, None);
    for count in 0.. {
        let header = line(&mut reader)?;
        if header.is_empty() {
            break;
        }
        if count == MOST_HEADERS {
            bail!("{host} sends headers without end");
        }
        let (name, value) = header.split_once(':').unwrap_or((&header, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok(),
            "transfer-encoding" => chunked = value.to_ascii_lowercase().contains("chunked"),
            "location" => elsewhere = Some(value.trim().to_string()),
            _ => {}
        }
    }
    let redirects = matches!(status, 301 | 302 | 303 | 307 | 308);
    let body = match chunked {
        true => Body::Chunked { from: reader, left: 0, ended: false },
        false => Body::Counted(reader.take(length.unwrap_or(u64::MAX))),
    };
    let length = if chunked { None } else { length };
    Ok((Answer { status, length, body }, elsewhere.filter(|_| redirects)))
}

fn line(reader: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    reader.take(LONGEST).read_line(&mut text).context("the server stopped in its headers")?;
    if !text.ends_with('\n') {
        bail!("the server stopped in its headers");
    }
    Ok(text.trim_end().to_string())
}

impl Read for Answer {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.body {
            Body::Counted(body) => body.read(into),
            Body::Chunked { ended: true, .. } => Ok(0),
            Body::Chunked { from, left, ended } => {
                let broken =
                    || std::io::Error::new(std::io::ErrorKind::InvalidData, "a chunk without its length");
                if *left == 0 {
                    let mut text = line(from).map_err(|_| broken())?;
                    // The end of the chunk before.
                    if text.is_empty() {
                        text = line(from).map_err(|_| broken())?;
                    }
                    let size = text.split(';').next().unwrap_or("").trim();
                    *left = u64::from_str_radix(size, 16).map_err(|_| broken())?;
                    if *left == 0 {
                        *ended = true;
                        return Ok(0);
                    }
                }
                let room = into.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let read = from.read(&mut into[..room])?;
                if read == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                *left -= read as u64;
                Ok(read)
            }
        }
    }
}
