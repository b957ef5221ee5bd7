//! The one list of passes, from the first look at a graph to the memory plan. After each, what it leaves is checked in
//! debug builds and tests; `KILN_LOG=passes` prints what each changed and how long it took.

use std::collections::HashMap;

use kiln_ir::pass::{Pass, Subject, rounds};
use kiln_ir::simplify;
use kiln_ir::{Graph, Result};

use crate::bodies::{self, StepBody};
use crate::cluster::{self, ClusterId, Clustering};
use crate::legalise::{self, storage};
use crate::program::Program;
use crate::schedule::{self, KernelSchedule};
use crate::target::Target;
use crate::{affine, attention, canonicalise, lower, plan, recompute, verify};

/// A graph on its way to a program.
#[derive(Debug)]
pub struct Compilation {
    /// What it is compiled for.
    pub target: Target,
    /// The operations.
    pub graph: Graph,
    /// Which of them share a kernel; none before the pass that decides it.
    pub clusters: Clustering,
    /// In which order they run; none before the pass that decides it.
    pub schedule: KernelSchedule,
    /// The bodies of scans, each with the kernels of a step.
    pub bodies: HashMap<ClusterId, StepBody>,
    /// The kernels; none before the pass that writes them.
    pub program: Program,
    /// Whether the kernels are such as the target runs.
    stored: bool,
}

/// One place in the list.
#[derive(Debug)]
pub enum Stage {
    /// Passes that run in turn, so often at most, until none of them changes anything; not at all where nothing has
    /// changed since they last ran.
    Rounds(&'static [Pass<Graph>], usize),
    /// A pass that runs once.
    Once(Pass<Compilation>),
}

/// Every pass, in order.
pub const PASSES: &[Stage] = &[
    Stage::Rounds(&simplify::PASSES, simplify::ROUNDS),
    Stage::Once(Pass { name: "attention", run: |it| Ok(attention::found(&mut it.graph, &it.target)) }),
    Stage::Once(Pass {
        name: "without attention",
        run: |it| Ok(attention::without_kernel(&mut it.graph, &it.target)),
    }),
    Stage::Once(Pass { name: "affine", run: |it| Ok(affine::affine(&mut it.graph, &it.target)) }),
    Stage::Rounds(&simplify::PASSES, simplify::ROUNDS),
    Stage::Once(Pass { name: "empties", run: |it| Ok(canonicalise::without_empties(&mut it.graph)) }),
    Stage::Once(Pass {
        name: "wide products",
        run: |it| Ok(canonicalise::with_wide_products(&mut it.graph)),
    }),
    Stage::Once(Pass { name: "legalise", run: |it| legalise::legalise(&mut it.graph, &it.target) }),
    Stage::Once(Pass { name: "values", run: |it| Ok(canonicalise::with_values_computed(&mut it.graph)) }),
    Stage::Once(Pass { name: "cluster", run: cluster }),
    Stage::Once(Pass {
        name: "recompute",
        run: |it| Ok(recompute::recompute(&mut it.graph, &mut it.clusters, &it.target)),
    }),
    Stage::Once(Pass { name: "schedule", run: schedule }),
    Stage::Once(Pass { name: "bodies", run: bodies }),
    Stage::Once(Pass { name: "lower", run: lower }),
    Stage::Once(Pass { name: "storage", run: storage }),
    Stage::Once(Pass { name: "plan", run: |it| Ok(plan::plan(&mut it.program, it.target.alignment)) }),
];

fn cluster(it: &mut Compilation) -> Result<usize> {
    it.clusters = cluster::cluster(&it.graph, &it.target);
    Ok(it.clusters.clusters.len())
}

fn schedule(it: &mut Compilation) -> Result<usize> {
    it.schedule = schedule::schedule(&it.graph, &it.clusters);
    Ok(it.schedule.order.len())
}

/// A body goes through the same passes, up to its kernels; memory is planned for all of them together.
fn bodies(it: &mut Compilation) -> Result<usize> {
    for (cluster, mut body) in bodies::bodies(&it.graph, &it.clusters) {
        let mut inner = Compilation::new(&body.graph, &it.target);
        inner.run_until("storage")?;
        body.program = inner.program;
        it.bodies.insert(cluster, body);
    }
    Ok(it.bodies.len())
}

fn lower(it: &mut Compilation) -> Result<usize> {
    it.program = lower::lower(&it.graph, (&it.clusters, &it.bodies), &it.schedule, &it.target);
    Ok(it.program.kernels.len())
}

fn storage(it: &mut Compilation) -> Result<usize> {
    it.stored = true;
    storage::storage(&mut it.program, &it.target)
}

impl Compilation {
    /// The start.
    pub fn new(graph: &Graph, target: &Target) -> Compilation {
        Compilation {
            target: target.clone(),
            graph: graph.clone(),
            clusters: Clustering::default(),
            schedule: KernelSchedule::default(),
            bodies: HashMap::new(),
            program: Program::default(),
            stored: false,
        }
    }

    /// Runs every pass.
    ///
    /// # Errors
    /// Where the target lacks what the graph needs.
    pub fn run(&mut self) -> Result<()> {
        self.run_until("")
    }

    /// Runs the passes before the one of this name.
    fn run_until(&mut self, last: &str) -> Result<()> {
        let mut changes = 1;
        for step in PASSES {
            match step {
                Stage::Once(pass) if pass.name == last => break,
                Stage::Rounds(..) if changes == 0 => {}
                Stage::Rounds(passes, most) => {
                    rounds(passes, *most, &mut self.graph)?;
                    changes = 0;
                }
                Stage::Once(pass) => changes += pass.run(self)?,
            }
        }
        Ok(())
    }
}

impl Subject for Compilation {
    fn check(&self) -> Result<(), String> {
        if self.clusters.clusters.is_empty() {
            return self.graph.check();
        }
        self.clusters.check(&self.graph)?;
        self.schedule.check(&self.graph, &self.clusters)?;
        if self.stored {
            verify::program(&self.program, &self.target).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn size(&self) -> String {
        if !self.program.kernels.is_empty() {
            format!("{} kernels", self.program.kernels.len())
        } else if !self.clusters.clusters.is_empty() {
            format!("{} clusters", self.clusters.clusters.len())
        } else {
            self.graph.size()
        }
    }
}
