//! Trials as runs of `kiln train` in folders of their own, some beside each other, and the journal of those that are over.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Space;
use crate::folder::{CONFIG, Folder};

/// A trial that is to begin.
pub(super) struct Begun {
    pub(super) settings: Map<String, Value>,
    pub(super) epochs: Option<u64>,
}

/// A trial that is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Done {
    /// From 1, in the order in which trials began.
    pub(super) number: usize,
    pub(super) settings: Map<String, Value>,
    pub(super) epochs: Option<u64>,
    pub(super) score: Option<f64>,
    pub(super) seconds: f64,
    pub(super) failed: Option<String>,
}

/// The list of trials that are over, a line each.
pub(super) struct TrialJournal<'f> {
    folder: &'f Folder,
    known: Vec<Done>,
}

const LIST: &str = "trials.jsonl";

impl<'f> TrialJournal<'f> {
    /// That of a folder, which must be of the same search.
    pub(super) fn open(folder: &'f Folder, about: &Value) -> Result<TrialJournal<'f>> {
        let path = folder.at(LIST);
        let mut journal = TrialJournal { folder, known: Vec::new() };
        if !path.exists() {
            journal.add(about)?;
            return Ok(journal);
        }
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        // A line without an end was being written when the search was ended.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            folder.write(LIST, &text[..whole])?;
        }
        let mut lines = text[..whole].lines();
        match lines.next().map(serde_json::from_str::<Value>) {
            None => journal.add(about)?,
            Some(Ok(known)) if known == *about => {}
            Some(_) => bail!("{}: this is another search's; choose another --out", path.display()),
        }
        for (number, line) in lines.enumerate() {
            let done = serde_json::from_str(line)
                .with_context(|| format!("{}: line {}", path.display(), number + 2))?;
            journal.known.push(done);
        }
        Ok(journal)
    }

    fn add(&self, line: &impl Serialize) -> Result<()> {
        let path = self.folder.at(LIST);
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("{}\n", serde_json::to_string(line)?).as_bytes())?;
            file.sync_data()
        };
        write().with_context(|| path.display().to_string())
    }
}

/// A trial under way.
struct RunningTrial {
    number: usize,
    begun: Begun,
    child: Child,
    since: Instant,
}

impl Drop for RunningTrial {
    fn drop(&mut self) {
        // One that nobody waits for any more ends with the search.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The trials of a search.
pub(super) struct Trials<'f> {
    folder: &'f Folder,
    space: &'f Space,
    journal: TrialJournal<'f>,
    jobs: usize,
    ends: Option<Instant>,
    pub(super) done: Vec<Done>,
    begun: usize,
}

/// How often is looked whether a trial is over.
const POLLED: Duration = Duration::from_millis(10);

/// What begins next: how many trials have begun, and those that are over.
type NextTrial<'n> = dyn FnMut(usize, &[Done]) -> Result<Option<Begun>> + 'n;

impl<'f> Trials<'f> {
    pub(super) fn new(
        folder: &'f Folder,
        space: &'f Space,
        journal: TrialJournal<'f>,
        jobs: usize,
        limit: Option<Duration>,
    ) -> Trials<'f> {
        let ends = limit.map(|limit| Instant::now() + limit);
        Trials { folder, space, journal, jobs, ends, done: Vec::new(), begun: 0 }
    }

    /// Whether no more trials are begun.
    pub(super) fn is_over(&self) -> bool {
        self.ends.is_some_and(|ends| Instant::now() >= ends)
    }

    pub(super) fn rank(&self, done: &mut [Done]) {
        rank(done, self.space.larger_is_better);
    }

    /// Runs trials until there are no more.
    pub(super) fn run(
        &mut self,
        say: &dyn Fn(&str),
        epochs: Option<u64>,
        next: &mut NextTrial,
    ) -> Result<()> {
        let mut running: Vec<RunningTrial> = Vec::new();
        let mut are_more = true;
        while are_more || !running.is_empty() {
            while are_more && running.len() < self.jobs {
                // What is over is over, also where another would be asked for now.
                let is_next = |done: &&Done| done.number == self.begun + 1 && done.epochs == epochs;
                if let Some(done) = self.journal.known.iter().find(is_next) {
                    self.begun += 1;
                    self.done.push(done.clone());
                    continue;
                }
                let begun = if self.is_over() { None } else { next(self.begun, &self.done)? };
                let Some(begun) = begun else {
                    are_more = false;
                    break;
                };
                self.begun += 1;
                running.push(self.begin(begun)?);
            }
            let over = running.iter_mut().position(|running| !matches!(running.child.try_wait(), Ok(None)));
            match over {
                Some(at) => {
                    let done = self.end(running.remove(at))?;
                    say(&line(&done, self.space));
                    self.done.push(done);
                }
                None if !running.is_empty() => std::thread::sleep(POLLED),
                None => {}
            }
        }
        Ok(())
    }

    fn begin(&self, begun: Begun) -> Result<RunningTrial> {
        let number = self.begun;
        let name = format!("trial-{number}");
        let settings = self.space.settings(&begun.settings, begun.epochs)?;
        let (config, run) = (format!("{name}.toml"), self.folder.at(&name));
        let before = std::fs::read_to_string(self.folder.at(&config)).unwrap_or_default();
        let text = settings.to_toml();
        // One that was cut goes on; what is another's, or over and not noted, is done anew.
        if run.exists() && (before != text || run.join("result.json").exists() || !run.join(CONFIG).exists())
        {
            std::fs::remove_dir_all(&run).with_context(|| run.display().to_string())?;
        }
        self.folder.write(&config, text)?;
        let mut command = Command::new(std::env::current_exe().context("the command's own file")?);
        match run.join(CONFIG).exists() {
            true => command.args(["train", "--resume"]).arg(&run),
            false => command.arg("train").arg(self.folder.at(&config)).arg("--out").arg(&run),
        };
        if self.jobs > 1 {
            let threads = (kiln_learn::threads() / self.jobs).max(1);
            command.args(["--threads", &threads.to_string()]);
        }
        let errors = self.folder.at(format!("{name}.log"));
        let errors = File::create(&errors).with_context(|| errors.display().to_string())?;
        let child = command.arg("--quiet").stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
        let child = child.context("a trial can't be begun")?;
        Ok(RunningTrial { number, begun, child, since: Instant::now() })
    }

    fn end(&self, mut running: RunningTrial) -> Result<Done> {
        let status = running.child.wait().context("a trial")?;
        let name = format!("trial-{}", running.number);
        let (score, failed) = match status.success() {
            true => match self.score(&name) {
                Ok(score) => (Some(score), None),
                Err(error) => (None, Some(format!("{error:#}"))),
            },
            false => {
                let said = std::fs::read_to_string(self.folder.at(format!("{name}.log"))).unwrap_or_default();
                let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it was ended");
                (None, Some(last.trim_start_matches("error: ").to_string()))
            }
        };
        let begun = std::mem::replace(&mut running.begun, Begun { settings: Map::new(), epochs: None });
        let done = Done {
            number: running.number,
            settings: begun.settings,
            epochs: begun.epochs,
            score,
            seconds: running.since.elapsed().as_secs_f64(),
            failed,
        };
        self.journal.add(&done)?;
        Ok(done)
    }

    /// The figure of a run on its validation rows: of its best epoch where there are epochs.
    fn score(&self, name: &str) -> Result<f64> {
        let path = self.folder.at(name).join("result.json");
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let result: Value = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        // Without validation rows the best epoch is one of the training loss.
        let best = result["val"].as_object().and(result["best"]["value"].as_f64());
        let figure = || result["val"][&self.space.figure].as_f64();
        best.or_else(figure).filter(|score| score.is_finite()).with_context(|| {
            format!("there is no {} of validation rows; are there such rows?", self.space.figure)
        })
    }
}

/// The best first; those without a score last.
pub(super) fn rank(done: &mut [Done], larger_is_better: bool) {
    let sign = if larger_is_better { -1.0 } else { 1.0 };
    let key = |done: &Done| done.score.map_or(f64::INFINITY, |score| sign * score);
    // Of a halving those that trained longest come first.
    done.sort_by(|a, b| b.epochs.cmp(&a.epochs).then(key(a).total_cmp(&key(b))));
}

fn line(done: &Done, space: &Space) -> String {
    let settings = space
        .names()
        .into_iter()
        .map(|name| format!("{name} {}", super::space::shown(done.settings.get(name))));
    let settings = settings.collect::<Vec<_>>().join(", ");
    match (&done.failed, done.score) {
        (Some(why), _) => format!("trial {}: failed: {why} ({settings})", done.number),
        (None, score) => {
            let score = score.unwrap_or(f64::NAN);
            format!(
                "trial {}: {} {score:.5} in {:.1} s ({settings})",
                done.number, space.figure, done.seconds
            )
        }
    }
}
