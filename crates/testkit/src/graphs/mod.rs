//! Random graphs: bounded in size, of all operations, with shared subexpressions and awkward shapes.
//!
//! Two devices may differ in a float's last bits. So that this stays a small difference, magnitudes are followed and
//! kept small, and what jumps (rounding, comparing, sorting, casting to integers) is applied only to values that come
//! out the same everywhere: those made of arguments by moving and choosing.

mod attention;
mod operations;
mod scan;

use kiln_ir::op::UnaryOp;
use kiln_ir::{DType, Data, Expr, Shape};

use crate::problem::Problem;
use crate::rng::{Range, Rng};

/// The random graph of this seed, of `F32` values with some of other dtypes in between.
///
/// # Panics
/// If a graph is built wrongly, which is a mistake in this generator.
pub fn random_graph(seed: u64) -> Problem {
    let mut maker = Maker { rng: Rng::new(seed ^ 0x6b69_6c6e), inputs: Vec::new(), pool: Vec::new() };
    let steps = 6 + maker.rng.below(60);
    for _ in 0..steps {
        let made = maker.step();
        assert!(made.x.error().is_none(), "random graph {seed}: {:?}", made.x.error());
        maker.pool.push(made);
    }
    let mut outputs: Vec<Expr> = maker.pool.last().map(|last| last.x.clone()).into_iter().collect();
    for _ in 0..maker.rng.below(7) {
        outputs.push(maker.rng.pick(&maker.pool).x.clone());
    }
    Problem::trace(format!("random graph {seed}"), &maker.inputs, &outputs)
        .unwrap_or_else(|error| panic!("random graph {seed}: {error}"))
}

/// No value has more elements than this.
const MOST: usize = 3000;
const SIZES: [usize; 10] = [1, 1, 2, 2, 3, 4, 5, 7, 13, 31];

/// A value that may be used again.
#[derive(Clone)]
struct Made {
    x: Expr,
    /// No element is larger than this.
    bound: f64,
    /// Whether every device gives the same bits.
    exact: bool,
}

struct Maker {
    rng: Rng,
    inputs: Vec<(Shape, Data)>,
    pool: Vec<Made>,
}

impl Maker {
    fn step(&mut self) -> Made {
        match self.rng.below(28) {
            0 => self.leaf(),
            1..=3 => self.smooth_unary(),
            4..=7 => self.arithmetic(),
            8 => self.division(),
            9 => self.jump(),
            10 => self.choice(),
            11 => self.integers(),
            12 => self.reshape(),
            13 => self.permute(),
            14 => self.expand(),
            15 => self.slice(),
            16 => self.pad_or_concat(),
            17..=18 => self.reduction(),
            19 => self.scan_or_sort(),
            20..=21 => self.matmul(),
            22 => self.conv(),
            23 => self.window(),
            24 => self.indexing(),
            25 => self.attention(),
            26 => self.walk(),
            _ => self.gradient(),
        }
    }

    // Where operands come from.

    fn shape(&mut self) -> Shape {
        let rank = *self.rng.pick(&[0, 1, 1, 2, 2, 2, 3, 3, 4]);
        let mut sizes: Vec<usize> = (0..rank).map(|_| *self.rng.pick(&SIZES)).collect();
        if rank > 0 && self.rng.chance(0.03) {
            let axis = self.rng.below(rank);
            sizes[axis] = 0;
        }
        while sizes.iter().product::<usize>() > MOST {
            sizes.pop();
        }
        sizes.into()
    }

    fn argument(&mut self, shape: Shape, dtype: DType, range: Range) -> Expr {
        let data = self.rng.data(&shape, dtype, range);
        if self.rng.chance(0.1) {
            return Expr::constant(data, shape);
        }
        self.inputs.push((shape.clone(), data));
        Expr::input(self.inputs.len() - 1, shape, dtype)
    }

    fn float(&mut self, shape: Shape) -> Made {
        let x = match self.rng.chance(0.1) {
            true => Expr::full(shape, *self.rng.pick(&[0.0, 1.0, -1.0, 2.0, 0.5, 0.3]), DType::F32),
            false => self.argument(shape, DType::F32, Range::Between(-2.0, 2.0)),
        };
        Made { x, bound: 2.0, exact: true }
    }

    fn leaf(&mut self) -> Made {
        let shape = self.shape();
        self.float(shape)
    }

    /// A float of any shape, most often one that was made before, brought back to a tame size.
    fn any(&mut self) -> Made {
        // The last one is the likeliest, so that graphs grow deep; any other makes them share.
        let made = match self.pool.last() {
            Some(last) if self.rng.chance(0.6) => last.clone(),
            Some(_) if self.rng.chance(0.75) => self.rng.pick(&self.pool).clone(),
            _ => self.leaf(),
        };
        if made.bound > 30.0 {
            return Made { x: made.x.unary(UnaryOp::Tanh), bound: 1.0, exact: false };
        }
        made
    }

    fn any_exact(&mut self) -> Made {
        let exact: Vec<Made> = self.pool.iter().filter(|made| made.exact).cloned().collect();
        if exact.is_empty() || self.rng.chance(0.4) { self.leaf() } else { self.rng.pick(&exact).clone() }
    }

    /// Another value that broadcasts with this shape: one of the pool, or a new one with some axes left out or one.
    fn beside(&mut self, shape: &Shape) -> Made {
        let fitting: Vec<Made> = self
            .pool
            .iter()
            .filter(|made| made.x.shape().broadcast(shape).is_some_and(|both| both.elements() <= MOST))
            .cloned()
            .collect();
        if !fitting.is_empty() && self.rng.chance(0.6) {
            return self.rng.pick(&fitting).clone();
        }
        let missing = if self.rng.chance(0.3) { self.rng.below(shape.rank() + 1) } else { 0 };
        let sizes = shape[missing..].iter().map(|&size| if self.rng.chance(0.2) { 1 } else { size });
        let shape = Shape::from(sizes.collect::<Vec<_>>());
        self.float(shape)
    }

    /// An integer argument.
    fn index(&mut self, shape: Shape, end: usize) -> Expr {
        self.argument(shape, DType::I64, Range::Below(end))
    }

    /// Of at least this rank, the value itself or with axes of one in front.
    fn of_rank(&mut self, least: usize) -> Made {
        let made = self.any();
        let missing = least.saturating_sub(made.x.rank());
        let sizes = [&vec![1; missing][..], &made.x.shape()].concat();
        Made { x: made.x.reshape(sizes), ..made }
    }

    fn axis(&mut self, x: &Expr) -> usize {
        self.rng.below(x.rank())
    }

    /// Positive and away from zero.
    fn positive(&mut self) -> Expr {
        self.any().x.unary(UnaryOp::Sigmoid) + 0.5
    }
}
