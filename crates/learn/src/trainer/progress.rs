//! How far a training is: a line for each epoch that is over, and for the one under way a bar on a terminal (with the feature `terminal`),
//! elsewhere a line from time to time.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::callback::{Callback, Moment};
use crate::Result;
use crate::note::note;
use crate::terminal::Bar;

/// The lines, which are events of `tracing`, and the bar. Every trainer has one that isn't [quiet](super::Trainer::quiet).
#[derive(Debug)]
pub struct Progress {
    bar: Option<Bar>,
    /// When this session and its epoch began, and the steps done until then.
    session: (Instant, u64),
    epoch: (Instant, u64),
    shown: Instant,
    /// How often a line says how far an epoch is, where there is no bar.
    every: Duration,
    /// Losses as they were drawn, thinned out when there are too many.
    losses: Vec<f64>,
}

/// How many bars the curve of the loss has at most.
const CURVE: usize = 12;

/// As many characters of a text stand in a line at most.
const WIDTH: usize = 72;

/// The bar isn't drawn more often.
const EVERY: Duration = Duration::from_millis(100);

/// How often a line says how far a long epoch is, where there is no bar.
const LINES: Duration = Duration::from_secs(30);

impl Progress {
    /// Nothing shown yet.
    pub fn new() -> Progress {
        let now = Instant::now();
        Progress {
            bar: None,
            session: (now, 0),
            epoch: (now, 0),
            shown: now,
            every: LINES,
            losses: Vec::new(),
        }
    }

    /// A line so often for an epoch that takes long, where there is no bar; every 30 seconds unless told otherwise.
    pub fn every(self, every: Duration) -> Progress {
        Progress { every, ..self }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }

    /// Texts that were added to the epoch, set apart from its numbers.
    fn texts(&self, at: &Moment) {
        for (_, text) in at.texts() {
            let lines = wrapped(text, WIDTH);
            // Empty ones say nothing here.
            lines
                .iter()
                .filter(|line| !line.trim().is_empty())
                .for_each(|line| self.line(&format!("    │ {line}")));
        }
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}

impl Callback for Progress {
    fn before(&mut self, at: &mut Moment) -> Result<()> {
        let now = Instant::now();
        (self.session, self.epoch, self.shown) = ((now, at.step), (now, at.step), now);
        self.bar = Bar::new(at.batches);
        Ok(())
    }

    fn after_step(&mut self, at: &mut Moment) -> Result<()> {
        self.texts(at);
        let now = Instant::now();
        let every = if self.bar.is_some() { EVERY } else { self.every };
        // The epoch's own line comes with its last step.
        if now.duration_since(self.shown) < every || (self.bar.is_none() && at.batch == at.batches) {
            return Ok(());
        }
        self.shown = now;
        let steps = (at.step - self.session.1).max(1) as f64;
        let spent = now.duration_since(self.session.0).as_secs_f64();
        let rows = at.rows as f64 / at.batch.max(1) as f64;
        let left = (at.steps - at.step) as f64 * spent / steps;
        let mut text = format!("loss {:.4}", at.mean_loss);
        for named in at.metrics {
            let _ = write!(text, "  {} {:.4}", named.name(), named.metric().value());
        }
        let _ = write!(text, "  rate {:.2e}", at.rate);
        let _ = write!(text, "  {} rows/s  {} left", thousands(rows * steps / spent), time(left));
        let epoch = format!("epoch {}/{}", at.epoch, at.epochs);
        let Some(bar) = &self.bar else {
            note(format!("{epoch}  batch {}/{}  {text}", at.batch, at.batches));
            return Ok(());
        };
        self.losses.push(at.mean_loss);
        if self.losses.len() >= 2 * CURVE {
            self.losses = self.losses.chunks(2).filter_map(|pair| pair.last().copied()).collect();
        }
        bar.draw(epoch, at.batch, format!("{}  {text}", sparkline(&self.losses, CURVE)));
        Ok(())
    }

    fn after_epoch(&mut self, at: &mut Moment) -> Result<()> {
        let now = Instant::now();
        let spent = now.duration_since(self.epoch.0).as_secs_f64();
        let speed = at.rows as f64 / spent.max(1e-9);
        let mut text = format!("epoch {:>w$}/{}", at.epoch, at.epochs, w = at.epochs.to_string().len());
        for (name, number) in at.numbers.iter().filter(|(name, _)| name != "rate") {
            let _ = write!(text, "  {name} {number:.4}");
        }
        let _ = write!(text, "  {}  {} rows/s", time(spent), thousands(speed));
        self.line(&text);
        self.texts(at);
        (self.epoch, self.shown) = ((now, at.step), now);
        Ok(())
    }

    fn after(&mut self, _at: &mut Moment) -> Result<()> {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
        Ok(())
    }
}

/// A text in lines of at most so many characters, broken between words where there are any.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.trim_end().lines() {
        let mut rest: Vec<char> = line.chars().collect();
        while rest.len() > width {
            let end = rest[..=width].iter().rposition(|&letter| letter == ' ').filter(|&end| end > 0);
            let next = rest.split_off(end.unwrap_or(width));
            lines.push(rest.into_iter().collect());
            rest = next.into_iter().skip(usize::from(end.is_some())).collect();
        }
        lines.push(rest.into_iter().collect());
    }
    lines
}

/// `412`, `38.1k`, `1.2M`.
pub(crate) fn thousands(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n if n >= 1e4 => format!("{:.0}k", n / 1e3),
        n if n >= 1e3 => format!("{:.1}k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

/// `31 ms`, `0.31 s`, `12.3 s`, `4:05`, `1:02:03`.
pub(crate) fn time(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match seconds {
        s if s < 0.1 => format!("{:.0} ms", s * 1e3),
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 60.0 => format!("{s:.1} s"),
        _ if whole < 3600 => format!("{}:{:02}", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60),
    }
}

/// Numbers as a row of bars, at most so many.
pub fn sparkline(numbers: &[f64], most: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let step = numbers.len().div_ceil(most.max(1)).max(1);
    let shown: Vec<f64> = numbers.chunks(step).filter_map(|chunk| chunk.last().copied()).collect();
    let (least, most) =
        shown.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    let bar = |number: &f64| match most > least {
        true => BARS[(((number - least) / (most - least)) * 7.0).round().clamp(0.0, 7.0) as usize],
        false => BARS[0],
    };
    shown.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::trainer::Trainer;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 999.0, 1234.0, 45678.0, 2.34e6].map(thousands), ["0", "999", "1.2k", "46k", "2.3M"]);
        assert_eq!(
            [0.0314, 0.314, 12.34, 245.0, 3723.0].map(time),
            ["31 ms", "0.31 s", "12.3 s", "4:05", "1:02:03"]
        );
    }

    #[test]
    fn texts_are_broken_between_words() {
        assert_eq!(wrapped("one two three\nfour\n\n", 8), ["one two", "three", "four"]);
        assert_eq!(wrapped("abcdefghij kl", 4), ["abcd", "efgh", "ij", "kl"]);
        assert_eq!(wrapped(" 12345678", 4), [" 123", "4567", "8"]);
        assert_eq!(wrapped("", 4), [""; 0]);
    }

    /// Keeps what is said.
    struct Heard(Mutex<Vec<String>>);

    impl tracing::field::Visit for &Heard {
        fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }

    impl tracing::Subscriber for Heard {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut heard = self;
            event.record(&mut heard);
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn where_there_is_no_bar_a_line_says_how_far_a_long_epoch_is() {
        if Bar::new(1).is_some() {
            return;
        }
        let heard = Arc::new(Heard(Mutex::default()));
        let lines = |every: Duration| {
            let progress = Progress::new().every(every);
            let model = kiln_nn::Sequential::new().dense(2);
            let trainer = Trainer::new(model, kiln_nn::loss::CrossEntropy::new(), kiln_nn::Adam::new(0.01));
            let trainer = trainer.epochs(2).batch_size(10).callback(progress).quiet();
            tracing::subscriber::with_default(heard.clone(), || {
                trainer.fit(&kiln_data::moons(40, 0.1, 1)).unwrap()
            });
            std::mem::take(&mut *heard.0.lock().unwrap())
        };
        let often = lines(Duration::ZERO);
        assert_eq!(often.len(), 2 * 4, "{often:?}");
        assert!(often[0].starts_with("epoch 1/2  batch 1/4  loss "), "{often:?}");
        assert!(often[3].starts_with("epoch 1/2  loss "), "{often:?}");
        assert_eq!(lines(LINES).len(), 2);
    }
}
