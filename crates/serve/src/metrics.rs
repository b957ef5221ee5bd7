//! What is counted, for Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Bounds of the times that are told apart, in seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Bounds of the sizes of batches that are told apart.
const ROWS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0];

/// How often something was at most so much.
#[derive(Debug)]
struct Histogram<const N: usize> {
    bounds: [f64; N],
    /// Of each bound, without those below; the last is of what is more than all.
    counts: [AtomicU64; N],
    more: AtomicU64,
    /// In millionths.
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: [f64; N]) -> Histogram<N> {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Histogram { bounds, counts, more: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn add(&self, value: f64) {
        let place = self.bounds.iter().position(|bound| value <= *bound);
        place.map_or(&self.more, |place| &self.counts[place]).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    fn write(&self, name: &str, labels: &str, text: &mut String) {
        let mut count = 0;
        for (bound, own) in self.bounds.iter().zip(&self.counts) {
            count += own.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
        }
        count += self.more.load(Ordering::Relaxed);
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}");
    }
}

/// Of a model, all its versions together.
#[derive(Debug)]
pub struct ModelMetrics {
    /// Requests by the hundreds of their status: 2xx, 4xx, 5xx.
    answers: [AtomicU64; 3],
    seconds: Histogram<12>,
    batches: Histogram<8>,
    /// Rows that wait.
    pub waiting: AtomicUsize,
    /// Pieces of texts that were written.
    pub pieces: AtomicU64,
    /// Files that were taken, and those that couldn't be.
    pub loads: [AtomicU64; 2],
}

impl Default for ModelMetrics {
    fn default() -> ModelMetrics {
        ModelMetrics {
            answers: Default::default(),
            seconds: Histogram::new(SECONDS),
            batches: Histogram::new(ROWS),
            waiting: AtomicUsize::new(0),
            pieces: AtomicU64::new(0),
            loads: Default::default(),
        }
    }
}

impl ModelMetrics {
    /// A batch of so many rows.
    pub fn batch(&self, rows: usize) {
        self.batches.add(rows as f64);
    }

    /// A request that was answered with a status, after so long.
    pub fn answered(&self, status: u16, took: Duration) {
        let place = match status {
            0..=399 => 0,
            400..=499 => 1,
            500.. => 2,
        };
        self.answers[place].fetch_add(1, Ordering::Relaxed);
        self.seconds.add(took.as_secs_f64());
    }
}

/// Of the whole server.
#[derive(Debug, Default)]
pub struct ServerMetrics {
    /// Connections that are open.
    pub connections: AtomicUsize,
    /// Connections that there was no room for.
    pub turned_away: AtomicU64,
    /// Requests of any kind.
    pub requests: AtomicU64,
}

/// Everything that is counted, as Prometheus reads it.
pub fn text<'m>(
    own: &ServerMetrics,
    models: impl Iterator<Item = (&'m str, &'m ModelMetrics)> + Clone,
) -> String {
    let mut text = String::new();
    let head = |text: &mut String, name: &str, kind: &str, help: &str| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    };
    for (name, kind, help, value) in [
        ("kiln_connections", "gauge", "Open connections.", own.connections.load(Ordering::Relaxed) as u64),
        (
            "kiln_connections_refused_total",
            "counter",
            "Connections there was no room for.",
            own.turned_away.load(Ordering::Relaxed),
        ),
        (
            "kiln_http_requests_total",
            "counter",
            "Requests of any kind.",
            own.requests.load(Ordering::Relaxed),
        ),
    ] {
        head(&mut text, name, kind, help);
        let _ = writeln!(text, "{name} {value}");
    }
    let labelled = |name: &str| {
        format!("model=\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
    };
    head(&mut text, "kiln_requests_total", "counter", "Requests to a model by what they were answered.");
    for (name, model) in models.clone() {
        for (status, count) in ["2xx", "4xx", "5xx"].iter().zip(&model.answers) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(text, "kiln_requests_total{{{},status=\"{status}\"}} {count}", labelled(name));
        }
    }
    head(&mut text, "kiln_request_seconds", "histogram", "Time from a request's head to its answer.");
    models
        .clone()
        .for_each(|(name, model)| model.seconds.write("kiln_request_seconds", &labelled(name), &mut text));
    head(&mut text, "kiln_batch_rows", "histogram", "Rows that were computed at once.");
    models
        .clone()
        .for_each(|(name, model)| model.batches.write("kiln_batch_rows", &labelled(name), &mut text));
    type Read = fn(&ModelMetrics) -> u64;
    let singles: [(&str, &str, &str, Read); 4] = [
        ("kiln_waiting_rows", "gauge", "Rows that wait.", |model| {
            model.waiting.load(Ordering::Relaxed) as u64
        }),
        ("kiln_generated_pieces_total", "counter", "Pieces of text that were written.", |model| {
            model.pieces.load(Ordering::Relaxed)
        }),
        ("kiln_model_loads_total", "counter", "Files of the model that were taken.", |model| {
            model.loads[0].load(Ordering::Relaxed)
        }),
        (
            "kiln_model_load_failures_total",
            "counter",
            "Files of the model that couldn't be taken.",
            |model| model.loads[1].load(Ordering::Relaxed),
        ),
    ];
    for (metric, kind, help, read) in singles {
        head(&mut text, metric, kind, help);
        models.clone().for_each(|(name, model)| {
            let _ = writeln!(text, "{metric}{{{}}} {}", labelled(name), read(model));
        });
    }
    text
}
