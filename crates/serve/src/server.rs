//! A server from its start to its end.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kiln_learn::{Error, Result};
use kiln_map::counted;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::connection::accept;
use crate::options::ServeOptions;
use crate::service::Service;
use crate::sources::Source;

/// Models behind an address, ready to serve.
///
/// ```no_run
/// use kiln_serve::{ServeOptions, Server, Source};
///
/// let server = Server::bind(vec![Source::named("heart.kiln").unwrap()], ServeOptions::default())?;
/// println!("http://{}", server.address());
/// server.run()?;
/// # Ok::<(), kiln_learn::Error>(())
/// ```
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    service: Arc<Service>,
    stop: watch::Sender<bool>,
}

/// Asks a server to stop, from any thread.
#[derive(Clone)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Nothing new is taken; what was accepted is answered.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Reads the models, makes them ready and takes the address.
    ///
    /// # Errors
    /// Where a model can't be read, or the system refuses the address.
    pub fn bind(sources: Vec<Source>, options: ServeOptions) -> Result<Server> {
        // A port that is taken is said before models are read, which may take long.
        let refused = |error: std::io::Error| {
            Error::System(std::io::Error::new(error.kind(), format!("{}: {error}", options.address)))
        };
        let listener = TcpListener::bind(options.address).map_err(refused)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let service = Arc::new(Service::new(sources, options)?);
        Ok(Server { listener, address, service, stop: watch::Sender::new(false) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names of the models.
    pub fn models(&self) -> Vec<String> {
        self.service.models.latest().iter().map(|(served, _)| served.name.clone()).collect()
    }

    /// What asks it to stop.
    pub fn stop(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Serves until it is asked to stop, by [`Stop`] or a signal (SIGTERM, Ctrl-C), and what was accepted is answered. A second
    /// signal ends it at once.
    ///
    /// # Errors
    /// Where the system gives no threads, or connections were left when the time to answer was over.
    pub fn run(self) -> Result<()> {
        let runtime = self.runtime()?;
        let (service, stop) = (self.service.clone(), self.stop.clone());
        self.watch_files()?;
        let left = runtime.block_on(async move {
            let cut = Arc::new(AtomicBool::new(false));
            tokio::spawn(hear(stop.clone(), cut.clone()));
            let listener = tokio::net::TcpListener::from_std(self.listener)?;
            accept(listener, service.clone(), stop.subscribe()).await;
            service.stop();
            tracing::info!("the server stops; what was accepted is answered");
            let left = drained(&service, &cut).await;
            match left {
                0 => tracing::info!("the server has stopped"),
                _ => {
                    tracing::warn!(connections = left, "the time to answer is over; what is left is cut off")
                }
            }
            Ok::<usize, Error>(left)
        })?;
        runtime.shutdown_timeout(Duration::from_secs(1));
        match left {
            0 => Ok(()),
            left => Err(Error::System(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!(
                    "{} were cut off when the time to answer was over; --grace gives more",
                    counted(left, "connection")
                ),
            ))),
        }
    }

    fn runtime(&self) -> Result<Runtime> {
        let mut builder = Builder::new_multi_thread();
        if let Some(threads) = self.service.options.threads {
            builder.worker_threads(threads.max(1));
        }
        Ok(builder.enable_io().enable_time().thread_name("kiln-serve").build()?)
    }

    /// Looks at the files again and again, on a thread of its own: a model may take long to read.
    fn watch_files(&self) -> Result<()> {
        let Some(pause) = self.service.options.reload else { return Ok(()) };
        let service = Arc::downgrade(&self.service);
        std::thread::Builder::new().name("kiln-files".to_string()).spawn(move || {
            loop {
                std::thread::sleep(pause);
                let Some(service) = service.upgrade().filter(|service| !service.stops()) else { return };
                service.models.refresh();
            }
        })?;
        Ok(())
    }
}

/// Waits until all connections are at their end, the time for it is over, or they are cut off; how many are left.
async fn drained(service: &Service, cut: &AtomicBool) -> usize {
    let left = || service.metrics.connections.load(Ordering::Relaxed);
    let until = Instant::now() + service.options.grace;
    while left() > 0 && Instant::now() < until && !cut.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    left()
}

/// Asks for the stop when a signal comes; with the second one what is left is cut off.
async fn hear(stop: watch::Sender<bool>, cut: Arc<AtomicBool>) {
    signal().await;
    stop.send_replace(true);
    signal().await;
    tracing::warn!("a second signal: the server ends at once");
    cut.store(true, Ordering::Relaxed);
}

#[cfg(unix)]
async fn signal() {
    use std::future::poll_fn;
    use std::task::Poll;
    use tokio::signal::unix::{SignalKind, signal};

    let heard = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let mut heard: Vec<_> = heard.into_iter().flatten().collect();
    poll_fn(|cx| match heard.iter_mut().any(|one| one.poll_recv(cx).is_ready()) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
