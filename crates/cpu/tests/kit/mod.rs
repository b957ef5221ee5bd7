//! Programs written by hand, for tests: buffers and kernels in a line each.

#![allow(dead_code, reason = "each test uses some of it")]

use std::any::Any;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_compile::Program;
use kiln_compile::program::{
    AlongAxis, Buffer, BufferId, BufferPlace, Fused, Indexed, Instruction, Kernel, Operation, Store, View,
    Work,
};
use kiln_device::{Argument, Device, DeviceSettings, Executable, Host, HostMut, Memory, Output};
use kiln_ir::op::{Shared, VariableHandle};
use kiln_ir::{DType, Data, Result, Scalar, Shape};

/// Held by tests that set what is the whole process's: how many threads there are, what is checked.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The processor.
pub fn cpu() -> Arc<dyn Device> {
    kiln_cpu::open().unwrap().remove(0)
}

/// Sets how many threads it uses.
pub fn set_threads(threads: usize) {
    cpu().configure(DeviceSettings { threads, ..cpu().settings() }).unwrap();
}

/// Switches its hunt for what isn't finite.
pub fn check_finite(check_finite: bool) {
    cpu().configure(DeviceSettings { check_finite, ..cpu().settings() }).unwrap();
}

/// A program that is being written.
pub struct Build(pub Program);

/// A variable of tests.
#[derive(Debug)]
struct Named(String, Shape, DType);

impl VariableHandle for Named {
    fn name(&self) -> String {
        self.0.clone()
    }
    fn shape(&self) -> &Shape {
        &self.1
    }
    fn dtype(&self) -> DType {
        self.2
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Build {
    pub fn new() -> Build {
        Build(Program::default())
    }

    fn buffer(&mut self, place: BufferPlace, dtype: DType, elements: usize) -> BufferId {
        self.0.buffers.push(Buffer { place, dtype, elements });
        self.0.buffers.len() - 1
    }

    /// An argument.
    pub fn input(&mut self, shape: &[usize], dtype: DType) -> BufferId {
        self.0.inputs.push((shape.into(), dtype));
        self.buffer(BufferPlace::Input(self.0.inputs.len() - 1), dtype, shape.iter().product())
    }

    /// An output.
    pub fn output(&mut self, shape: &[usize], dtype: DType) -> BufferId {
        self.0.outputs.push((shape.into(), dtype));
        self.buffer(BufferPlace::Output(self.0.outputs.len() - 1), dtype, shape.iter().product())
    }

    /// A variable, and whether the program writes it.
    pub fn variable(&mut self, name: &str, shape: &[usize], dtype: DType, written: bool) -> BufferId {
        self.0.variables.push(Shared(Arc::new(Named(name.into(), shape.into(), dtype))));
        self.0.written.push(written);
        self.buffer(BufferPlace::Variable(self.0.variables.len() - 1), dtype, shape.iter().product())
    }

    /// A temporary of its own.
    pub fn arena(&mut self, dtype: DType, elements: usize) -> BufferId {
        let offset = self.0.arena;
        self.0.arena += (elements * dtype.size()).next_multiple_of(64);
        self.buffer(BufferPlace::Arena(offset), dtype, elements)
    }

    /// A view of a buffer from its first element.
    pub fn view(&self, buffer: BufferId, strides: &[isize]) -> View {
        self.view_at(buffer, 0, strides)
    }

    /// A view of a buffer.
    pub fn view_at(&self, buffer: BufferId, offset: isize, strides: &[isize]) -> View {
        let dtype = self.0.buffers[buffer].dtype;
        View { buffer, dtype, offset, strides: strides.to_vec() }
    }

    /// Adds a kernel, at the caller's line.
    #[track_caller]
    pub fn kernel(&mut self, label: &str, work: Work) -> &mut Build {
        let at = Some(Location::caller());
        self.0.kernels.push(Kernel {
            work,
            label: label.into(),
            at,
            operations: 0,
            bytes: 0,
            blocks: 1,
            ordered: true,
        });
        self
    }

    pub fn load(&self) -> Result<Box<dyn Executable>> {
        cpu().load(Arc::new(self.0.clone()))
    }

    /// Loads and runs once, without variables; the outputs.
    pub fn run(&self, inputs: &[&Data]) -> Result<Vec<Data>> {
        run(&mut *self.load()?, &self.0, inputs, &[])
    }
}

/// Runs once; the outputs.
pub fn run(
    executable: &mut dyn Executable,
    program: &Program,
    inputs: &[&Data],
    variables: &[Arc<dyn Memory>],
) -> Result<Vec<Data>> {
    let filled = |(shape, dtype): &(Shape, DType)| Data::filled(*dtype, shape.elements(), Scalar::Int(0));
    let mut outputs: Vec<Data> = program.outputs.iter().map(filled).collect();
    let inputs: Vec<Argument> = inputs.iter().map(|data| Argument::of(data)).collect();
    let mut targets: Vec<Output> = outputs.iter_mut().map(Output::of).collect();
    executable.run(&inputs, variables, &mut targets)?;
    drop(targets);
    Ok(outputs)
}

/// A variable's memory with these numbers.
pub fn memory(values: &[f32]) -> Arc<dyn Memory> {
    let memory = cpu().allocate(size_of_val(values)).unwrap();
    memory.write(Host::new(values).bytes()).unwrap();
    memory
}

/// What a variable's memory holds.
pub fn numbers(memory: &Arc<dyn Memory>) -> Vec<f32> {
    let mut values = vec![0f32; memory.bytes() / 4];
    memory.read(HostMut::new(&mut values).bytes()).unwrap();
    values
}

pub fn full(operation: Operation, dtype: DType) -> Instruction {
    Instruction { operation, dtype, full: true }
}

pub fn kept(operation: Operation, dtype: DType) -> Instruction {
    Instruction { operation, dtype, full: false }
}

/// Pointwise work over loops of which none is reduced.
pub fn pointwise(
    loops: &[usize],
    loads: Vec<View>,
    body: Vec<Instruction>,
    stores: Vec<(usize, View)>,
) -> Fused {
    Fused {
        loops: loops.to_vec(),
        reduced: vec![false; loops.len()],
        loads,
        body,
        stores: stores.into_iter().map(|(value, view)| Store { value, view }).collect(),
    }
}

/// The epilogue that stores the product as it is.
pub fn plain(loops: &[usize], accumulator: DType, out: View) -> Fused {
    pointwise(loops, vec![], vec![full(Operation::Accumulator, accumulator)], vec![(0, out)])
}

pub fn indexed(loops: &[usize], axis: usize, size: usize, x: View, index: View, out: View) -> Indexed {
    Indexed { loops: loops.to_vec(), axis, size, x, index, out }
}

pub fn along(loops: &[usize], x: View, out: View) -> AlongAxis {
    AlongAxis { loops: loops.to_vec(), x, out }
}

/// Row-major strides.
pub fn row_major(sizes: &[usize]) -> Vec<isize> {
    Shape::from(sizes).strides()
}
