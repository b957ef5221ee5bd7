//! The search for the first `NaN` or infinity: after each kernel, what it stored is looked at.
//!
//! A `NaN` always ends the run. An infinity does unless it was there before: a mask's −∞ is meant, so a kernel with an
//! infinite literal may store infinities, and so may one that reads a buffer in which infinities were let pass.

use kiln_compile::Program;
use kiln_compile::program::{BufferPlace, Fused, Kernel, Operation, View, Work};
use kiln_compile::verify::accesses;
use kiln_ir::half::{bf16, f16};
use kiln_ir::{DType, Error, ErrorKind, Result};

use super::bases::Bases;

/// What is looked at after a kernel.
#[derive(Debug)]
struct CheckedStore {
    view: View,
    sizes: Vec<usize>,
    role: String,
}

/// What is looked at during a run of a program, and what was let pass in it.
#[derive(Debug)]
pub(super) struct FiniteCheck {
    kernels: Vec<Vec<CheckedStore>>,
    reads: Vec<Vec<usize>>,
    forgiven: Vec<bool>,
    /// Buffers that infinities were let pass in.
    infinite: Vec<bool>,
}

impl FiniteCheck {
    pub(super) fn new(program: &Program) -> FiniteCheck {
        FiniteCheck {
            kernels: program.kernels.iter().map(checked).collect(),
            reads: program
                .kernels
                .iter()
                .map(|k| k.work.reads().iter().map(|view| program.root(view.buffer)).collect())
                .collect(),
            forgiven: program.kernels.iter().map(has_infinite_literal).collect(),
            infinite: vec![false; program.buffers.len()],
        }
    }

    /// Looks at the arguments and at the variables as they are before the run.
    ///
    /// # Safety
    /// The bases of inputs and variables are set, and nobody writes to them.
    pub(super) unsafe fn begin(&mut self, program: &Program, bases: &Bases) -> Result<()> {
        for (id, buffer) in program.buffers.iter().enumerate() {
            self.infinite[id] = false;
            let (BufferPlace::Input(_) | BufferPlace::Variable(_)) = buffer.place else {
                continue;
            };
            let whole = View { buffer: id, dtype: buffer.dtype, offset: 0, strides: vec![1] };
            // SAFETY: a buffer has as many elements as it says.
            let Some(found) = (unsafe { search(&whole, &[buffer.elements], bases, true) }) else {
                continue;
            };
            if found.value.is_nan() {
                let message =
                    format!("{} before the run: element {}", name(program, id, "holds a NaN"), found.element);
                return Err(Error::new(ErrorKind::NonFinite, "run", message).nowhere());
            }
            self.infinite[id] = true;
        }
        Ok(())
    }

    /// Looks at what kernel `position` stored.
    ///
    /// # Safety
    /// As for running the kernel.
    pub(super) unsafe fn look(&mut self, program: &Program, position: usize, bases: &Bases) -> Result<()> {
        let kernel = &program.kernels[position];
        let excused = self.forgiven[position] || self.reads[position].iter().any(|&id| self.infinite[id]);
        for checked in &self.kernels[position] {
            let id = checked.view.buffer;
            // SAFETY: the view was checked when the program was loaded.
            let found = unsafe { search(&checked.view, &checked.sizes, bases, excused) };
            self.infinite[program.root(id)] = found.is_some_and(|found| !found.value.is_nan());
            let Some(found) = found.filter(|found| found.value.is_nan() || !excused) else {
                continue;
            };
            let into = name(program, id, "");
            let (role, element, value) = (&checked.role, found.element, found.value);
            let mut error = Error::new(
                ErrorKind::NonFinite,
                kernel.label.clone(),
                format!(
                    "its {role} put {value} into element {element} of {into}, the first that isn't finite"
                ),
            )
            .nowhere();
            error.at = kernel.at;
            return Err(error);
        }
        Ok(())
    }
}

fn checked(kernel: &Kernel) -> Vec<CheckedStore> {
    let Ok(accesses) = accesses(&kernel.work) else {
        return Vec::new();
    };
    let writes: Vec<_> = accesses.into_iter().filter(|access| access.write).collect();
    let many = writes.len() > 1;
    writes
        .into_iter()
        .enumerate()
        .filter(|(_, access)| access.view.dtype.is_float())
        .map(|(number, access)| CheckedStore {
            view: access.view.clone(),
            sizes: access.sizes.to_vec(),
            role: if many { format!("{} {number}", access.role) } else { access.role.to_string() },
        })
        .collect()
}

fn has_infinite_literal(kernel: &Kernel) -> bool {
    let infinite = |fused: &Fused| {
        let literal =
            |operation: &Operation| matches!(operation, Operation::Literal(s) if s.as_f64().is_infinite());
        fused.body.iter().any(|instruction| literal(&instruction.operation))
    };
    match &kernel.work {
        Work::Fused(fused) => infinite(fused),
        Work::Matmul(matmul) => infinite(&matmul.epilogue),
        Work::Conv(conv) => infinite(&conv.epilogue),
        Work::Window(_)
        | Work::Gather(_)
        | Work::Scatter(..)
        | Work::ArgReduce(..)
        | Work::CumSum(_)
        | Work::Unpack(_)
        | Work::Attention(_)
        | Work::ArgSort(..)
        | Work::Custom(_) => false,
    }
}

/// A buffer in words: `variable 3 (fc1.weight)`.
fn name(program: &Program, id: usize, verb: &str) -> String {
    let space = if verb.is_empty() { "" } else { " " };
    match program.buffers[id].place {
        BufferPlace::Input(i) => format!("argument {i}{space}{verb}"),
        BufferPlace::Output(i) => format!("output {i}{space}{verb}"),
        BufferPlace::Arena(_) | BufferPlace::Slice { .. } => {
            format!("temporary {}{space}{verb}", program.buffer_name(id))
        }
        BufferPlace::Variable(i) => match program.variables[i].name() {
            name if name.is_empty() => format!("variable {i}{space}{verb}"),
            name => format!("variable {i} ({name}){space}{verb}"),
        },
    }
}

#[derive(Clone, Copy)]
struct Found {
    /// The element's position in its buffer.
    element: usize,
    value: f64,
}

/// The first element that isn't finite; with `only_nan`, the first `NaN`, or if there is none, the first infinity.
///
/// # Safety
/// The view with these sizes lies inside of its buffer, which `bases` knows, and nobody writes to it.
unsafe fn search(view: &View, sizes: &[usize], bases: &Bases, only_nan: bool) -> Option<Found> {
    let mut infinite = None;
    // SAFETY: the element is one of the view's.
    let read = |element: isize| unsafe {
        let base = bases.start(view.buffer);
        match view.dtype {
            DType::F16 => f64::from(base.cast::<f16>().offset(element).read()),
            DType::Bf16 => f64::from(base.cast::<bf16>().offset(element).read()),
            DType::F32 => f64::from(base.cast::<f32>().offset(element).read()),
            DType::F64 => base.cast::<f64>().offset(element).read(),
            DType::Bool | DType::U8 | DType::U16 | DType::I32 | DType::I64 => 0.0,
        }
    };
    if !view.dtype.is_float() {
        return None;
    }
    let mut visit = |element: isize| -> Option<Found> {
        let value = read(element);
        if value.is_finite() {
            return None;
        }
        let found = Found { element: element as usize, value };
        if value.is_nan() || !only_nan {
            return Some(found);
        }
        infinite.get_or_insert(found);
        None
    };
    fn walk(
        at: isize,
        sizes: &[usize],
        strides: &[isize],
        visit: &mut impl FnMut(isize) -> Option<Found>,
    ) -> Option<Found> {
        match (sizes, strides) {
            ([size], [stride]) => (0..*size as isize).find_map(|i| visit(at + i * stride)),
            ([size, sizes @ ..], [stride, strides @ ..]) => {
                (0..*size as isize).find_map(|i| walk(at + i * stride, sizes, strides, visit))
            }
            _ => visit(at),
        }
    }
    let found = walk(view.offset, sizes, &view.strides, &mut visit);
    found.or(infinite)
}
