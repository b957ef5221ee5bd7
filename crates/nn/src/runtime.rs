//! The way from lazy values to numbers: trace, look the graph up among those compiled before, run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kiln_compile::Program;
use kiln_device::{Argument, Device, Executable, Memory, Output};
use kiln_ir::{DType, Data, Error, ErrorKind, Expr, Graph, Result, Scalar, Shape};

use crate::budget::afford;
use crate::device::{home, variables};
use crate::storage::{memory_of, moves};

/// A program on a device with the variables it works on.
pub(crate) struct Loaded {
    pub(crate) device: Arc<dyn Device>,
    pub(crate) program: Arc<Program>,
    pub(crate) executable: Box<dyn Executable>,
    pub(crate) memories: Vec<Arc<dyn Memory>>,
    /// How many moves of variables there had been when the memories were found.
    moves: u64,
}

/// Compiles a graph for a device.
pub(crate) fn compile(graph: &Graph, device: &Arc<dyn Device>) -> Result<Arc<Program>> {
    kiln_compile::compile(graph, device.target()).map(Arc::new)
}

fn memories(program: &Program, device: &Arc<dyn Device>) -> Result<Vec<Arc<dyn Memory>>> {
    program.variables.iter().map(|variable| memory_of(&**variable, device)).collect()
}

impl Loaded {
    /// Loads a program on the device that it was compiled for.
    pub(crate) fn new(program: Arc<Program>, device: &Arc<dyn Device>) -> Result<Loaded> {
        let (moves, memories) = (moves(), memories(&program, device)?);
        let executable = device.load(program.clone())?;
        Ok(Loaded { device: device.clone(), program, executable, memories, moves })
    }

    /// Whether no variable may have moved since the memories were found.
    pub(crate) fn is_current(&self) -> bool {
        self.moves == moves()
    }

    /// Finds the memories again, on the program's device.
    pub(crate) fn find_again(&mut self) -> Result<()> {
        // Counted before it looks, so that a move meanwhile is noticed, and kept only where it has found them all.
        let moves = moves();
        self.memories = memories(&self.program, &self.device)?;
        self.moves = moves;
        Ok(())
    }
}

/// Room for a program's outputs.
pub(crate) fn outputs(program: &Program) -> Result<Vec<Data>> {
    let empty = |(shape, dtype): &(Shape, DType)| {
        room(shape, *dtype)?;
        Ok(Data::filled(*dtype, shape.elements(), Scalar::Int(0)))
    };
    program.outputs.iter().map(empty).collect()
}

/// What is larger than this may be more than there is.
const LARGE: usize = 1 << 24;

/// Refuses what the host has no memory for, where a vector would end the program: a text may say a layer of any size.
pub(crate) fn room(shape: &Shape, dtype: DType) -> Result<()> {
    afford(shape)?;
    let bytes = shape.elements().saturating_mul(dtype.size());
    match bytes > LARGE && Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
        true => Err(Error::new(
            ErrorKind::Device,
            "allocate",
            format!("no memory for {bytes} bytes, {dtype}{shape}"),
        )),
        false => Ok(()),
    }
}

/// Computes the values. Programs are kept and found again by the structure of their graph.
pub(crate) fn evaluate(values: &[Expr]) -> Result<Vec<Data>> {
    let (graph, captured) = Graph::trace(&[], values, &[])?;
    let device = home(None, variables(&graph))?;
    let key = CacheKey { graph, device: Arc::as_ptr(&device).cast::<()>() as usize };
    let kept = cache().take(&key);
    let reused = kept.is_some();
    let mut loaded = match kept {
        Some(loaded) => loaded,
        None => Loaded::new(compile(&key.graph, &device)?, &device)?,
    };
    if !loaded.is_current() {
        loaded.find_again()?;
    }
    let mut result = run(&mut loaded, &captured);
    if result.is_err() && reused {
        // A program that is found again names the lines it was first compiled from; these are the ones that failed.
        loaded = Loaded::new(compile(&key.graph, &device)?, &device)?;
        result = run(&mut loaded, &captured);
    }
    cache().put(key, loaded);
    result
}

/// Runs a program that has no inputs but captured constants.
fn run(loaded: &mut Loaded, captured: &[Arc<Data>]) -> Result<Vec<Data>> {
    let arguments: Vec<Argument> = captured.iter().map(|data| Argument::of(data)).collect();
    let mut data = outputs(&loaded.program)?;
    let mut targets: Vec<Output> = data.iter_mut().map(Output::of).collect();
    let result = loaded.executable.run(&arguments, &loaded.memories, &mut targets);
    drop(targets);
    result.map(|()| data)
}

/// At most this many programs wait to be used again,
const MOST_PROGRAMS: usize = 128;
/// made of at most this many nodes in all,
const MOST_NODES: usize = 100_000;
/// and, but for the last one, holding at most this many bytes.
const MOST_BYTES: usize = 256 << 20;

/// What a program is found again by.
#[derive(Clone, PartialEq, Eq, Hash)]
struct CacheKey {
    graph: Graph,
    /// Where the device lies. A loaded program keeps it alive, so another one's isn't the same.
    device: usize,
}

/// Programs that aren't running, by graph and device.
#[derive(Default)]
struct ProgramCache {
    programs: HashMap<CacheKey, (u64, Loaded)>,
    nodes: usize,
    bytes: usize,
    clock: u64,
}

impl ProgramCache {
    fn take(&mut self, key: &CacheKey) -> Option<Loaded> {
        let (_, loaded) = self.programs.remove(key)?;
        self.nodes -= key.graph.nodes.len();
        self.bytes -= loaded.executable.bytes();
        Some(loaded)
    }

    fn put(&mut self, key: CacheKey, loaded: Loaded) {
        let nodes = key.graph.nodes.len();
        if nodes > MOST_NODES / 4 {
            return;
        }
        self.clock += 1;
        // Another thread may have put the same one here meanwhile.
        drop(self.take(&key));
        self.nodes += nodes;
        self.bytes += loaded.executable.bytes();
        self.programs.insert(key, (self.clock, loaded));
        let many = |cache: &ProgramCache| {
            cache.programs.len() > MOST_PROGRAMS
                || cache.nodes > MOST_NODES
                || (cache.bytes > MOST_BYTES && cache.programs.len() > 1)
        };
        while many(self) {
            let oldest = self.programs.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            match oldest {
                Some(key) => drop(self.take(&key)),
                None => break,
            }
        }
    }
}

/// The cache. A panic elsewhere leaves it whole, since programs are out of it while they run.
fn cache() -> MutexGuard<'static, ProgramCache> {
    static CACHE: OnceLock<Mutex<ProgramCache>> = OnceLock::new();
    CACHE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}
