//! Runs a program the obvious way: one kernel after the other, over bytes that overlap as the memory plan says, each kernel as
//! operations of the graph's evaluator on whole values.

mod elements;
mod kernels;

use std::ops::Range;
use std::time::{Duration, Instant};

use kiln_compile::program::{BufferPlace, Kernel, Program, Repeat, View, Work};
use kiln_ir::op::Op;
use kiln_ir::{DType, Data, Error, ErrorKind, Result, Scalar};

use elements::{broken, infinite, places, points};
pub(crate) use elements::{from_bytes, native_bytes};

/// The bytes of several values.
pub(crate) type BufferBytes = Vec<Vec<u8>>;

/// The bytes of everything a program touches.
pub(crate) struct ReferenceMachine<'p> {
    program: &'p Program,
    arena: Vec<u8>,
    inputs: Vec<Vec<u8>>,
    variables: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    /// The step that each repeat is in.
    steps: Vec<usize>,
    /// What each kernel took.
    pub(crate) times: Vec<Duration>,
    watch: FiniteWatch,
}

/// What the running kernel read and stored that isn't finite.
#[derive(Debug, Default)]
struct FiniteWatch {
    read_infinity: bool,
    /// The buffer, the element and the value of the first `NaN`, and of the first infinity.
    nan: Option<(usize, usize, f64)>,
    infinity: Option<(usize, usize, f64)>,
}

impl<'p> ReferenceMachine<'p> {
    /// A machine with these arguments and variables, as they are handed over. What a buffer holds as another dtype (for a target
    /// that doesn't store theirs) is converted.
    pub(crate) fn new(
        program: &'p Program,
        inputs: Vec<Vec<u8>>,
        variables: Vec<Vec<u8>>,
    ) -> Result<ReferenceMachine<'p>> {
        // What isn't written yet is rubbish, so that reading it shows.
        let rubbish = |bytes: usize| -> Result<Vec<u8>> {
            let mut room = Vec::new();
            room.try_reserve_exact(bytes).map_err(|_| {
                Error::new(ErrorKind::Device, "run", format!("no memory for {bytes} bytes")).nowhere()
            })?;
            room.resize(bytes, 0xAA);
            Ok(room)
        };
        let convert = |bytes: Vec<u8>, place: BufferPlace, dtype: DType| match held(program, place, dtype) {
            same if same == dtype => Ok(bytes),
            other => Ok(native_bytes(&from_bytes(dtype, dtype, &bytes)?.cast(other))),
        };
        let inputs = inputs.into_iter().zip(&program.inputs).enumerate();
        let variables = variables.into_iter().zip(&program.variables).enumerate();
        let outputs = program.outputs.iter().enumerate();
        Ok(ReferenceMachine {
            program,
            arena: rubbish(program.arena)?,
            inputs: inputs
                .map(|(i, (bytes, (_, dtype)))| convert(bytes, BufferPlace::Input(i), *dtype))
                .collect::<Result<_>>()?,
            variables: variables
                .map(|(i, (bytes, variable))| convert(bytes, BufferPlace::Variable(i), variable.dtype()))
                .collect::<Result<_>>()?,
            outputs: outputs
                .map(|(i, (shape, dtype))| {
                    rubbish(shape.elements() * held(program, BufferPlace::Output(i), *dtype).size())
                })
                .collect::<Result<_>>()?,
            steps: vec![0; program.repeats.len()],
            times: Vec::new(),
            watch: FiniteWatch::default(),
        })
    }

    /// Runs all kernels; with `checks` the first that stores a `NaN` (or an infinity from finite numbers) ends it.
    pub(crate) fn run(&mut self, checks: bool) -> Result<()> {
        self.times = vec![Duration::ZERO; self.program.kernels.len()];
        self.stretch(0..self.program.kernels.len(), 0, checks)
    }

    /// Runs these kernels, as often as the repeats say from this one on.
    fn stretch(&mut self, kernels: Range<usize>, first: usize, checks: bool) -> Result<()> {
        let program = self.program;
        let mut position = kernels.start;
        while position < kernels.end {
            let begins = |repeat: &usize| program.repeats[*repeat].kernels.start == position;
            let Some(repeat) = (first..program.repeats.len()).find(begins) else {
                self.one(position, checks)?;
                position += 1;
                continue;
            };
            let Repeat { kernels, steps, .. } = &program.repeats[repeat];
            for step in 0..*steps {
                self.steps[repeat] = step;
                self.stretch(kernels.clone(), repeat + 1, checks)?;
            }
            position = kernels.end;
        }
        Ok(())
    }

    fn one(&mut self, position: usize, checks: bool) -> Result<()> {
        let kernel = &self.program.kernels[position];
        let began = Instant::now();
        self.watch = FiniteWatch::default();
        self.kernel(kernel).map_err(|error| match (error.at, kernel.at) {
            (None, Some(at)) => error.at(at),
            _ => error,
        })?;
        self.times[position] += began.elapsed();
        if checks { self.look(kernel) } else { Ok(()) }
    }

    /// The variables and the outputs, as they are handed over.
    pub(crate) fn results(self) -> Result<(BufferBytes, BufferBytes)> {
        let program = self.program;
        let convert = |bytes: Vec<u8>, place: BufferPlace, dtype: DType| match held(program, place, dtype) {
            same if same == dtype => Ok(bytes),
            other => Ok(native_bytes(&from_bytes(other, other, &bytes)?.cast(dtype))),
        };
        let variables = self.variables.into_iter().zip(&program.variables).enumerate();
        let outputs = self.outputs.into_iter().zip(&program.outputs).enumerate();
        Ok((
            variables
                .map(|(i, (bytes, variable))| convert(bytes, BufferPlace::Variable(i), variable.dtype()))
                .collect::<Result<_>>()?,
            outputs
                .map(|(i, (bytes, (_, dtype)))| convert(bytes, BufferPlace::Output(i), *dtype))
                .collect::<Result<_>>()?,
        ))
    }

    /// The error for what a kernel stored that isn't finite.
    fn look(&self, kernel: &Kernel) -> Result<()> {
        let infinity = self.watch.infinity.filter(|_| !self.watch.read_infinity);
        let Some((buffer, element, value)) = self.watch.nan.or(infinity) else { return Ok(()) };
        let place = match self.program.buffers[buffer].place {
            BufferPlace::Variable(i) => format!("variable {i} ({})", self.program.variables[i].name()),
            BufferPlace::Input(_)
            | BufferPlace::Output(_)
            | BufferPlace::Arena(_)
            | BufferPlace::Slice { .. } => self.program.buffer_name(buffer),
        };
        let message =
            format!("its store put {value} into element {element} of {place}, the first that isn't finite");
        let mut error = Error::new(ErrorKind::NonFinite, kernel.label.clone(), message);
        error.at = kernel.at;
        Err(error)
    }

    fn bytes(&mut self, buffer: usize) -> Result<(&mut [u8], DType)> {
        let found = self.program.buffers.get(buffer).ok_or_else(|| broken("a buffer that isn't there"))?;
        let size = found.elements * found.dtype.size();
        if let BufferPlace::Slice { of, start, step } = found.place {
            let dtype = found.dtype;
            let at = self.program.mover(buffer).map_or(0, |repeat| self.steps[repeat] as isize);
            let first = (start as isize + at * step) * dtype.size() as isize;
            let first = usize::try_from(first).map_err(|_| broken("a slice that stays in its buffer"))?;
            let part = self.bytes(of)?.0.get_mut(first..first + size);
            return Ok((part.ok_or_else(|| broken("a slice that stays in its buffer"))?, dtype));
        }
        let bytes = match found.place {
            BufferPlace::Input(i) => self.inputs.get_mut(i).map(Vec::as_mut_slice),
            BufferPlace::Variable(i) => self.variables.get_mut(i).map(Vec::as_mut_slice),
            BufferPlace::Output(i) => self.outputs.get_mut(i).map(Vec::as_mut_slice),
            BufferPlace::Arena(offset) => self.arena.get_mut(offset..offset + size),
            BufferPlace::Slice { .. } => None,
        };
        let bytes = bytes.filter(|bytes| bytes.len() == size);
        Ok((bytes.ok_or_else(|| broken("a buffer of another size than its place"))?, found.dtype))
    }

    /// The elements of a view over loops, the last fastest.
    fn gather(&mut self, view: &View, loops: &[usize]) -> Result<Data> {
        let places = places(view, loops)?;
        let (bytes, dtype) = self.bytes(view.buffer)?;
        let size = dtype.size();
        let mut picked = Vec::with_capacity(places.len() * size);
        for at in places {
            let element = bytes.get(at * size..(at + 1) * size);
            picked.extend_from_slice(element.ok_or_else(|| broken("a view that leaves its buffer"))?);
        }
        let data = from_bytes(view.dtype, dtype, &picked)?;
        self.watch.read_infinity |= dtype.is_float() && infinite(&data);
        Ok(data)
    }

    /// Puts elements where a view over loops says.
    fn put(&mut self, view: &View, loops: &[usize], values: &Data) -> Result<()> {
        let places = places(view, loops)?;
        let (values, watched) = (values.cast(view.dtype), view.dtype.is_float());
        if places.len() != values.len() {
            return Err(broken("as many values as it has points"));
        }
        let (bytes, dtype) = self.bytes(view.buffer)?;
        if dtype != view.dtype {
            return Err(broken("a view of another dtype than its buffer"));
        }
        let (size, source) = (dtype.size(), native_bytes(&values));
        let (mut nan, mut infinity) = (None, None);
        for (position, &at) in places.iter().enumerate() {
            let target = bytes.get_mut(at * size..(at + 1) * size);
            target
                .ok_or_else(|| broken("a view that leaves its buffer"))?
                .copy_from_slice(&source[position * size..(position + 1) * size]);
            if watched
                && let Some(value) = values.get(position).map(Scalar::as_f64).filter(|v| !v.is_finite())
            {
                let first = if value.is_nan() { &mut nan } else { &mut infinity };
                first.get_or_insert((view.buffer, at, value));
            }
        }
        self.watch.nan = self.watch.nan.or(nan);
        self.watch.infinity = self.watch.infinity.or(infinity);
        Ok(())
    }

    fn kernel(&mut self, kernel: &Kernel) -> Result<()> {
        match &kernel.work {
            Work::Fused(fused) => self.fused(fused, None),
            Work::Matmul(matmul) => self.matmul(matmul),
            Work::Conv(conv) => self.conv(conv),
            Work::Window(window) => self.window(window),
            Work::Gather(indexed) => {
                let index = self.indices(&kernel.label, indexed)?;
                let mut points = points(&indexed.loops);
                points.iter_mut().zip(index).for_each(|(point, index)| point[indexed.axis] = index);
                let values = self.pick(&indexed.x, &points)?;
                self.put(&indexed.out, &indexed.loops, &values)
            }
            Work::Scatter(indexed, mode) => self.scatter(&kernel.label, indexed, *mode),
            Work::ArgReduce(function, along) => {
                let axis = along.loops.len().saturating_sub(1);
                self.along(along, Op::ArgReduce(*function, axis), true)
            }
            Work::CumSum(along) => self.along(along, Op::CumSum(along.loops.len().saturating_sub(1)), false),
            Work::ArgSort(descending, along) => {
                let axis = along.loops.len().saturating_sub(1);
                self.along(along, Op::ArgSort { axis, descending: *descending }, false)
            }
            Work::Unpack(unpack) => self.unpack(unpack),
            Work::Attention(attention) => self.attention(attention),
            Work::Custom(custom) => self.custom(custom),
        }
    }
}

/// The dtype that buffers of a place hold; that of what is handed over where there is no buffer.
fn held(program: &Program, place: BufferPlace, dtype: DType) -> DType {
    program.buffers.iter().find(|buffer| buffer.place == place).map_or(dtype, |buffer| buffer.dtype)
}
