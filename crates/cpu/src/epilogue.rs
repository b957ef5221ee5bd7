//! The commonest epilogue, done where the sums still are in registers: `clamp(sum · scale + shift + other, low, high)`, with a scale
//! and a shift for each column and another value for each element. A bias, a norm's scale and shift, a residual connection,
//! `relu` and clipping are that; `silu` of it is done behind, while it is in the first cache. Whatever else follows a product is interpreted.

use std::ops::Range;

use kiln_compile::program::{Fused, Operation, View};
use kiln_ir::op::{BinaryOp, UnaryOp};
use kiln_ir::{DType, Scalar};

use super::bases::Bases;
use super::fused::math;
use super::simd::{Level, Simd, Vector, one_chunk_at_a_time, stamp};

/// Such an epilogue of a program.
#[derive(Clone, Debug)]
pub(crate) struct EpiloguePattern {
    scale: Option<View>,
    shift: Option<View>,
    other: Option<StridedRows>,
    out: StridedRows,
    low: f32,
    high: f32,
    unsigned_zero: bool,
    silu: bool,
}

/// A view whose rows are equally far apart and whose columns are contiguous.
#[derive(Clone, Debug)]
struct StridedRows {
    view: View,
    stride: isize,
}

/// A pattern in a run: where everything is. A scale or shift that isn't there is null.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue {
    /// For each column.
    pub(crate) scale: *const f32,
    pub(crate) shift: *const f32,
    /// For each element, and how far its rows are apart.
    pub(crate) other: *const f32,
    pub(crate) other_stride: isize,
    /// The result, and how far its rows are apart.
    pub(crate) out: *mut f32,
    pub(crate) stride: isize,
    pub(crate) low: f32,
    pub(crate) high: f32,
    /// Whether a negative zero becomes a positive one: `max(sum, 0)` gives its second operand where both are equal.
    pub(crate) unsigned_zero: bool,
    /// Whether `silu` follows: [`Epilogue::activate`] does it.
    pub(crate) silu: bool,
    /// The instructions it is done with where sums are in memory.
    level: Level,
}

/// What an instruction of an epilogue is, so far as it is understood.
#[derive(Clone)]
enum Recognised {
    Number(f32),
    Column(View),
    Element(StridedRows),
    Sum {
        scale: Option<View>,
        shift: Option<View>,
        other: Option<StridedRows>,
        low: f32,
        high: f32,
        unsigned_zero: bool,
    },
    /// Of an instruction.
    Sigmoid(usize),
    Silu(usize),
}

impl EpiloguePattern {
    /// The pattern of an epilogue, if it is one.
    pub(super) fn of(epilogue: &Fused) -> Option<EpiloguePattern> {
        let last = epilogue.loops.len().checked_sub(1)?;
        let rows = |view: &View| {
            let outer = &view.strides[..last];
            let nested = (1..last).all(|d| outer[d - 1] == outer[d] * epilogue.loops[d] as isize);
            let contiguous = view.strides[last] == 1 && view.dtype == DType::F32;
            (nested && contiguous)
                .then(|| StridedRows { view: view.clone(), stride: outer.last().copied().unwrap_or(0) })
        };
        let load = |view: &View| {
            let rows = rows(view)?;
            Some(match view.strides[..last].iter().all(|&stride| stride == 0) {
                true => Recognised::Column(rows.view),
                false => Recognised::Element(rows),
            })
        };
        let mut values: Vec<Recognised> = Vec::with_capacity(epilogue.body.len());
        for instruction in &epilogue.body {
            if instruction.dtype != DType::F32 {
                return None;
            }
            values.push(match &instruction.operation {
                Operation::Accumulator => Recognised::Sum {
                    scale: None,
                    shift: None,
                    other: None,
                    low: f32::NEG_INFINITY,
                    high: f32::INFINITY,
                    unsigned_zero: false,
                },
                Operation::Load(position) => load(&epilogue.loads[*position])?,
                Operation::Literal(Scalar::Float(number)) => Recognised::Number(*number as f32),
                Operation::Unary(UnaryOp::Sigmoid, x) => Recognised::Sigmoid(*x),
                Operation::Unary(op, x) => {
                    (*op == UnaryOp::Relu).then(|| values[*x].clone())?.at_least(0.0)?
                }
                Operation::Binary(op, a, b) => {
                    let gate =
                        |gate: usize, x: usize| matches!(values[gate], Recognised::Sigmoid(of) if of == x);
                    let silu = *op == BinaryOp::Mul && (gate(*a, *b) || gate(*b, *a));
                    let plain = if gate(*a, *b) { *b } else { *a };
                    let (a, b) = (&values[*a], &values[*b]);
                    let sum_first = matches!(a, Recognised::Sum { .. });
                    let (sum, with) = if sum_first { (a.clone(), b) } else { (b.clone(), a) };
                    if silu {
                        Recognised::Silu(plain)
                    } else if let (BinaryOp::Mul, Recognised::Column(view)) = (op, with) {
                        sum.scaled(view)?
                    } else if let (BinaryOp::Add, Recognised::Column(view)) = (op, with) {
                        sum.shifted(view)?
                    } else if let (BinaryOp::Add, Recognised::Element(rows)) = (op, with) {
                        sum.plus(rows)?
                    } else if let (BinaryOp::Max, Recognised::Number(number)) = (op, with) {
                        sum.equals(*number, sum_first)?.at_least(*number)?
                    } else if let (BinaryOp::Min, Recognised::Number(number)) = (op, with) {
                        sum.equals(*number, sum_first)?.at_most(*number)?
                    } else {
                        return None;
                    }
                }
                Operation::Literal(Scalar::Int(_) | Scalar::Bool(_))
                | Operation::Index(_)
                | Operation::Select(..)
                | Operation::Cast(_)
                | Operation::Reduce(..) => return None,
            });
        }
        let [store] = epilogue.stores.as_slice() else { return None };
        let (silu, value) = match values.get(store.value)? {
            Recognised::Silu(plain) => (true, &values[*plain]),
            value => (false, value),
        };
        let Recognised::Sum { scale, shift, other, low, high, unsigned_zero } = value.clone() else {
            return None;
        };
        Some(EpiloguePattern { scale, shift, other, out: rows(&store.view)?, low, high, unsigned_zero, silu })
    }

    /// Where everything is in this run.
    pub(super) fn at(&self, bases: &Bases, level: Level) -> Epilogue {
        let start = |view: &View| bases.origin::<f32>(view);
        let or_null = |view: Option<&View>| view.map_or(std::ptr::null(), |view| start(view).cast_const());
        Epilogue {
            scale: or_null(self.scale.as_ref()),
            shift: or_null(self.shift.as_ref()),
            other: or_null(self.other.as_ref().map(|other| &other.view)),
            other_stride: self.other.as_ref().map_or(0, |other| other.stride),
            out: start(&self.out.view),
            stride: self.out.stride,
            low: self.low,
            high: self.high,
            unsigned_zero: self.unsigned_zero,
            silu: self.silu,
            level,
        }
    }
}

impl Recognised {
    fn scaled(mut self, by: &View) -> Option<Recognised> {
        match &mut self {
            Recognised::Sum { scale, shift: None, other: None, low, high, .. }
                if scale.is_none() && is_open(*low, *high) =>
            {
                *scale = Some(by.clone());
            }
            _ => return None,
        }
        Some(self)
    }

    fn shifted(mut self, by: &View) -> Option<Recognised> {
        match &mut self {
            // What was added first stays first: the order decides how the sum is rounded.
            Recognised::Sum { shift, other: None, low, high, .. }
                if shift.is_none() && is_open(*low, *high) =>
            {
                *shift = Some(by.clone());
            }
            _ => return None,
        }
        Some(self)
    }

    fn plus(mut self, rows: &StridedRows) -> Option<Recognised> {
        match &mut self {
            Recognised::Sum { other, low, high, .. } if other.is_none() && is_open(*low, *high) => {
                *other = Some(rows.clone());
            }
            _ => return None,
        }
        Some(self)
    }

    /// Before it is clamped at a number: which zero comes of a sum that equals it. The later operand does.
    fn equals(mut self, number: f32, sum_first: bool) -> Option<Recognised> {
        if number != 0.0 {
            return Some(self);
        }
        let Recognised::Sum { unsigned_zero, .. } = &mut self else { return None };
        number.is_sign_positive().then_some(())?;
        *unsigned_zero |= sum_first;
        Some(self)
    }

    fn at_least(mut self, number: f32) -> Option<Recognised> {
        let Recognised::Sum { low, high, .. } = &mut self else { return None };
        (!number.is_nan()).then_some(())?;
        (*low, *high) = (low.max(number), high.max(number));
        Some(self)
    }

    fn at_most(mut self, number: f32) -> Option<Recognised> {
        let Recognised::Sum { low, high, .. } = &mut self else { return None };
        (!number.is_nan()).then_some(())?;
        (*low, *high) = (low.min(number), high.min(number));
        Some(self)
    }
}

/// Whether nothing is clamped yet.
fn is_open(low: f32, high: f32) -> bool {
    low == f32::NEG_INFINITY && high == f32::INFINITY
}

impl Epilogue {
    /// The same from a row and a column on.
    pub(crate) fn from(&self, row: usize, column: usize) -> Epilogue {
        let column = column as isize;
        Epilogue {
            scale: if self.scale.is_null() { self.scale } else { self.scale.wrapping_offset(column) },
            shift: if self.shift.is_null() { self.shift } else { self.shift.wrapping_offset(column) },
            other: match self.other.is_null() {
                true => self.other,
                false => self.other.wrapping_offset(row as isize * self.other_stride + column),
            },
            out: self.out.wrapping_offset(row as isize * self.stride + column),
            ..*self
        }
    }

    /// Finishes a block of sums, `stride` from row to row.
    ///
    /// # Safety
    /// The sums are there; everything the pattern names has its rows and columns, and nobody else writes them.
    pub(crate) unsafe fn apply(
        &self,
        sums: *const f32,
        stride: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) {
        let from = self.from(rows.start, columns.start);
        // SAFETY: the caller's promise; the copy is one this machine can run.
        unsafe { APPLY.at(self.level)(&from, sums, stride, rows.len(), columns.len()) }
    }
}

stamp! {
    static APPLY: fn(epilogue: &Epilogue, sums: *const f32, stride: usize, rows: usize, columns: usize)
        = apply::<Here>;
}

stamp! {
    static ACTIVATE: fn(first: *mut f32, rows: &[isize], columns: usize) = activate::<Here>;
}

/// # Safety
/// As [`Epilogue::activate`]; the machine has the level's instructions.
#[inline(always)]
unsafe fn activate<S: Simd>(first: *mut f32, rows: &[isize], columns: usize) {
    for &row in rows {
        // SAFETY: the caller's promise.
        unsafe { silu::<S>(first.wrapping_offset(row), columns) };
    }
}

/// Replaces so many numbers by their `silu`.
///
/// # Safety
/// They are there, nobody else uses them, and the machine has the level's instructions.
#[inline(always)]
pub(crate) unsafe fn silu<S: Simd>(numbers: *mut f32, count: usize) {
    for at in (0..count).step_by(S::F32::LANES) {
        let (here, left) = (numbers.wrapping_add(at), count - at);
        // SAFETY: the caller's promise; no register has more than 16 lanes.
        unsafe {
            let x = if left < S::F32::LANES { S::F32::load_first(here, left) } else { S::F32::load(here) };
            let mut lanes = [0f32; 16];
            x.store(lanes.as_mut_ptr());
            for x in &mut lanes[..S::F32::LANES] {
                *x *= math::sigmoid::<S>(*x);
            }
            one_chunk_at_a_time();
            let y = S::F32::load(lanes.as_ptr());
            if left < S::F32::LANES { y.store_first(here, left) } else { y.store(here) }
        }
    }
}

/// # Safety
/// As [`Epilogue::apply`]; the machine has the vector's instructions.
#[inline(always)]
unsafe fn apply<S: Simd>(epilogue: &Epilogue, sums: *const f32, stride: usize, rows: usize, columns: usize) {
    for row in 0..rows {
        let line = epilogue.from(row, 0);
        let sums = sums.wrapping_add(row * stride);
        let lanes = S::F32::LANES;
        for at in (0..columns).step_by(lanes) {
            let count = lanes.min(columns - at);
            // SAFETY: the caller's promise: so many elements are there.
            unsafe {
                let load = |from: *const f32| match count == lanes {
                    true => S::F32::load(from.wrapping_add(at)),
                    false => S::F32::load_first(from.wrapping_add(at), count),
                };
                let value = line.of_columns(load).finished(load(sums), || load(line.other));
                match count == lanes {
                    true => value.store(line.out.wrapping_add(at)),
                    false => value.store_first(line.out.wrapping_add(at), count),
                }
            }
        }
        if epilogue.silu {
            // SAFETY: as above: these are what was just stored.
            unsafe { silu::<S>(line.out, columns) };
        }
    }
}

impl Epilogue {
    /// Does to stored results what isn't done in registers: columns from `first` on, in rows so far from there.
    ///
    /// # Safety
    /// They are there, and nobody else uses them.
    pub(crate) unsafe fn activate(&self, first: *mut f32, rows: &[isize], columns: usize) {
        if self.silu {
            // SAFETY: the caller's promise; the copy is one this machine can run.
            unsafe { ACTIVATE.at(self.level)(first, rows, columns) }
        }
    }

    /// What it does to one register of columns, whatever the row. `load` reads those columns of a scale or shift.
    ///
    /// # Safety
    /// What the pattern names is there; the machine has the vector's instructions.
    #[inline(always)]
    pub(crate) unsafe fn of_columns<V: Vector<Number = f32>>(
        &self,
        load: impl Fn(*const f32) -> V,
    ) -> ColumnEpilogue<V> {
        // SAFETY: the caller's promise.
        unsafe {
            ColumnEpilogue {
                scale: if self.scale.is_null() { V::splat(1.0) } else { load(self.scale) },
                shift: if self.shift.is_null() { V::splat(-0.0) } else { load(self.shift) },
                zero: V::splat(if self.unsigned_zero { 0.0 } else { -0.0 }),
                added: !self.other.is_null(),
                low: self.low,
                high: self.high,
            }
        }
    }
}

/// An epilogue for one register of columns, so that its rows don't ask again what it has. What it hasn't is a number that leaves any sum
/// as it is: one as a scale, negative zero as a summand (a positive one would turn a negative sum of zero around).
#[derive(Clone, Copy)]
pub(crate) struct ColumnEpilogue<V> {
    scale: V,
    shift: V,
    /// A positive zero where a negative sum of zero becomes one.
    zero: V,
    added: bool,
    low: f32,
    high: f32,
}

impl<V: Vector<Number = f32>> ColumnEpilogue<V> {
    /// What becomes of a register of sums before it is activated; `other` reads its elements of what is added. The same arithmetic as an
    /// interpreted epilogue has: each operation rounds for itself.
    ///
    /// # Safety
    /// As [`Epilogue::of_columns`].
    #[inline(always)]
    pub(crate) unsafe fn finished(&self, sum: V, other: impl Fn() -> V) -> V {
        // SAFETY: the caller's promise.
        unsafe {
            let sum = sum.multiply_add(self.scale, V::splat(-0.0)).plus(self.shift);
            let sum = if self.added { sum.plus(other()) } else { sum };
            sum.plus(self.zero).clamp(self.low, self.high)
        }
    }
}

#[cfg(test)]
#[path = "epilogue_tests.rs"]
mod tests;
