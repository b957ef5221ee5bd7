//! Bodies: those of answers, whole or in pieces as they come, and those of requests, read within bounds.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::StatusCode;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;

use crate::event::Event;
use crate::refusal::Refusal;

/// The body of an answer.
#[derive(Debug)]
pub enum AnswerBody {
    /// All of it; nothing when it was sent.
    Full(Option<Bytes>),
    /// Events as they come, the first of which is here, until whoever makes them drops the other end.
    Events(Option<Event>, mpsc::Receiver<Event>),
}

impl AnswerBody {
    /// A whole one.
    pub fn full(bytes: Bytes) -> AnswerBody {
        AnswerBody::Full(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            AnswerBody::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            AnswerBody::Events(first, rest) => {
                let next = match first.take() {
                    Some(first) => Poll::Ready(Some(first)),
                    None => rest.poll_recv(cx),
                };
                next.map(|event| event.map(|event| Ok(Frame::data(event.bytes()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, AnswerBody::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            AnswerBody::Events(..) => SizeHint::default(),
        }
    }
}

/// How many bytes of bodies are held at once, of all requests together.
#[derive(Debug)]
pub struct BodyRoom {
    left: AtomicUsize,
}

impl BodyRoom {
    /// For so many.
    pub fn new(bytes: usize) -> Arc<BodyRoom> {
        Arc::new(BodyRoom { left: AtomicUsize::new(bytes) })
    }
}

/// Bytes of the room that a request has, until it is dropped.
#[derive(Debug)]
struct HeldBytes {
    room: Arc<BodyRoom>,
    bytes: usize,
}

impl HeldBytes {
    fn more(&mut self, bytes: usize) -> Result<(), Refusal> {
        let take = |left: usize| left.checked_sub(bytes);
        match self.room.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(_) => Err(Refusal::busy("the bodies of other requests fill the room there is for them")),
        }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// The body of a request, whole.
#[derive(Debug)]
pub struct Whole {
    /// What it holds.
    pub bytes: Bytes,
    _held: HeldBytes,
}

/// Reads a body of at most so many bytes.
///
/// # Errors
/// Where it is larger, breaks off, comes too slowly, or bodies of others fill the room.
pub async fn read(
    body: Incoming,
    most: usize,
    patience: Duration,
    room: &Arc<BodyRoom>,
) -> Result<Whole, Refusal> {
    let large =
        || Refusal::large(format!("the body is larger than {most} bytes; --body-limit takes larger ones"));
    if body.size_hint().lower() > most as u64 {
        return Err(large());
    }
    let held = HeldBytes { room: room.clone(), bytes: 0 };
    let reading = collect(body, most, held, large);
    // What is here already needs no clock.
    let mut reading = std::pin::pin!(reading);
    let first = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await;
    let (bytes, held) = match first {
        Poll::Ready(read) => read?,
        Poll::Pending => tokio::time::timeout(patience, reading)
            .await
            .map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"))??,
    };
    Ok(Whole { bytes, _held: held })
}

async fn collect(
    mut body: Incoming,
    most: usize,
    mut held: HeldBytes,
    large: impl Fn() -> Refusal,
) -> Result<(Bytes, HeldBytes), Refusal> {
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    let mut size = 0usize;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| Refusal::bad(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        size = size.saturating_add(data.remaining());
        if size > most {
            return Err(large());
        }
        held.more(data.remaining())?;
        match (first.is_empty(), all.is_empty()) {
            (true, true) => first = data,
            (_, is_first) => {
                if is_first {
                    all.extend_from_slice(&std::mem::take(&mut first));
                }
                all.extend_from_slice(&data);
            }
        }
    }
    Ok((if all.is_empty() { first } else { all.into() }, held))
}
