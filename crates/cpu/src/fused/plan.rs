//! From a fused kernel to lists of steps over tiles.
//!
//! A tile is some rows times a run of the innermost loop. Relative to it a value has a class: it moves along rows,
//! along columns, both, or neither; only what moves is computed. Without reductions, or with one over a short innermost
//! loop alone, rows are the other loops and one list of steps does all ([`Shape::Rows`]). Otherwise rows are reduced loops:
//! for each group of kept ones the tiles are walked once for each level of reductions ([`Shape::Folds`]).

use kiln_compile::program::{Fused, Operation, View};
use kiln_ir::op::{BinaryOp, ReduceOp, UnaryOp};
use kiln_ir::{DType, Scalar};

use super::loops::Loop;
use super::ops::{self, LaneType, Product};
use crate::simd::Level;

/// Lanes of a register, unless a whole row must fit.
pub(super) const TILE: usize = 1024;
/// Rows up to this long are reduced in registers.
const LONGEST_ROW: usize = 8192;
/// Rows shorter than this share a tile.
const SHORT_ROW: usize = 1024;

/// Rows and columns of a tile that is read across.
const SQUARE: usize = 32;

/// Whether elements along the columns lie further apart than those along the innermost rows.
pub(super) fn is_crossed(column: isize, row: Option<isize>) -> bool {
    let row = row.unwrap_or(0).unsigned_abs();
    row > 0 && row < column.unsigned_abs()
}

/// Along what a value moves within a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) rows: bool,
    pub(super) columns: bool,
}

impl Class {
    const ONE: Class = Class { rows: false, columns: false };

    fn or(self, other: Class) -> Class {
        Class { rows: self.rows || other.rows, columns: self.columns || other.columns }
    }

    /// How many lanes it has in a tile.
    #[inline]
    pub(super) fn lanes(self, rows: usize, columns: usize) -> usize {
        (if self.rows { rows } else { 1 }) * (if self.columns { columns } else { 1 })
    }
}

/// A view cut into the parts that are walked differently.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) buffer: usize,
    pub(super) dtype: DType,
    pub(super) offset: isize,
    pub(super) groups: Vec<isize>,
    pub(super) rows: Vec<isize>,
    pub(super) column: isize,
    /// The rows follow each other like one long row, where columns are taken whole.
    pub(super) dense: bool,
    /// No row moves it.
    pub(super) fixed: bool,
    /// A load that is stored elsewhere while its own place may be written: it is copied before that.
    pub(super) copied: bool,
}

/// One thing done to a tile. Values are register numbers.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Load {
        load: usize,
        value: usize,
        class: Class,
    },
    Accumulator {
        value: usize,
    },
    Index {
        value: usize,
        along: Along,
        class: Class,
        dtype: DType,
    },
    /// A value that moves along rows or columns only, repeated for a tile of several rows.
    Spread {
        value: usize,
        from: usize,
        class: Class,
    },
    /// One loop. `sum`: it is a plain addition of its first two operands.
    Run {
        run: Loop,
        value: usize,
        operands: [usize; 3],
        class: Class,
        sum: bool,
    },
    /// Each row folded to one lane.
    FoldRows {
        line: Loop,
        value: usize,
        from: usize,
    },
    /// Folded into the sums of reduction number `fold`.
    Accumulate {
        fold: usize,
        from: usize,
    },
}

/// Which loop an index counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Along {
    Group(usize),
    Row(usize),
    Column,
}

/// A store and the value it writes.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) walk: Walk,
    pub(super) value: usize,
    pub(super) class: Class,
    /// The value may be computed right where it is stored.
    pub(super) direct: bool,
}

/// One walk over the tiles.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass {
    /// Done once before the tiles, on kept values.
    pub(super) kept: Vec<Step>,
    pub(super) tiles: Vec<Step>,
    pub(super) stores: Vec<Target>,
    /// Stores of kept values, done once after `kept`.
    pub(super) kept_stores: Vec<Target>,
    /// The folds that this pass completes.
    pub(super) folds: Vec<usize>,
}

/// A reduction over tiles.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub(super) into: Loop,
    pub(super) line: Loop,
    pub(super) lane: LaneType,
    pub(super) neutral: [u8; 8],
    pub(super) value: usize,
}

/// A value's lane type and register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) lane: LaneType,
    /// Bytes from the start of the registers; each has room for a tile.
    pub(super) register: usize,
    /// Kept values live outside of tiles.
    pub(super) kept: bool,
}

/// How the loops are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Rows,
    Folds,
}

/// A kernel made ready.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    pub(super) groups: Vec<usize>,
    pub(super) rows: Vec<usize>,
    pub(super) columns: usize,
    /// Whether the columns are folded too.
    pub(super) columns_fold: bool,
    pub(super) loads: Vec<Walk>,
    pub(super) values: Vec<Value>,
    pub(super) literals: Vec<(usize, [u8; 8])>,
    pub(super) passes: Vec<Pass>,
    pub(super) folds: Vec<Fold>,
    /// Rows of a full tile, and its columns.
    pub(super) tile_rows: usize,
    pub(super) tile_columns: usize,
    /// Bytes of the registers, and of the kept values behind them.
    pub(super) registers: usize,
    pub(super) kept: usize,
    /// A guess at the cost of a point, for sharing out work.
    pub(super) weight: usize,
    classes: Vec<Class>,
}

impl Plan {
    pub(super) fn new(fused: &Fused, level: Level) -> Plan {
        let count = fused.loops.len();
        let columns = fused.loops[count - 1];
        let folds = fused.reduced.contains(&true);
        let columns_fold = fused.reduced[count - 1];
        let others_fold = fused.reduced[..count - 1].contains(&true);
        let in_rows = !folds || (columns_fold && !others_fold && columns <= LONGEST_ROW);
        let shape = if in_rows { Shape::Rows } else { Shape::Folds };
        let is_row = |d: usize| in_rows || fused.reduced[d];
        let row_loops: Vec<usize> = (0..count - 1).filter(|&d| is_row(d)).collect();
        let group_loops: Vec<usize> = (0..count - 1).filter(|&d| !is_row(d)).collect();
        let sizes = |loops: &[usize]| loops.iter().map(|&d| fused.loops[d]).collect::<Vec<_>>();
        let rows = sizes(&row_loops);
        let row_count: usize = rows.iter().product();
        let several = columns < SHORT_ROW && row_count > 1;
        let whole_rows = in_rows && folds;
        // A load whose columns lie further apart than its rows is read in squares, so that what the cache brings along
        // is used.
        let crossed = !folds
            && columns > SQUARE
            && row_count > 1
            && fused
                .loads
                .iter()
                .any(|load| is_crossed(load.strides[count - 1], row_loops.last().map(|&d| load.strides[d])));
        let several = several || crossed;
        let (tile_rows, tile_columns) = match (crossed, whole_rows) {
            (true, _) => (SQUARE.min(row_count), SQUARE),
            (false, true) if several => ((TILE / columns).clamp(1, row_count), columns),
            (false, true) => (1, columns),
            (false, false) if several => ((TILE / columns).clamp(1, row_count), columns.min(TILE)),
            (false, false) => (1, columns.min(TILE)),
        };
        let walk = |view: &View| {
            let pick = |loops: &[usize]| loops.iter().map(|&d| view.strides[d]).collect::<Vec<_>>();
            let row_strides = pick(&row_loops);
            let mut expected = view.strides[count - 1] * columns as isize;
            let mut dense = view.strides[count - 1] == 1;
            for (&stride, &size) in row_strides.iter().zip(&rows).rev() {
                dense &= stride == expected;
                expected *= size as isize;
            }
            Walk {
                buffer: view.buffer,
                dtype: view.dtype,
                offset: view.offset,
                groups: pick(&group_loops),
                fixed: row_strides.iter().all(|&stride| stride == 0),
                rows: row_strides,
                column: view.strides[count - 1],
                dense,
                copied: false,
            }
        };
        let mut builder = Builder {
            fused,
            level,
            in_rows,
            several,
            columns_fold,
            row_loops: &row_loops,
            group_loops: &group_loops,
            loads: fused.loads.iter().map(walk).collect(),
            values: fused
                .body
                .iter()
                .map(|i| Value { lane: LaneType::of(i.dtype), register: 0, kept: false })
                .collect(),
            classes: vec![Class::ONE; fused.body.len()],
            levels: vec![0; fused.body.len()],
            literals: Vec::new(),
            folds: Vec::new(),
            spread: std::collections::HashMap::new(),
            uses: uses(fused),
        };
        builder.classify();
        let passes = builder.passes(walk);
        let lanes = (tile_rows * tile_columns).max(1);
        let mut plan = Plan {
            shape,
            groups: sizes(&group_loops),
            rows,
            columns,
            columns_fold,
            loads: builder.loads,
            values: builder.values,
            literals: builder.literals,
            passes,
            folds: builder.folds,
            tile_rows,
            tile_columns,
            registers: 0,
            kept: 0,
            weight: weight(fused),
            classes: builder.classes,
        };
        plan.place(lanes);
        plan
    }

    /// What a value moves along.
    pub(super) fn class(&self, value: usize) -> Class {
        self.classes[value]
    }

    /// Gives every value its register. Within a pass a register is used again once its value is no longer needed; loads
    /// that don't move with rows, literals and kept values stay.
    fn place(&mut self, lanes: usize) {
        let mut kept = 0;
        for value in &mut self.values {
            if value.kept {
                value.register = kept;
                kept += (lanes * value.lane.size()).next_multiple_of(64);
            }
        }
        self.kept = kept;
        let mut stays = vec![false; self.values.len()];
        for &(value, _) in &self.literals {
            stays[value] = true;
        }
        for step in self.passes.iter().flat_map(|pass| &pass.tiles) {
            match step {
                Step::Load { value, load, .. } if self.loads[*load].fixed => {
                    stays[*value] = true;
                }
                Step::Spread { value, from, .. } if stays[*from] => stays[*value] = true,
                _ => {}
            }
        }
        // A value that several passes make has one register in all of them.
        if self.passes.iter().filter(|pass| !pass.tiles.is_empty()).count() > 1 {
            stays.fill(true);
        }
        // Between passes nothing is short-lived.
        for step in self.passes.iter().flat_map(|pass| &pass.kept) {
            if let Some(value) = step.result() {
                stays[value] |= !self.values[value].kept;
            }
        }
        let mut next = 0;
        // Room for either lane size, so that any value may follow in a register.
        let size = (lanes * 8).next_multiple_of(64);
        for (value, stays) in self.values.iter_mut().zip(&stays) {
            if *stays && !value.kept {
                value.register = next;
                next += size;
            }
        }
        for pass in &self.passes {
            let mut last = vec![0; self.values.len()];
            for (position, step) in pass.tiles.iter().enumerate() {
                for operand in step.operands() {
                    last[operand] = position;
                }
            }
            for target in &pass.stores {
                last[target.value] = usize::MAX;
            }
            let mut free: Vec<usize> = Vec::new();
            for (position, step) in pass.tiles.iter().enumerate() {
                if let Some(value) = step.result()
                    && !stays[value]
                    && !self.values[value].kept
                {
                    self.values[value].register = free.pop().unwrap_or_else(|| {
                        next += size;
                        next - size
                    });
                    if last[value] == 0 {
                        // Nobody reads it.
                        last[value] = position;
                    }
                }
                let mut done: Vec<usize> = step.operands();
                done.extend(step.result());
                done.sort_unstable();
                done.dedup();
                for operand in done {
                    if last[operand] == position && !stays[operand] && !self.values[operand].kept {
                        free.push(self.values[operand].register);
                    }
                }
            }
        }
        self.registers = next;
    }
}

impl Step {
    pub(super) fn operands(&self) -> Vec<usize> {
        match self {
            Step::Load { .. } | Step::Accumulator { .. } | Step::Index { .. } => vec![],
            Step::Spread { from, .. } | Step::FoldRows { from, .. } | Step::Accumulate { from, .. } => {
                vec![*from]
            }
            Step::Run { operands, .. } => operands.to_vec(),
        }
    }

    pub(super) fn result(&self) -> Option<usize> {
        match self {
            Step::Load { value, .. }
            | Step::Accumulator { value }
            | Step::Index { value, .. }
            | Step::Spread { value, .. }
            | Step::Run { value, .. }
            | Step::FoldRows { value, .. } => Some(*value),
            Step::Accumulate { .. } => None,
        }
    }
}

/// What is known while steps are chosen.
struct Builder<'a> {
    fused: &'a Fused,
    level: Level,
    in_rows: bool,
    several: bool,
    columns_fold: bool,
    row_loops: &'a [usize],
    group_loops: &'a [usize],
    loads: Vec<Walk>,
    values: Vec<Value>,
    classes: Vec<Class>,
    /// How many reductions come before a value.
    levels: Vec<usize>,
    literals: Vec<(usize, [u8; 8])>,
    folds: Vec<Fold>,
    /// In this pass, values that were repeated for several rows, and the register number of that.
    spread: std::collections::HashMap<usize, usize>,
    /// How often each value is used.
    uses: Vec<usize>,
}

impl Builder<'_> {
    fn classify(&mut self) {
        for (position, instruction) in self.fused.body.iter().enumerate() {
            let operands = operands(&instruction.operation);
            let mut class = operands.iter().fold(Class::ONE, |class, &o| class.or(self.classes[o]));
            let mut level = operands.iter().map(|&o| self.levels[o]).max().unwrap_or(0);
            match instruction.operation {
                Operation::Load(load) => {
                    let walk = &self.loads[load];
                    let rows = self.several && walk.rows.iter().any(|&s| s != 0);
                    class = Class { rows, columns: walk.column != 0 };
                }
                Operation::Accumulator => class = self.full(),
                Operation::Index(d) => {
                    let last = d + 1 == self.fused.loops.len();
                    class = Class { rows: self.several && self.row_loops.contains(&d), columns: last };
                }
                Operation::Literal(scalar) => {
                    self.literals.push((position, lane_bytes(scalar, instruction.dtype)))
                }
                Operation::Reduce(op, _) => {
                    level += 1;
                    class = match (self.in_rows, self.columns_fold) {
                        (true, _) => Class { rows: self.several, columns: false },
                        (false, true) => Class::ONE,
                        (false, false) => Class { rows: false, columns: true },
                    };
                    let lane = LaneType::of(instruction.dtype);
                    self.folds.push(Fold {
                        into: ops::fold(op, lane, self.level),
                        line: ops::fold_line(op, lane, self.level),
                        lane,
                        neutral: neutral(op, instruction.dtype),
                        value: position,
                    });
                }
                _ => {}
            }
            if instruction.full && !self.in_rows {
                // What is asked for at every point of a fold is given at every point.
                if let Operation::Cast(_) = instruction.operation {
                    class = self.full();
                }
            }
            self.classes[position] = class;
            self.levels[position] = level;
            self.values[position].kept = !self.in_rows && !instruction.full && !self.is_leaf(position);
        }
    }

    /// The class of what moves along everything.
    fn full(&self) -> Class {
        Class { rows: self.several, columns: true }
    }

    /// Loads, literals and indices are cheap enough to be made anew in every tile.
    fn is_leaf(&self, position: usize) -> bool {
        matches!(
            self.fused.body[position].operation,
            Operation::Load(_) | Operation::Literal(_) | Operation::Index(_) | Operation::Accumulator
        )
    }

    fn passes(&mut self, walk: impl Fn(&View) -> Walk) -> Vec<Pass> {
        let body = &self.fused.body;
        let last = if self.in_rows { 0 } else { self.levels.iter().copied().max().unwrap_or(0) };
        let mut passes = Vec::new();
        for level in 0..=last {
            let mut pass = Pass::default();
            self.spread.clear();
            if !self.in_rows {
                let mut done = vec![false; body.len()];
                for position in 0..body.len() {
                    let reduce = matches!(body[position].operation, Operation::Reduce(..));
                    if self.values[position].kept && self.levels[position] == level && !reduce {
                        self.need(position, &mut done, &mut pass.kept, level, true);
                    }
                }
            }
            let mut done = vec![false; body.len()];
            let mut folds = Vec::new();
            for position in 0..body.len() {
                if let Operation::Reduce(_, from) = body[position].operation
                    && !self.in_rows
                    && self.levels[from] == level
                {
                    self.need(from, &mut done, &mut pass.tiles, level, false);
                    let fold = self.folds.iter().position(|fold| fold.value == position).unwrap_or(0);
                    let from = self.whole(from, &mut pass.tiles);
                    pass.tiles.push(Step::Accumulate { fold, from });
                    folds.push(fold);
                }
            }
            pass.folds = folds;
            for store in &self.fused.stores {
                let value = store.value;
                if !self.in_rows && self.levels[value] != level {
                    continue;
                }
                let kept = !self.in_rows && !body[value].full;
                if kept {
                    if self.is_leaf(value) {
                        let mut done = vec![false; body.len()];
                        self.need(value, &mut done, &mut pass.kept, level, true);
                    }
                } else {
                    self.need(value, &mut done, &mut pass.tiles, level, false);
                }
                let class = self.classes[value];
                let target = Target { walk: walk(&store.view), value, class, direct: false };
                if kept { pass.kept_stores.push(target) } else { pass.stores.push(target) }
            }
            self.mark_direct(&mut pass);
            passes.push(pass);
        }
        passes
    }

    /// Puts the steps that make a value at the end of the list, operands first.
    fn need(&mut self, position: usize, done: &mut [bool], steps: &mut Vec<Step>, level: usize, kept: bool) {
        if done[position] {
            return;
        }
        done[position] = true;
        let instruction = &self.fused.body[position];
        // A kept value is made between the passes, a fold at the end of one; who comes later finds it there.
        let folded = matches!(instruction.operation, Operation::Reduce(..)) && !self.in_rows;
        if folded || (self.values[position].kept && (!kept || self.levels[position] != level)) {
            return;
        }
        for operand in operands(&instruction.operation) {
            self.need(operand, done, steps, level, kept);
        }
        let class = self.classes[position];
        let lane = LaneType::of(instruction.dtype);
        let (level, value) = (self.level, position);
        let run = |run: Loop, operands: [usize; 3]| Step::Run { run, value, operands, class, sum: false };
        match instruction.operation {
            Operation::Load(load) => steps.push(Step::Load { load, value, class }),
            Operation::Accumulator => steps.push(Step::Accumulator { value }),
            Operation::Literal(_) => {}
            Operation::Index(d) => {
                let along = match (
                    self.row_loops.iter().position(|&r| r == d),
                    self.group_loops.iter().position(|&g| g == d),
                ) {
                    (Some(row), _) => Along::Row(row),
                    (_, Some(group)) => Along::Group(group),
                    _ => Along::Column,
                };
                steps.push(Step::Index { value, along, class, dtype: instruction.dtype });
            }
            Operation::Unary(op, a) => {
                if op == UnaryOp::Relu
                    && lane == LaneType::Single
                    && let Some(Step::Run { operands: [x, y, _], value: sum, sum: true, .. }) = steps.last()
                    && *sum == a
                    && self.uses[a] == 1
                {
                    let operands = [*x, *y, *x];
                    let one = [self.is_one(operands[0], class), self.is_one(operands[1], class)];
                    steps.pop();
                    steps.push(run(ops::add_relu(level, one), operands));
                    return;
                }
                steps.push(run(ops::unary(op, lane, level), [a, a, a]));
                self.wrap(instruction.dtype, value, class, steps);
            }
            Operation::Cast(a) => {
                let from = self.fused.body[a].dtype;
                let mut source = if self.classes[a] == class { a } else { self.spread_to(a, class, steps) };
                for cast in ops::cast(from, instruction.dtype, level) {
                    steps.push(run(cast, [source; 3]));
                    source = value;
                }
            }
            Operation::Binary(op, a, b) => {
                let (x, y) = (self.operand(a, class, steps), self.operand(b, class, steps));
                if let Some((product, operands)) = self.product(op, lane, [x, y], class, steps) {
                    let one = operands.map(|operand| self.is_one(operand, class));
                    steps.push(run(ops::product(product, level, one), operands));
                    return;
                }
                let from = LaneType::of(self.fused.body[a].dtype);
                let one = [self.is_one(x, class), self.is_one(y, class)];
                let (run, operands) = (ops::binary(op, from, level, one), [x, y, x]);
                steps.push(Step::Run { run, value, operands, class, sum: op == BinaryOp::Add });
                self.wrap(instruction.dtype, value, class, steps);
            }
            Operation::Select(a, b, c) => {
                let x = if self.classes[a] == class { a } else { self.spread_to(a, class, steps) };
                let (y, z) = (self.operand(b, class, steps), self.operand(c, class, steps));
                let one = [false, self.is_one(y, class), self.is_one(z, class)];
                steps.push(run(ops::select(lane, level, one), [x, y, z]));
            }
            Operation::Reduce(op, a) => {
                // Only rows are folded by a step; other folds are accumulated.
                let from = self.whole(a, steps);
                steps.push(Step::FoldRows { line: ops::fold_line(op, lane, level), value, from });
            }
        }
    }

    /// Takes back the step of a product that only this sum or difference uses, for one loop to do both.
    fn product(
        &self,
        op: BinaryOp,
        lane: LaneType,
        [x, y]: [usize; 2],
        class: Class,
        steps: &mut Vec<Step>,
    ) -> Option<(Product, [usize; 3])> {
        if lane != LaneType::Single || !matches!(op, BinaryOp::Add | BinaryOp::Sub) {
            return None;
        }
        let takes = |value: usize, steps: &[Step]| -> Option<(usize, [usize; 2])> {
            let body = self.fused.body.get(value)?;
            let Operation::Binary(BinaryOp::Mul, ..) = body.operation else { return None };
            if self.uses[value] != 1 || self.classes[value] != class {
                return None;
            }
            let at = steps.iter().rposition(|step| step.result() == Some(value))?;
            match steps[at] {
                Step::Run { operands: [a, b, _], .. } => Some((at, [a, b])),
                _ => None,
            }
        };
        let (kind, at, [a, b], other) = if let Some((at, factors)) = takes(x, steps) {
            (if op == BinaryOp::Add { Product::Plus } else { Product::Minus }, at, factors, y)
        } else {
            let (at, factors) = takes(y, steps)?;
            (if op == BinaryOp::Add { Product::Plus } else { Product::From }, at, factors, x)
        };
        let (a, b) = if self.is_one(a, class) { (b, a) } else { (a, b) };
        if self.is_one(a, class) {
            return None;
        }
        steps.remove(at);
        Some((kind, [a, b, other]))
    }

    /// Narrow integers wrap after arithmetic.
    fn wrap(&self, dtype: DType, value: usize, class: Class, steps: &mut Vec<Step>) {
        if matches!(dtype, DType::U8 | DType::U16)
            && let Some(run) = ops::narrow(dtype, self.level)
        {
            steps.push(Step::Run { run, value, operands: [value; 3], class, sum: false });
        }
    }

    /// The operand as it is where its class fits (or it is one value), else repeated.
    fn operand(&mut self, position: usize, class: Class, steps: &mut Vec<Step>) -> usize {
        let own = self.classes[position];
        if own == class || own == Class::ONE { position } else { self.spread_to(position, class, steps) }
    }

    fn is_one(&self, value: usize, class: Class) -> bool {
        self.class_of(value) == Class::ONE && class != Class::ONE
    }

    fn class_of(&self, value: usize) -> Class {
        self.classes[value]
    }

    /// A value for each point of the tile.
    fn whole(&mut self, position: usize, steps: &mut Vec<Step>) -> usize {
        let class = self.full();
        if self.classes[position] == class { position } else { self.spread_to(position, class, steps) }
    }

    fn spread_to(&mut self, from: usize, class: Class, steps: &mut Vec<Step>) -> usize {
        if let Some(&value) = self.spread.get(&from)
            && self.classes[value] == class
        {
            return value;
        }
        let value = self.values.len();
        self.values.push(Value { lane: self.values[from].lane, register: 0, kept: false });
        self.classes.push(class);
        self.levels.push(0);
        steps.push(Step::Spread { value, from, class });
        self.spread.insert(from, value);
        value
    }

    /// A value may be computed in the memory it is stored to if that memory isn't read afterwards.
    fn mark_direct(&mut self, pass: &mut Pass) {
        let loaded: Vec<(usize, usize)> = pass
            .tiles
            .iter()
            .filter_map(|step| match step {
                Step::Load { load, value, .. } => Some((*value, *load)),
                _ => None,
            })
            .collect();
        let overwritten =
            |load: usize, loads: &[Walk]| pass.stores.iter().any(|t| t.walk.may_be(&loads[load]));
        for &(value, load) in &loaded {
            let stored = pass.stores.iter().any(|target| target.value == value);
            self.loads[load].copied |= stored && overwritten(load, &self.loads);
        }
        let direct: Vec<bool> = pass
            .stores
            .iter()
            .map(|target| {
                let runs =
                    |step: &Step| matches!(step, Step::Run { .. }) && step.result() == Some(target.value);
                let Some(made) = pass.tiles.iter().rposition(runs) else { return false };
                let reads_later = pass.tiles[made + 1..].iter().flat_map(Step::operands).any(|operand| {
                    loaded.iter().any(|&(value, load)| value == operand && overwritten(load, &self.loads))
                });
                let once = pass.stores.iter().filter(|other| other.value == target.value).count() == 1;
                once && target.class == self.full()
                    && !reads_later
                    && target.walk.column == 1
                    && super::transfer::is_lane(target.walk.dtype)
            })
            .collect();
        for (target, direct) in pass.stores.iter_mut().zip(direct) {
            target.direct = direct;
        }
    }
}

impl Walk {
    /// Whether both may go through the same memory: stores overlap loads exactly or not at all, and what lies in the
    /// place of another buffer is walked as that was.
    fn may_be(&self, other: &Walk) -> bool {
        self.offset == other.offset
            && self.groups == other.groups
            && self.rows == other.rows
            && self.column == other.column
    }
}

/// How often each value is used, by instructions and stores.
fn uses(fused: &Fused) -> Vec<usize> {
    let mut uses = vec![0; fused.body.len()];
    let read = fused.body.iter().flat_map(|instruction| operands(&instruction.operation));
    for value in read.chain(fused.stores.iter().map(|store| store.value)) {
        uses[value] += 1;
    }
    uses
}

/// The operands of an operation.
fn operands(operation: &Operation) -> Vec<usize> {
    match *operation {
        Operation::Load(_) | Operation::Accumulator | Operation::Literal(_) | Operation::Index(_) => vec![],
        Operation::Unary(_, a) | Operation::Cast(a) | Operation::Reduce(_, a) => vec![a],
        Operation::Binary(_, a, b) => vec![a, b],
        Operation::Select(a, b, c) => vec![a, b, c],
    }
}

/// A scalar as a lane.
fn lane_bytes(scalar: Scalar, dtype: DType) -> [u8; 8] {
    let mut bytes = [0; 8];
    match LaneType::of(dtype) {
        LaneType::Single => bytes[..4].copy_from_slice(&(scalar.as_f64() as f32).to_ne_bytes()),
        LaneType::Double => bytes.copy_from_slice(&scalar.as_f64().to_ne_bytes()),
        LaneType::Int => bytes[..4].copy_from_slice(&(scalar.as_i64() as i32).to_ne_bytes()),
        LaneType::Long => bytes.copy_from_slice(&scalar.as_i64().to_ne_bytes()),
    }
    bytes
}

/// What a fold starts from.
fn neutral(op: ReduceOp, dtype: DType) -> [u8; 8] {
    lane_bytes(kiln_ir::eval::neutral(op, dtype), dtype)
}

/// A guess at the cost of a point: transcendental functions count for many additions.
fn weight(fused: &Fused) -> usize {
    let of = |operation: &Operation| match operation {
        Operation::Unary(
            UnaryOp::Exp | UnaryOp::ExpM1 | UnaryOp::Ln | UnaryOp::Ln1p | UnaryOp::Tanh | UnaryOp::Sigmoid,
            _,
        ) => 10,
        Operation::Unary(UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Erf, _) => 20,
        Operation::Binary(BinaryOp::Pow | BinaryOp::Rem, ..) => 40,
        Operation::Binary(BinaryOp::Random, ..) => 6,
        Operation::Binary(BinaryOp::Div, ..) => 3,
        _ => 1,
    };
    fused.body.iter().map(|instruction| of(&instruction.operation)).sum::<usize>().max(1)
}
