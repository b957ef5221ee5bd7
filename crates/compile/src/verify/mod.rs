//! What must hold of a program before it may run on a target: every element a kernel touches lies inside of its buffer,
//! every buffer inside of its memory, nothing is written that the same kernel reads or writes elsewhere, and the target has
//! what it takes. The compiler checks its own work in debug builds and tests; a device whose kernels follow raw pointers
//! checks every program that it loads.

mod accesses;
mod body;
mod hoisted;
mod overlap;
mod repeats;

use crate::program::{BufferPlace, Kernel, Program, View};
use kiln_ir::{DType, Error, ErrorKind, Result};

use crate::target::Target;

pub use accesses::{Access, accesses};

/// A rule that doesn't hold, in words.
pub type Violation = String;

/// Checks all of a program.
///
/// # Errors
/// What is wrong with it, and where.
pub fn program(program: &Program, target: &Target) -> Result<()> {
    let fail = |message: Violation| Error::new(ErrorKind::Device, "load", message).nowhere();
    if program.written.len() != program.variables.len() {
        return Err(fail("`written` and `variables` differ in length".into()));
    }
    repeats::check(program).map_err(fail)?;
    for (id, _) in program.buffers.iter().enumerate() {
        buffer(program, id, target).map_err(|what| fail(format!("buffer {id}: {what}")))?;
    }
    for (position, each) in program.kernels.iter().enumerate() {
        kernel(program, each, target)
            .map_err(|what| fail(format!("kernel {position} ({}): {what}", each.label)))?;
    }
    hoisted::check(program).map_err(fail)
}

fn buffer(program: &Program, id: usize, target: &Target) -> Result<(), Violation> {
    let buffer = &program.buffers[id];
    if !target.stores.contains(&buffer.dtype) {
        return Err(format!("{} doesn't store {}", target.name, buffer.dtype));
    }
    let bytes = buffer
        .elements
        .checked_mul(buffer.dtype.size())
        .filter(|&bytes| bytes <= isize::MAX as usize)
        .ok_or("too large")?;
    let is = |what: &str, elements: usize, dtype: DType| {
        if buffer.dtype != target.stored(dtype).unwrap_or(dtype) || buffer.elements != elements {
            let (has, of) = (buffer.elements, buffer.dtype);
            return Err(format!("{has} elements of {of}, but {what} has {elements} of {dtype}"));
        }
        Ok(())
    };
    match buffer.place {
        BufferPlace::Input(i) => {
            let (shape, dtype) = program.inputs.get(i).ok_or_else(|| format!("there is no input {i}"))?;
            is(&format!("input {i}"), shape.elements(), *dtype)
        }
        BufferPlace::Output(i) => {
            let (shape, dtype) = program.outputs.get(i).ok_or_else(|| format!("there is no output {i}"))?;
            is(&format!("output {i}"), shape.elements(), *dtype)
        }
        BufferPlace::Variable(i) => {
            let variable = program.variables.get(i).ok_or_else(|| format!("there is no variable {i}"))?;
            is(&format!("variable {i}"), variable.shape().elements(), variable.dtype())
        }
        BufferPlace::Arena(offset) => {
            if !offset.is_multiple_of(target.alignment) {
                return Err(format!("its offset {offset} isn't a multiple of {}", target.alignment));
            }
            match offset.checked_add(bytes) {
                Some(end) if end <= program.arena => Ok(()),
                _ => Err(format!("{bytes} bytes from {offset} leave the arena of {}", program.arena)),
            }
        }
        BufferPlace::Slice { of, start, step } => repeats::slice(program, id, of, (start, step)),
    }
}

fn kernel(program: &Program, kernel: &Kernel, target: &Target) -> Result<(), Violation> {
    body::check(&kernel.work, target)?;
    let buffers = kernel.work.buffers().len();
    if buffers > target.most_bindings {
        return Err(format!("{buffers} buffers are more than {}", target.most_bindings));
    }
    let accesses = accesses(&kernel.work)?;
    let mut touched = Vec::with_capacity(accesses.len());
    for access in &accesses {
        if access.sizes.len() > target.most_loops {
            return Err(format!("{} loops are more than {}", access.sizes.len(), target.most_loops));
        }
        let range = reach(program, access).map_err(|what| format!("{}: {what}", access.role))?;
        if access.write {
            writable(program, access.view).map_err(|what| format!("{}: {what}", access.role))?;
        }
        touched.push(range);
    }
    overlap::check(program, &accesses, &touched)
}

fn writable(program: &Program, view: &View) -> Result<(), Violation> {
    match program.buffers[program.root(view.buffer)].place {
        BufferPlace::Input(i) => Err(format!("input {i} is read only")),
        BufferPlace::Variable(i) if !program.written[i] => {
            Err(format!("variable {i} isn't listed as written"))
        }
        _ => Ok(()),
    }
}

/// The first and one past the last element an access touches (equal where it touches none).
fn reach(program: &Program, access: &Access) -> Result<(usize, usize), Violation> {
    let View { buffer, dtype, offset, strides } = access.view;
    let buffer = program.buffers.get(*buffer).ok_or_else(|| format!("there is no buffer {buffer}"))?;
    if buffer.dtype != *dtype {
        return Err(format!("a view of {dtype} into a buffer of {}", buffer.dtype));
    }
    if strides.len() != access.sizes.len() {
        return Err(format!("{} strides for {} loops", strides.len(), access.sizes.len()));
    }
    let points = access.sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    if points.is_none() && !access.sizes.contains(&0) {
        return Err("its loops have more points than can be counted".into());
    }
    if access.sizes.contains(&0) {
        return Ok((0, 0));
    }
    let (mut low, mut high) = (*offset as i128, *offset as i128);
    for (&size, &stride) in access.sizes.iter().zip(strides) {
        let span = (size as i128 - 1) * stride as i128;
        if span < 0 { low += span } else { high += span }
    }
    if low < 0 || high >= buffer.elements as i128 {
        let elements = buffer.elements;
        return Err(format!("it reaches from element {low} to {high} of a buffer of {elements}"));
    }
    Ok((low as usize, high as usize + 1))
}
