//! Axes whose sizes aren't known when a graph is written. A forward pass is traced twice, with other sizes of all of them; what differs
//! between the traces depends on one, and the numbers say on which.

use super::{BATCH, Size};

/// A size in both traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent(pub usize, pub usize);

impl Extent {
    pub fn is_fixed(self) -> bool {
        self.0 == self.1
    }
}

/// An axis whose size isn't known when a graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeAxis {
    /// Rows.
    Batch,
    /// The next steps of sequences.
    Steps,
    /// The steps that sequences have before.
    Past,
    /// Both together.
    Total,
}

impl FreeAxis {
    const ALL: [FreeAxis; 4] = [FreeAxis::Batch, FreeAxis::Steps, FreeAxis::Past, FreeAxis::Total];

    /// The sizes in the two traces. None is a size that broadcasting treats differently, no two grow in the same proportion nor by the same
    /// number, and those of `Total` are sums.
    pub(super) fn traced(self) -> [usize; 2] {
        match self {
            FreeAxis::Batch => [5, 7],
            FreeAxis::Steps => [3, 10],
            FreeAxis::Past => [13, 24],
            FreeAxis::Total => [16, 34],
        }
    }

    /// Its name in a graph.
    pub fn name(self) -> &'static str {
        match self {
            FreeAxis::Batch => BATCH,
            FreeAxis::Steps => "sequence_length",
            FreeAxis::Past => "past_sequence_length",
            FreeAxis::Total => "total_sequence_length",
        }
    }

    /// As the size of an input or output.
    pub fn size(self) -> Size {
        Size::Named(self.name().to_string())
    }

    pub(super) fn of(size: &Size) -> Option<FreeAxis> {
        FreeAxis::ALL.into_iter().find(|axis| matches!(size, Size::Named(name) if name == axis.name()))
    }
}

/// The free axes that a graph's inputs have: where the size of each is found, as an input and its axis.
#[derive(Clone, Debug, Default)]
pub(super) struct FreeAxes(Vec<(FreeAxis, usize, usize)>);

impl FreeAxes {
    /// Of the sizes of inputs.
    pub fn of(inputs: &[&[Size]]) -> FreeAxes {
        let mut found: Vec<(FreeAxis, usize, usize)> = Vec::new();
        for (input, sizes) in inputs.iter().enumerate() {
            for (place, size) in sizes.iter().enumerate() {
                if let Some(axis) =
                    FreeAxis::of(size).filter(|axis| found.iter().all(|(known, ..)| known != axis))
                {
                    found.push((axis, input, place));
                }
            }
        }
        FreeAxes(found)
    }

    /// The input that has an axis, and where.
    pub fn place(&self, axis: FreeAxis) -> Option<(usize, usize)> {
        self.0.iter().find(|(known, ..)| *known == axis).map(|(_, input, place)| (*input, *place))
    }

    /// Those that there are.
    pub fn known(&self) -> impl Iterator<Item = FreeAxis> {
        let has = |axis: FreeAxis| self.place(axis).is_some();
        let total = has(FreeAxis::Past) && has(FreeAxis::Steps);
        FreeAxis::ALL.into_iter().filter(move |&axis| if axis == FreeAxis::Total { total } else { has(axis) })
    }

    /// `(axis, factor, rest)` where a size is `factor · axis + rest`.
    pub fn by_axis(&self, extent: Extent) -> Option<(FreeAxis, i64, i64)> {
        let (a, b) = (extent.0 as i64, extent.1 as i64);
        let traced = |axis: FreeAxis| axis.traced().map(|size| size as i64);
        let times = |axis: FreeAxis| {
            let [x, y] = traced(axis);
            (a % x == 0 && a / x * y == b).then_some((axis, a / x, 0))
        };
        let plus = |axis: FreeAxis| {
            let [x, y] = traced(axis);
            (a - x == b - y).then_some((axis, 1, a - x))
        };
        let both = |axis: FreeAxis| {
            let [x, y] = traced(axis);
            let factor = (b - a) / (y - x);
            let rest = a - factor * x;
            (factor * y + rest == b).then_some((axis, factor, rest))
        };
        let found = self.known().find_map(times).or_else(|| self.known().find_map(plus));
        found.or_else(|| self.known().find_map(both))
    }

    /// The sizes of a value as a file says them.
    pub fn sizes(&self, extents: &[Extent]) -> Vec<Size> {
        let size = |extent: Extent| match self.by_axis(extent) {
            _ if extent.is_fixed() => Size::Fixed(extent.0),
            Some((axis, 1, 0)) => axis.size(),
            _ => Size::Free,
        };
        extents.iter().copied().map(size).collect()
    }
}
