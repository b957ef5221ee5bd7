//! The way from lazy values to numbers: trace, look the graph up among those compiled before, run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kiln_compile::Program;
use kiln_device::{Argument, Executable, Memory, Output};
use kiln_ir::{DType, Data, Error, ErrorKind, Expr, Graph, Result, Scalar, Shape};

use crate::variable::memory_of;

/// A program on the device with the variables it works on.
pub(crate) struct Loaded {
    pub(crate) program: Arc<Program>,
    pub(crate) executable: Box<dyn Executable>,
    pub(crate) memories: Vec<Arc<dyn Memory>>,
}

/// Compiles a graph and loads it on the device.
pub(crate) fn load(graph: &Graph) -> Result<Loaded> {
    let program = Arc::new(kiln_compile::compile(graph, kiln_cpu::cpu().target())?);
    let memories =
        program.variables.iter().map(|variable| memory_of(&**variable)).collect::<Result<Vec<_>>>()?;
    let executable = kiln_cpu::cpu().load(program.clone())?;
    Ok(Loaded { program, executable, memories })
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
    crate::variable::allowed(shape)?;
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
    let kept = cache().take(&graph);
    let reused = kept.is_some();
    let mut loaded = match kept {
        Some(loaded) => loaded,
        None => load(&graph)?,
    };
    let mut result = run(&mut loaded, &captured);
    if result.is_err() && reused {
        // A program that is found again names the lines it was first compiled from; these are the ones that failed.
        loaded = load(&graph)?;
        result = run(&mut loaded, &captured);
    }
    cache().put(graph, loaded);
    result
}

/// Runs a program that has no inputs but captured constants.
fn run(loaded: &mut Loaded, captured: &[Arc<Data>]) -> Result<Vec<Data>> {
    let arguments: Vec<Argument> = captured.iter().map(|data| Argument::from_data(data)).collect();
    let mut data = outputs(&loaded.program)?;
    let mut targets: Vec<Output> = data.iter_mut().map(Output::from_data).collect();
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

/// Programs that aren't running, by their graph.
#[derive(Default)]
struct Cache {
    programs: HashMap<Graph, (u64, Loaded)>,
    nodes: usize,
    bytes: usize,
    clock: u64,
}

impl Cache {
    fn take(&mut self, graph: &Graph) -> Option<Loaded> {
        let (_, loaded) = self.programs.remove(graph)?;
        self.nodes -= graph.nodes.len();
        self.bytes -= loaded.executable.bytes();
        Some(loaded)
    }

    fn put(&mut self, graph: Graph, loaded: Loaded) {
        if graph.nodes.len() > MOST_NODES / 4 {
            return;
        }
        self.clock += 1;
        // Another thread may have put the same one here meanwhile.
        drop(self.take(&graph));
        self.nodes += graph.nodes.len();
        self.bytes += loaded.executable.bytes();
        self.programs.insert(graph, (self.clock, loaded));
        let many = |cache: &Cache| {
            cache.programs.len() > MOST_PROGRAMS
                || cache.nodes > MOST_NODES
                || (cache.bytes > MOST_BYTES && cache.programs.len() > 1)
        };
        while many(self) {
            let oldest =
                self.programs.iter().min_by_key(|(_, (used, _))| *used).map(|(graph, _)| graph.clone());
            match oldest {
                Some(graph) => drop(self.take(&graph)),
                None => break,
            }
        }
    }
}

/// The cache. A panic elsewhere leaves it whole, since programs are out of it while they run.
fn cache() -> MutexGuard<'static, Cache> {
    static CACHE: OnceLock<Mutex<Cache>> = OnceLock::new();
    CACHE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}
