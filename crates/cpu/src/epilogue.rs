//! The commonest epilogue, done where the sums still are in registers: `clamp(sum · scale + shift + other, low, high)`, with a scale
//! and a shift for each column and another value for each element. A bias, a norm's scale and shift, a residual connection,
//! `relu` and clipping are that; whatever else follows a product is interpreted.

use std::ops::Range;

use kiln_compile::program::{Fused, Operation, View};
use kiln_ir::op::{BinaryOp, UnaryOp};
use kiln_ir::{DType, Scalar};

use super::bases::Bases;
use super::simd::{level, stamp};

/// Such an epilogue of a program.
#[derive(Clone, Debug)]
pub(crate) struct EpiloguePattern {
    scale: Option<View>,
    shift: Option<View>,
    other: Option<StridedRows>,
    out: StridedRows,
    low: f32,
    high: f32,
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
}

/// What an instruction of an epilogue is, so far as it is understood.
#[derive(Clone)]
enum Recognised {
    Number(f32),
    Column(View),
    Element(StridedRows),
    Sum { scale: Option<View>, shift: Option<View>, other: Option<StridedRows>, low: f32, high: f32 },
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
                },
                Operation::Load(position) => load(&epilogue.loads[*position])?,
                Operation::Literal(Scalar::Float(number)) => Recognised::Number(*number as f32),
                Operation::Unary(op, x) => {
                    (*op == UnaryOp::Relu).then(|| values[*x].clone())?.at_least(0.0)?
                }
                Operation::Binary(op, a, b) => {
                    let (a, b) = (&values[*a], &values[*b]);
                    let sum_first = matches!(a, Recognised::Sum { .. });
                    let (sum, with) = if sum_first { (a.clone(), b) } else { (b.clone(), a) };
                    if let (BinaryOp::Mul, Recognised::Column(view)) = (op, with) {
                        sum.scaled(view)?
                    } else if let (BinaryOp::Add, Recognised::Column(view)) = (op, with) {
                        sum.shifted(view)?
                    } else if let (BinaryOp::Add, Recognised::Element(rows)) = (op, with) {
                        sum.plus(rows)?
                    } else if let (BinaryOp::Max, Recognised::Number(number)) = (op, with) {
                        sum.at_least(*number)?
                    } else if let (BinaryOp::Min, Recognised::Number(number)) = (op, with) {
                        sum.at_most(*number)?
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
        let Recognised::Sum { scale, shift, other, low, high } = values.get(store.value)?.clone() else {
            return None;
        };
        Some(EpiloguePattern { scale, shift, other, out: rows(&store.view)?, low, high })
    }

    /// Where everything is in this run.
    pub(super) fn at(&self, bases: &Bases) -> Epilogue {
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
        }
    }
}

impl Recognised {
    fn scaled(mut self, by: &View) -> Option<Recognised> {
        match &mut self {
            Recognised::Sum { scale, shift: None, other: None, low, high }
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
            Recognised::Sum { shift, low, high, .. } if shift.is_none() && is_open(*low, *high) => {
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
        unsafe { APPLY.at(level())(&from, sums, stride, rows.len(), columns.len()) }
    }
}

stamp! {
    static APPLY: fn(epilogue: &Epilogue, sums: *const f32, stride: usize, rows: usize, columns: usize) = apply::<LANES>;
}

/// # Safety
/// As [`Epilogue::apply`].
#[inline(always)]
unsafe fn apply<const LANES: usize>(
    epilogue: &Epilogue,
    sums: *const f32,
    stride: usize,
    rows: usize,
    columns: usize,
) {
    let whole = columns - columns % LANES;
    for row in 0..rows {
        let line = epilogue.from(row, 0);
        let sums = sums.wrapping_add(row * stride);
        // SAFETY: the caller's promise: so many elements are there.
        unsafe {
            for at in (0..whole).step_by(LANES) {
                super::simd::one_chunk_at_a_time();
                line.chunk::<LANES>(sums, at);
            }
            for at in whole..columns {
                line.chunk::<1>(sums, at);
            }
        }
    }
}

impl Epilogue {
    /// # Safety
    /// `LANES` elements are there from the column `at` on.
    #[inline(always)]
    unsafe fn chunk<const LANES: usize>(&self, sums: *const f32, at: usize) {
        let load = |from: *const f32| {
            // SAFETY: the caller's promise.
            unsafe { from.wrapping_add(at).cast::<[f32; LANES]>().read_unaligned() }
        };
        let mut values = load(sums);
        if !self.scale.is_null() {
            let scale = load(self.scale);
            for lane in 0..LANES {
                values[lane] *= scale[lane];
            }
        }
        if !self.shift.is_null() {
            let shift = load(self.shift);
            for lane in 0..LANES {
                values[lane] += shift[lane];
            }
        }
        if !self.other.is_null() {
            let other = load(self.other);
            for lane in 0..LANES {
                values[lane] += other[lane];
            }
        }
        for value in &mut values {
            *value = if *value < self.low { self.low } else { *value };
        }
        for value in &mut values {
            *value = if *value > self.high { self.high } else { *value };
        }
        // SAFETY: the caller's promise.
        unsafe { self.out.wrapping_add(at).cast::<[f32; LANES]>().write_unaligned(values) };
    }
}

#[cfg(test)]
mod tests {
    use kiln_compile::program::{Instruction, Store};

    use super::*;

    fn view(buffer: usize, strides: [isize; 2]) -> View {
        View { buffer, dtype: DType::F32, offset: 0, strides: strides.to_vec() }
    }

    /// An epilogue over 3 rows of 21 columns: buffer 0 the result, 1 for each column, 2 for each element.
    fn epilogue(operations: &[Operation]) -> Fused {
        let full = |operation: &Operation| Instruction {
            operation: operation.clone(),
            dtype: DType::F32,
            full: true,
        };
        Fused {
            loops: vec![3, 21],
            reduced: vec![false, false],
            loads: vec![view(1, [0, 1]), view(2, [21, 1])],
            body: operations.iter().map(full).collect(),
            stores: vec![Store { value: operations.len() - 1, view: view(0, [21, 1]) }],
        }
    }

    #[test]
    fn an_epilogue_that_is_understood_gives_what_it_says() {
        let literal = |number: f64| Operation::Literal(Scalar::Float(number));
        let pattern = EpiloguePattern::of(&epilogue(&[
            Operation::Accumulator,
            Operation::Load(0),
            Operation::Binary(BinaryOp::Mul, 1, 0),
            Operation::Load(1),
            Operation::Binary(BinaryOp::Add, 2, 3),
            Operation::Binary(BinaryOp::Add, 1, 4),
            literal(-0.5),
            Operation::Binary(BinaryOp::Max, 5, 6),
            literal(2.0),
            Operation::Binary(BinaryOp::Min, 8, 7),
        ]))
        .unwrap();
        let mut sums: Vec<f32> = (0..63).map(|i| (i * 7 % 13) as f32 / 6.0 - 1.0).collect();
        (sums[5], sums[20], sums[33]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
        let columns: Vec<f32> = (0..21).map(|i| i as f32 / 10.0 + 0.25).collect();
        let elements: Vec<f32> = (0..63).map(|i| (i % 5) as f32 / 4.0).collect();
        let mut out = vec![9f32; 63];
        let mut bases = Bases::new(3);
        bases.set(0, out.as_mut_ptr().cast());
        bases.set(1, columns.as_ptr().cast_mut().cast());
        bases.set(2, elements.as_ptr().cast_mut().cast());
        // SAFETY: everything has the rows and columns of the epilogue.
        unsafe { pattern.at(&bases).apply(sums.as_ptr(), 21, 0..3, 0..21) };
        for (at, &found) in out.iter().enumerate() {
            let value = sums[at] * columns[at % 21] + columns[at % 21] + elements[at];
            if value.is_nan() {
                assert!(found.is_nan(), "{at}: {found}");
            } else {
                assert!((found - value.clamp(-0.5, 2.0)).abs() < 1e-6, "{at}: {found}, not {value} clamped");
            }
        }
    }

    #[test]
    fn what_comes_behind_a_clamp_is_not_moved_before_it() {
        let relu = Operation::Unary(UnaryOp::Relu, 0);
        let add = Operation::Binary(BinaryOp::Add, 1, 2);
        assert!(
            EpiloguePattern::of(&epilogue(&[Operation::Accumulator, relu, Operation::Load(0), add]))
                .is_none()
        );
        let scaled_late = [
            Operation::Accumulator,
            Operation::Load(0),
            Operation::Binary(BinaryOp::Add, 0, 1),
            Operation::Binary(BinaryOp::Mul, 2, 1),
        ];
        assert!(EpiloguePattern::of(&epilogue(&scaled_late)).is_none());
    }
}
