//! `kiln serve`: models over HTTP.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, ValueEnum};
use kiln_serve::{BearerTokens, JsonLog, ServeOptions, Server, Source};

use super::out;

/// Serve models over HTTP, with a page to try them
///
/// Rows of JSON or CSV, pictures and texts go in by their content type, predictions with probabilities come out; texts that go on come piece
/// by piece; the Open Inference Protocol is spoken beside it. A file that changes takes the place of the old one while that answers. Ctrl-C or
/// SIGTERM ends it when what was accepted is answered.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln serve runs/heart-1/model.kiln            http://127.0.0.1:8080 is a page to try it
  curl -d '{\"age\": 63, …}' -H 'Content-Type: application/json' localhost:8080/predict
  curl --data-binary @new.csv -H 'Content-Type: text/csv' localhost:8080/predict
  curl --data-binary @seven.png -H 'Content-Type: image/png' localhost:8080/predict
  kiln serve heart=runs/heart-3 digits=mnist.kiln
  kiln serve models/                            a.kiln, b/model.kiln, c/1.kiln, c/2.kiln: names and versions
  kiln serve llama-1b/ --port 9000              a language model: /predict with {\"prompt\": \"…\", \"stream\": true}
  KILN_SERVE_TOKENS=secret kiln serve models/ --host 0.0.0.0

What can be asked is listed at /api, what is counted at /metrics.")]
pub struct ServeFlags {
    /// Models: files, folders of runs or of a hub's, folders of any of them; or NAME=PATH
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,

    /// The port; 0 takes one that is free, and the first line says which
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,

    /// The address to listen at; 0.0.0.0 is all of this machine's
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,

    /// A file of bearer tokens, a line each, one of which requests must bring; the page, /api and what says that the server runs stay open; also by the variable KILN_SERVE_TOKENS
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    tokens: Option<PathBuf>,

    /// So many rows are computed together at most
    #[arg(long, value_name = "ROWS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Batches")]
    batch_size: u32,

    /// So many milliseconds a batch waits for requests that are just being read
    #[arg(long, value_name = "MS", default_value_t = 0.5, value_parser = milliseconds, help_heading = "Batches")]
    batch_window: f64,

    /// So many rows wait for a model at most; more are told to come again (429)
    #[arg(long, value_name = "ROWS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Batches")]
    queue: u32,

    /// So many texts are written at once
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024), help_heading = "Batches")]
    writers: u32,

    /// So many seconds an answer is of use, unless a request's header Request-Timeout says otherwise (504)
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds, help_heading = "Limits")]
    deadline: f64,

    /// The most MiB that a body may have (413)
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096), help_heading = "Limits")]
    body_limit: u32,

    /// The most MiB that the bodies of all requests may have at once (429)
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits")]
    body_memory: u32,

    /// So many connections are open at once (503)
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits")]
    connections: u32,

    /// So many seconds a client may take for a request's head, its body and to take the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 15.0, value_parser = seconds, help_heading = "Limits")]
    patience: f64,

    /// So many seconds what was accepted is answered for after a signal
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds, help_heading = "Limits")]
    grace: f64,

    /// How often, in seconds, files are looked at that may have changed; 0 is never
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = milliseconds)]
    reload: f64,

    /// What is logged as lines of JSON on the standard error
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    log: LogLevel,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.0..=1e6).contains(&number) { Ok(number) } else { Err("it is from 0 to a million".to_string()) }
}

fn seconds(text: &str) -> Result<f64, String> {
    milliseconds(text).and_then(|number| match number > 0.0 {
        true => Ok(number),
        false => Err("it is more than 0".to_string()),
    })
}

impl ServeFlags {
    fn options(&self) -> Result<ServeOptions> {
        let tokens = BearerTokens::find(self.tokens.as_deref()).map_err(|error| anyhow!(error))?;
        let seconds = Duration::from_secs_f64;
        Ok(ServeOptions {
            address: SocketAddr::new(self.host, self.port),
            batch_rows: self.batch_size as usize,
            batch_window: seconds(self.batch_window / 1000.0),
            queue: self.queue as usize,
            deadline: seconds(self.deadline),
            body_limit: (self.body_limit as usize) << 20,
            body_memory: (self.body_memory as usize) << 20,
            connections: self.connections as usize,
            header_timeout: seconds(self.patience),
            body_timeout: seconds(self.patience),
            grace: seconds(self.grace),
            reload: Some(seconds(self.reload)).filter(|pause| !pause.is_zero()),
            writers: self.writers as usize,
            threads: None,
            tokens,
        })
    }
}

pub fn run(flags: ServeFlags) -> Result<()> {
    let level = match flags.log {
        LogLevel::Off => None,
        LogLevel::Error => Some(tracing::Level::ERROR),
        LogLevel::Warn => Some(tracing::Level::WARN),
        LogLevel::Info => Some(tracing::Level::INFO),
        LogLevel::Debug => Some(tracing::Level::DEBUG),
    };
    if let Some(level) = level {
        tracing::subscriber::set_global_default(JsonLog::new(level, std::io::stderr()))?;
    }
    let options = flags.options()?;
    let is_open = options.tokens.is_open() && !flags.host.is_loopback();
    let sources = flags.models.iter().map(|model| Source::named(model).map_err(|error| anyhow!(error)));
    let server = Server::bind(sources.collect::<Result<_>>()?, options)?;
    if is_open {
        let warning = "everybody who reaches this address may ask: --tokens FILE lets in those who bring one";
        tracing::warn!("{warning}");
    }
    out::line(format_args!("serving {} at http://{}", server.models().join(", "), server.address()))?;
    server.run().context("the server ended")
}
