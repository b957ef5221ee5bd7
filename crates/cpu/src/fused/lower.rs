//! From the instructions of a kernel to steps over tiles.

use std::collections::HashMap;

use kiln_compile::program::{Fused, Operation, View};
use kiln_ir::op::{BinaryOp, ReduceOp};
use kiln_ir::{DType, Scalar};

use super::loops::Loop;
use super::ops::{self, LaneType, PairedLoop};
use super::steps::{
    IndexLoop, RegisterValue, RunKind, StridedWalk, TileExtent, TileFold, TilePass, TileStep, TileStore,
};
use super::{stream, transfer};
use crate::simd::Level;

/// What is known while steps are chosen.
pub(super) struct PlanBuilder<'a> {
    pub(super) fused: &'a Fused,
    pub(super) level: Level,
    pub(super) in_rows: bool,
    pub(super) several: bool,
    /// Whether rows are wide enough for a loop each, so that what has one value for each row, or is the same for all, isn't repeated.
    pub(super) row_by_row: bool,
    pub(super) columns_fold: bool,
    pub(super) row_loops: &'a [usize],
    pub(super) group_loops: &'a [usize],
    pub(super) loads: Vec<StridedWalk>,
    pub(super) values: Vec<RegisterValue>,
    pub(super) classes: Vec<TileExtent>,
    /// How many reductions come before a value.
    pub(super) levels: Vec<usize>,
    pub(super) literals: Vec<(usize, [u8; 8])>,
    pub(super) folds: Vec<TileFold>,
    /// In this pass, values that were repeated for several rows, and the register number of that.
    pub(super) spread: HashMap<usize, usize>,
    /// How often each value is used.
    pub(super) uses: Vec<usize>,
}

impl PlanBuilder<'_> {
    /// What each value moves along, and whether it is kept.
    pub(super) fn classify(&mut self) {
        for (position, instruction) in self.fused.body.iter().enumerate() {
            let operands = instruction.operation.operands();
            let mut class = operands.iter().fold(TileExtent::ONE, |class, &o| class.or(self.classes[o]));
            match instruction.operation {
                Operation::Load(load) => {
                    let walk = &self.loads[load];
                    let rows = self.several && walk.rows.iter().any(|&s| s != 0);
                    class = TileExtent { rows, columns: walk.column != 0 };
                }
                Operation::Accumulator => class = self.full(),
                Operation::Index(d) => {
                    let last = d + 1 == self.fused.loops.len();
                    class = TileExtent { rows: self.several && self.row_loops.contains(&d), columns: last };
                }
                Operation::Literal(scalar) => {
                    self.literals.push((position, lane_bytes(scalar, instruction.dtype)))
                }
                Operation::Reduce(op, _) => {
                    class = match (self.in_rows, self.columns_fold) {
                        (true, _) => TileExtent { rows: self.several, columns: false },
                        (false, true) => TileExtent::ONE,
                        (false, false) => TileExtent { rows: false, columns: true },
                    };
                    let lane = LaneType::of(instruction.dtype);
                    self.folds.push(TileFold {
                        into: ops::fold(op, lane, self.level),
                        chunks: ops::fold_chunks(op, lane, self.level),
                        lane,
                        neutral: neutral(op, instruction.dtype),
                        value: position,
                    });
                }
                Operation::Unary(..) | Operation::Binary(..) | Operation::Cast(_) | Operation::Select(..) => {
                }
            }
            if instruction.full && !self.in_rows {
                // What is asked for at every point of a fold is given at every point.
                if let Operation::Cast(_) = instruction.operation {
                    class = self.full();
                }
            }
            self.classes[position] = class;
            self.values[position].kept = !self.in_rows && !instruction.full && !self.is_leaf(position);
        }
    }

    /// The class of what moves along everything.
    pub(super) fn full(&self) -> TileExtent {
        TileExtent { rows: self.several, columns: true }
    }

    /// Loads, literals and indices are cheap enough to be made anew in every tile.
    fn is_leaf(&self, position: usize) -> bool {
        matches!(
            self.fused.body[position].operation,
            Operation::Load(_) | Operation::Literal(_) | Operation::Index(_) | Operation::Accumulator
        )
    }

    /// The passes over the tiles.
    pub(super) fn passes(&mut self, walk: impl Fn(&View) -> StridedWalk) -> Vec<TilePass> {
        let body = &self.fused.body;
        let last = if self.in_rows { 0 } else { self.levels.iter().copied().max().unwrap_or(0) };
        let mut passes = Vec::new();
        for level in 0..=last {
            let mut pass = TilePass::default();
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
                if let Operation::Reduce(op, from) = body[position].operation
                    && !self.in_rows
                    && self.levels[from] == level
                {
                    self.need(from, &mut done, &mut pass.tiles, level, false);
                    let fold = self.folds.iter().position(|fold| fold.value == position).unwrap_or(0);
                    let step = match self.factors(op, from, &mut pass.tiles) {
                        Some(from) => {
                            let [_, chunks, add] = ops::sum_of_products(self.level);
                            TileStep::AccumulateProducts { fold, from, add, chunks }
                        }
                        None => TileStep::Accumulate { fold, from: self.whole(from, &mut pass.tiles) },
                    };
                    pass.tiles.push(step);
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
                let target = TileStore { walk: walk(&store.view), value, class, direct: false, stream: None };
                if kept { pass.kept_stores.push(target) } else { pass.stores.push(target) }
            }
            self.mark_direct(&mut pass);
            passes.push(pass);
        }
        passes
    }

    /// Puts the steps that make a value at the end of the list, operands first.
    fn need(
        &mut self,
        position: usize,
        done: &mut [bool],
        steps: &mut Vec<TileStep>,
        level: usize,
        kept: bool,
    ) {
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
        for operand in instruction.operation.operands() {
            self.need(operand, done, steps, level, kept);
        }
        let class = self.classes[position];
        let lane = LaneType::of(instruction.dtype);
        let (level, value) = (self.level, position);
        let other = RunKind::Other;
        match instruction.operation {
            Operation::Load(load) => steps.push(TileStep::Load { load, value, class }),
            Operation::Accumulator => steps.push(TileStep::Accumulator { value }),
            Operation::Literal(_) => {}
            Operation::Index(d) => {
                let along = match (
                    self.row_loops.iter().position(|&r| r == d),
                    self.group_loops.iter().position(|&g| g == d),
                ) {
                    (Some(row), _) => IndexLoop::Row(row),
                    (_, Some(group)) => IndexLoop::Group(group),
                    _ => IndexLoop::Column,
                };
                steps.push(TileStep::Index { value, along, class, dtype: instruction.dtype });
            }
            Operation::Unary(op, a) => {
                if let Some(step) = self.function_of_two(op, lane, value, a, steps) {
                    steps.pop();
                    steps.push(step);
                    return;
                }
                let run = ops::unary(op, lane, level);
                steps.push(self.run(run, value, [a; 3], class, RunKind::Plain));
                self.wrap(instruction.dtype, value, class, steps);
            }
            Operation::Cast(a) => {
                let from = self.fused.body[a].dtype;
                let mut source = if self.classes[a] == class { a } else { self.spread_to(a, class, steps) };
                for cast in ops::cast(from, instruction.dtype, level) {
                    steps.push(self.run(cast, value, [source; 3], class, other));
                    source = value;
                }
            }
            Operation::Binary(op, a, b) => {
                let (x, y) = (self.operand(a, class, steps), self.operand(b, class, steps));
                if let Some(step) = self.scaled(op, value, [x, y], class, steps) {
                    steps.push(step);
                    return;
                }
                if let Some((pair, operands)) = self.pair(op, lane, [x, y], class, steps) {
                    let one = operands.map(|operand| self.is_one(operand, class));
                    let kind = if pair == PairedLoop::MulMul { RunKind::ProductOfThree } else { other };
                    steps.push(self.run(ops::pair(pair, level, one), value, operands, class, kind));
                    return;
                }
                let from = LaneType::of(self.fused.body[a].dtype);
                let one = [self.is_one(x, class), self.is_one(y, class)];
                let (run, operands) = (ops::binary(op, from, level, one), [x, y, x]);
                let named = [(BinaryOp::Add, RunKind::Sum), (BinaryOp::Sub, RunKind::Difference)];
                let kind =
                    named.iter().find(|(named, _)| *named == op).map_or(RunKind::Plain, |(_, kind)| *kind);
                steps.push(self.run(run, value, operands, class, kind));
                self.wrap(instruction.dtype, value, class, steps);
            }
            Operation::Select(a, b, c) => {
                let x = if self.classes[a] == class { a } else { self.spread_to(a, class, steps) };
                let (y, z) = (self.operand(b, class, steps), self.operand(c, class, steps));
                let one = [false, self.is_one(y, class), self.is_one(z, class)];
                steps.push(self.run(ops::select(lane, level, one), value, [x, y, z], class, other));
            }
            Operation::Reduce(op, a) => {
                // Only rows are folded by a step; other folds are accumulated.
                let neutral = neutral(op, instruction.dtype);
                let (line, from) = match self.factors(op, a, steps) {
                    Some(factors) => (ops::sum_of_products(level)[0], factors),
                    None => (ops::fold_line(op, lane, level), [self.whole(a, steps); 2]),
                };
                let fold = TileStep::FoldRows { line, neutral, value, from };
                let made = if op == ReduceOp::Sum { self.made_with_sum(a, from, value, steps) } else { None };
                steps.push(made.unwrap_or(fold));
            }
        }
    }

    /// One loop, or one for each row where not all operands move as the result does.
    pub(super) fn run(
        &self,
        run: Loop,
        value: usize,
        operands: [usize; 3],
        class: TileExtent,
        kind: RunKind,
    ) -> TileStep {
        let row_by_row = self.is_row_by_row(&operands, class);
        TileStep::Run { run, value, operands, class, kind, row_by_row }
    }

    /// Whether one of these operands moves along rows or columns only, where the result moves along both.
    pub(super) fn is_row_by_row(&self, operands: &[usize], class: TileExtent) -> bool {
        operands.iter().any(|&operand| ![class, TileExtent::ONE].contains(&self.classes[operand]))
    }

    /// Narrow integers wrap after arithmetic.
    fn wrap(&self, dtype: DType, value: usize, class: TileExtent, steps: &mut Vec<TileStep>) {
        if matches!(dtype, DType::U8 | DType::U16)
            && let Some(run) = ops::narrow(dtype, self.level)
        {
            steps.push(self.run(run, value, [value; 3], class, RunKind::Other));
        }
    }

    /// The operand as it is where its class fits (or it is one value), else repeated.
    fn operand(&mut self, position: usize, class: TileExtent, steps: &mut Vec<TileStep>) -> usize {
        let own = self.classes[position];
        let as_it_is = own == class || own == TileExtent::ONE || self.row_by_row && class == self.full();
        if as_it_is { position } else { self.spread_to(position, class, steps) }
    }

    /// Whether a value's first lane is all that a loop reads of it.
    pub(super) fn is_one(&self, value: usize, class: TileExtent) -> bool {
        let own = self.classes[value];
        let of_row = own == TileExtent::COLUMN && self.row_by_row && class == self.full();
        of_row || own == TileExtent::ONE && class != TileExtent::ONE
    }

    /// A value for each point of the tile.
    fn whole(&mut self, position: usize, steps: &mut Vec<TileStep>) -> usize {
        let class = self.full();
        if self.classes[position] == class { position } else { self.spread_to(position, class, steps) }
    }

    fn spread_to(&mut self, from: usize, class: TileExtent, steps: &mut Vec<TileStep>) -> usize {
        if let Some(&value) = self.spread.get(&from)
            && self.classes[value] == class
        {
            return value;
        }
        let value = self.values.len();
        self.values.push(RegisterValue { lane: self.values[from].lane, register: 0, kept: false });
        self.classes.push(class);
        self.levels.push(0);
        steps.push(TileStep::Spread { value, from, class });
        self.spread.insert(from, value);
        value
    }

    /// Whether a store goes past the caches: its lanes lie side by side and are more than those hold, and no load has just brought them.
    fn streams(&self, target: &TileStore) -> bool {
        let walk = &target.walk;
        let strides = walk.rows.iter().zip(self.row_loops);
        let rows: usize =
            strides.filter(|(stride, _)| **stride != 0).map(|(_, &d)| self.fused.loops[d]).product();
        let bytes = rows * self.fused.loops.last().copied().unwrap_or(1) * walk.dtype.size();
        let epilogue = self.fused.body.iter().any(|i| matches!(i.operation, Operation::Accumulator));
        self.in_rows
            && !epilogue
            && target.class == self.full()
            && walk.column == 1
            && transfer::is_lane(walk.dtype)
            && bytes > stream::least()
            && self.loads.iter().all(|load| load.buffer != walk.buffer)
    }

    /// A value may be computed in the memory it is stored to if that memory isn't read afterwards.
    fn mark_direct(&mut self, pass: &mut TilePass) {
        let loaded: Vec<(usize, usize)> = pass
            .tiles
            .iter()
            .filter_map(|step| match step {
                TileStep::Load { load, value, .. } => Some((*value, *load)),
                _ => None,
            })
            .collect();
        let overwritten =
            |load: usize, loads: &[StridedWalk]| pass.stores.iter().any(|t| t.walk.may_be(&loads[load]));
        for &(value, load) in &loaded {
            let stored = pass.stores.iter().any(|target| target.value == value);
            self.loads[load].copied |= stored && overwritten(load, &self.loads);
        }
        // Results lie apart from each other, and so from what another result of this pass takes the place of.
        let taken = |target: &TileStore, load: &StridedWalk| {
            let elsewhere = load.buffer != target.walk.buffer
                && pass.stores.iter().any(|other| other.walk.buffer == load.buffer);
            !elsewhere && target.walk.may_be(load)
        };
        let direct: Vec<bool> = pass
            .stores
            .iter()
            .map(|target| {
                let runs = |step: &TileStep| {
                    matches!(step, TileStep::Run { value, .. } | TileStep::Scale { value, .. }
                        if *value == target.value)
                };
                let Some(made) = pass.tiles.iter().rposition(runs) else { return false };
                let reads_later = pass.tiles[made + 1..].iter().flat_map(TileStep::operands).any(|operand| {
                    loaded.iter().any(|&(value, load)| value == operand && taken(target, &self.loads[load]))
                });
                let once = pass.stores.iter().filter(|other| other.value == target.value).count() == 1;
                once && target.class == self.full()
                    && !reads_later
                    && target.walk.column == 1
                    && transfer::is_lane(target.walk.dtype)
            })
            .collect();
        let streamed: Vec<bool> = pass.stores.iter().map(|target| self.streams(target)).collect();
        for ((target, direct), streamed) in pass.stores.iter_mut().zip(direct).zip(streamed) {
            target.stream = streamed.then(|| stream::copy(self.level));
            target.direct = direct && !streamed;
        }
    }
}

/// How often each value is used, by instructions and stores.
pub(super) fn uses(fused: &Fused) -> Vec<usize> {
    let mut uses = vec![0; fused.body.len()];
    let read = fused.body.iter().flat_map(|instruction| instruction.operation.operands());
    for value in read.chain(fused.stores.iter().map(|store| store.value)) {
        uses[value] += 1;
    }
    uses
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
    lane_bytes(op.neutral(dtype), dtype)
}
