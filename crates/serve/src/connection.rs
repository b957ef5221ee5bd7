//! Connections: taken up to a number, given up where a client is too slow, and ended in good order when the server stops.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::patient::Patient;
use crate::route::route;
use crate::service::Service;

/// What a client hears for whom there is no room.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/json\r\n\
    Content-Length: 41\r\nConnection: close\r\n\r\n{\"error\":\"too many connections are open\"}";

/// A head has so many bytes at most.
const HEAD: usize = 64 << 10;

/// After so long without a word the system asks whether the other end is still there.
const QUIET: Duration = Duration::from_secs(20);

/// One of the open connections, until it is dropped.
struct OpenConnection<'c>(&'c AtomicUsize);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes connections until the server stops; what was taken goes on.
pub async fn accept(listener: TcpListener, service: Arc<Service>, stop: watch::Receiver<bool>) {
    let mut stops = stop.clone();
    let mut stopped = pin!(stops.wait_for(|stop| *stop));
    loop {
        let taken = poll_fn(|cx| match stopped.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => listener.poll_accept(cx).map(Some),
        });
        match taken.await {
            None => return,
            Some(Ok((stream, _))) => take(stream, &service, &stop),
            Some(Err(error)) => {
                // Too many files are open, mostly; another moment may do.
                tracing::warn!(error = %error, "a connection couldn't be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn take(stream: TcpStream, service: &Arc<Service>, stop: &watch::Receiver<bool>) {
    let open = &service.metrics.connections;
    if open.fetch_add(1, Ordering::Relaxed) >= service.options.connections {
        open.fetch_sub(1, Ordering::Relaxed);
        service.metrics.turned_away.fetch_add(1, Ordering::Relaxed);
        turn_away(stream);
        return;
    }
    let (service, stop) = (service.clone(), stop.clone());
    tokio::spawn(async move {
        let _counted = OpenConnection(&service.metrics.connections);
        let _ = stream.set_nodelay(true);
        let alive = TcpKeepalive::new().with_time(QUIET).with_interval(QUIET / 4).with_retries(4);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&alive);
        serve(stream, &service, stop).await;
    });
}

/// Says that there is no room, without waiting for anybody.
fn turn_away(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write_all(FULL);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
}

/// Serves a connection to its end.
async fn serve(stream: TcpStream, service: &Arc<Service>, mut stop: watch::Receiver<bool>) {
    let options = &service.options;
    let io = TokioIo::new(Patient::new(stream, options.body_timeout));
    let answering = service_fn(|request| async move { Ok::<_, Infallible>(route(service, request).await) });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(options.header_timeout).max_buf_size(HEAD);
    let mut connection = pin!(builder.serve_connection(io, answering));
    let mut stopped = pin!(stop.wait_for(|stop| *stop));
    let mut is_ending = false;
    let ended = poll_fn(|cx| {
        if !is_ending && stopped.as_mut().poll(cx).is_ready() {
            is_ending = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(error = %error, "a connection ended badly");
    }
}
