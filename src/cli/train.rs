//! `kiln train`: learns three spirals that wind around each other.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use kiln::data::{Batch, Dataset, fractions};
use kiln::prelude::*;

use super::{regions, values};

/// Train a small network on a set that it makes itself, and show what it learned
///
/// The set is 4,500 points on three spiral arms, which no straight line separates: 3,000 to train on, 750 held out to
/// watch, 750 to test with at the end. The network has two hidden layers of 64 neurons and is trained with Adam.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln train                             learn, then draw what was learned
  kiln train --epochs 5 --lr 0.003       a short, careful run
  kiln train --show program              each kernel of the training step and the time it takes
  kiln train --show dot | dot -Tsvg      the training step as a drawing

The same seed gives the same weights, bit for bit, whatever the number of threads.")]
pub struct Flags {
    /// How often to go through the training set
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = values::count)]
    epochs: usize,

    /// Where randomness starts: the points, their order, the first weights
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    seed: u64,

    /// How many threads may work [default: every core, or KILN_THREADS]
    #[arg(long, value_name = "N", value_parser = values::threads)]
    threads: Option<usize>,

    /// The learning rate
    #[arg(long, value_name = "RATE", default_value_t = 0.01, value_parser = values::rate)]
    lr: f64,

    /// How many points make one step; the last batch of an epoch may be smaller
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = values::count)]
    batch_size: usize,

    /// Print what the training step is made of, and don't train
    #[arg(long, value_name = "WHAT")]
    show: Option<Show>,
}

/// What can be shown of a step.
#[derive(Clone, Copy, ValueEnum)]
enum Show {
    /// The operations as they were written, one a line
    Graph,
    /// The kernels they became, with sizes, bytes and measured times
    Program,
    /// Where intermediate results lie in memory, and when
    Memory,
    /// The graph for Graphviz
    Dot,
}

const CLASSES: usize = 3;
const HIDDEN: usize = 64;
const POINTS: usize = 4500;

struct Net {
    first: Dense,
    second: Dense,
    out: Dense,
}

parameters!(Net { first, second, out });

impl Net {
    fn new(key: &Key) -> Net {
        Net {
            first: Dense::new(2, HIDDEN, key.derive(0)),
            second: Dense::new(HIDDEN, HIDDEN, key.derive(1)),
            out: Dense::new(HIDDEN, CLASSES, key.derive(2)),
        }
    }
}

impl Layer for Net {
    /// `[batch, 2]` → logits `[batch, classes]`
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let x = self.first.forward(x, cx).relu();
        let x = self.second.forward(&x, cx).relu();
        self.out.forward(&x, cx)
    }
}

/// Trains, or shows the step that would.
pub fn run(flags: Flags) -> Result<()> {
    if let Some(threads) = flags.threads {
        kiln::set_threads(threads);
    }
    let points = kiln::data::spirals(POINTS, CLASSES, 0.12, flags.seed);
    let parts = fractions(points.len(), &[4.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0], flags.seed)?;
    let mut parts = parts.into_iter().map(|rows| points.clone().subset(rows));
    let mut part = || parts.next().context("there are three parts");
    let (train, watched, test) = (part()?, part()?.all()?, part()?.all()?);
    let net = Net::new(&Key::new(flags.seed));
    let mut step = Step::train_with(
        &net,
        Adam::new(flags.lr),
        StepOptions::new().seed(flags.seed),
        |net, cx, [x, labels]| {
            let logits = net.forward(&x, cx);
            vec![logits.cross_entropy(&labels), logits.argmax(-1).eq(&labels).cast(DType::I64).sum(..)]
        },
    );
    if let Some(what) = flags.show {
        return show(what, &mut step, &train.gather(&Vec::from_iter(0..flags.batch_size.min(train.len())))?);
    }
    let mut classify = Function::inference(&net, |net, cx, [x]| net.forward(&x, cx).argmax(-1));
    let mut classes = |x: &[f32]| -> Result<Vec<i64>> {
        let out = classify.run([Input::new(x, &[x.len() / 2, 2])])?;
        Ok(out[0].as_slice().context("classes are whole numbers")?.to_vec())
    };
    let mut correct = |points: &Batch| -> Result<f64> {
        let classes = classes(points.x.as_f32().unwrap_or_default())?;
        let labels = points.y.as_i64().unwrap_or_default();
        let correct = classes.iter().zip(labels).filter(|(a, b)| a == b).count();
        Ok(100.0 * correct as f64 / points.rows() as f64)
    };

    let mut screen = Screen::new();
    screen.line(&format!(
        "three spirals: {} points to train on, {} held out, {} to test with",
        train.len(),
        watched.rows(),
        test.rows()
    ))?;
    screen.line(&format!(
        "a network of 2-{HIDDEN}-{HIDDEN}-{CLASSES} with {} parameters, Adam at {}, batches of {}, {} {}",
        net.parameter_count(),
        flags.lr,
        flags.batch_size,
        kiln::threads(),
        if kiln::threads() == 1 { "thread" } else { "threads" },
    ))?;
    screen.line("\n epoch     loss    train  held out    samples/s")?;

    let stride = flags.epochs.div_ceil(10);
    let mut spent = Duration::ZERO;
    for epoch in 1..=flags.epochs {
        let began = Instant::now();
        let (mut loss, mut right) = (0.0, 0);
        for batch in train.batches(flags.batch_size).shuffle(flags.seed).epoch(epoch as u64) {
            let batch = batch?;
            let out = step.run_all(batch.inputs())?;
            loss += out[0].get(0).map_or(f64::NAN, |loss| loss.as_f64()) * batch.rows() as f64;
            right += out[1].get(0).map_or(0, |right| right.as_i64());
        }
        spent += began.elapsed();
        let loss = loss / train.len() as f64;
        if !loss.is_finite() {
            screen.clear()?;
            bail!("the loss is {loss} after epoch {epoch}; a smaller --lr than {} may mend it", flags.lr);
        }
        let line = format!(
            "{epoch:>6} {loss:>8.4} {:>6.1} % {:>7.1} % {:>12.0}",
            100.0 * right as f64 / train.len() as f64,
            correct(&watched)?,
            (epoch * train.len()) as f64 / spent.as_secs_f64(),
        );
        match epoch % stride == 0 || epoch == flags.epochs || epoch == 1 {
            true => screen.line(&line)?,
            false => screen.passing(&line)?,
        }
    }

    let accuracy = correct(&test)?;
    screen
        .line(&format!("\ntest accuracy {accuracy:.1} % after {:.2} s of training\n", spent.as_secs_f64()))?;
    let square = regions::Square { reach: 1.15 };
    let picture = regions::draw(square, &classes(&square.cells())?, &test, screen.terminal)?;
    screen.line(&picture)?;
    screen.line(match screen.terminal {
        true => "each region in the colour of the class the network gives it; dots are test points",
        false => "each region as the letter of the class the network gives it; capitals are test points",
    })?;
    screen.line(
        "\nnext: `kiln train --show program` for the kernels of the step and their times,\n      \
         `kiln train --epochs 5 --lr 0.001` to see it learn too little, `kiln train --help` for the rest",
    )?;
    Ok(())
}

/// Prints one view of the step.
fn show(what: Show, step: &mut Step<2>, batch: &Batch) -> Result<()> {
    let function = step.function();
    let text = match what {
        Show::Graph => function.graph(batch.inputs())?.to_string(),
        Show::Dot => kiln::ir::print::dot(&function.graph(batch.inputs())?),
        Show::Memory => function.program(batch.inputs())?.memory_listing(),
        Show::Program => {
            let program = function.program(batch.inputs())?;
            program.listing(&median_times(function, batch)?)
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// The median time of each kernel over a number of runs.
fn median_times(function: &mut Function<2>, batch: &Batch) -> Result<Vec<Duration>> {
    function.profile(true);
    let mut runs = Vec::new();
    for _ in 0..51 {
        function.run(batch.inputs())?;
        runs.push(function.times());
    }
    let kernels = runs.first().map_or(0, Vec::len);
    let median = |kernel: usize| {
        let mut times: Vec<Duration> = runs.iter().map(|times| times[kernel]).collect();
        times.sort_unstable();
        times[times.len() / 2]
    };
    Ok((0..kernels).map(median).collect())
}

/// Where progress goes: lines that stay and, on a terminal, one that is replaced.
struct Screen {
    terminal: bool,
    passing: bool,
}

impl Screen {
    fn new() -> Screen {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen { terminal: std::io::stdout().is_terminal() && !plain, passing: false }
    }

    fn line(&mut self, text: &str) -> Result<()> {
        self.clear()?;
        writeln!(std::io::stdout(), "{text}")?;
        Ok(())
    }

    fn passing(&mut self, text: &str) -> Result<()> {
        if self.terminal {
            self.clear()?;
            let mut out = std::io::stdout();
            write!(out, "{text}")?;
            out.flush()?;
            self.passing = true;
        }
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        if std::mem::take(&mut self.passing) {
            write!(std::io::stdout(), "\r\x1b[2K")?;
        }
        Ok(())
    }
}
