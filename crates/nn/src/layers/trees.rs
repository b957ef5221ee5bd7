//! Decision trees that were grown elsewhere: as a layer, and as the walk of rows down trees that networks of files use too.

use std::ops::Range;
use std::thread;

use kiln_ir::{DType, Data, Error, ErrorKind, Result, Shape};

use crate::budget::{afford, spend};
use crate::composite::{Composite, note};
use crate::layers::{Layer, only_back};
use crate::module::{Context, Module, TimeAxis, Visitor};
use crate::runtime::room;
use crate::tensor::Tensor;
use crate::tensor::custom::HostOp;
use crate::variable::Variable;

/// Trees as lists: those of nodes have an entry for each node of all trees, one tree behind the other and a node before those it leads to.
#[derive(Clone, Debug)]
pub struct TreeNodes {
    /// `[trees]`: the first node of each tree, ascending from 0.
    pub roots: Tensor,
    /// `[nodes]`: the column that a node asks of.
    pub columns: Tensor,
    /// `[nodes]`, of the type of what is asked of: the number it compares with.
    pub thresholds: Tensor,
    /// `[nodes, 4]`: where a row goes on whose number is less, equal, more, or none at all. A leaf leads to itself four times.
    pub children: Tensor,
}

impl TreeNodes {
    /// The leaf of each tree that each row of `x`, `[rows, columns]`, comes to: `[rows, trees]`, of `i32`. Nodes that lead back or into
    /// another tree, and columns that aren't there, are an error of the run.
    ///
    /// ```
    /// use kiln_nn::Tensor;
    /// use kiln_nn::layers::TreeNodes;
    ///
    /// // One tree: up to 0.5 in column 1 to node 1, above it or where nothing is known to node 2.
    /// let tree = TreeNodes {
    ///     roots: Tensor::from([0i32]),
    ///     columns: Tensor::from([1i32, 0, 0]),
    ///     thresholds: Tensor::from([0.5f32, 0.0, 0.0]),
    ///     children: Tensor::from([[1i32, 1, 2, 2], [1; 4], [2; 4]]),
    /// };
    /// let x = Tensor::from([[9f32, 0.5], [9.0, 0.6], [9.0, f32::NAN]]);
    /// assert_eq!(tree.leaves(&x).to_vec::<i32>()?, [1, 2, 2]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn leaves(&self, x: &Tensor) -> Tensor {
        Tensor::custom(Walk, &[x, &self.roots, &self.columns, &self.thresholds, &self.children])
    }
}

/// A forest that was grown elsewhere: the sum of the leaves that a row comes to, one value a leaf, for the output that its tree is of. Nothing
/// of it is trained by descent, and no gradient goes through it.
#[derive(Clone, Debug)]
pub struct Trees {
    /// The first node of each tree.
    pub roots: Variable,
    /// The column of each node.
    pub columns: Variable,
    /// The threshold of each node.
    pub thresholds: Variable,
    /// `[nodes, 4]`, as in [`TreeNodes`].
    pub children: Variable,
    /// What each node says as a leaf.
    pub values: Variable,
    /// The output that each tree is of.
    pub targets: Variable,
    /// What is added to the outputs.
    pub base: Variable,
}

impl Module for Trees {
    fn visit(&self, visitor: &mut Visitor) {
        visitor.state("roots", &self.roots);
        visitor.state("columns", &self.columns);
        visitor.state("thresholds", &self.thresholds);
        visitor.state("children", &self.children);
        visitor.state("values", &self.values);
        visitor.state("targets", &self.targets);
        visitor.state("base", &self.base);
    }
}

/// The first size that no `i32` counts.
const TOO_MANY: usize = i32::MAX as usize;

impl Trees {
    /// So many trees of so many nodes in all, each of which is a leaf that says 1 until it is told otherwise; the trees are of the outputs in turn.
    ///
    /// # Errors
    /// Where there are fewer nodes than trees, or more than a file or the memory has room for.
    #[track_caller]
    pub fn new(outputs: usize, trees: usize, nodes: usize) -> Result<Trees> {
        let refuse = |message: String| Err(Error::new(ErrorKind::Value, "trees", message));
        if trees == 0 || outputs == 0 {
            return refuse("a forest has a tree and an output at least".to_string());
        }
        if nodes < trees {
            return refuse(format!("{trees} trees have that many roots, and there are {nodes} nodes"));
        }
        if nodes >= TOO_MANY {
            return refuse(format!("{nodes} nodes are more than can be counted in 32 bits"));
        }
        let whole = |data: Vec<i32>, shape: Shape| Variable::new("", Data::I32(data), shape);
        let sizes = [&[trees][..], &[nodes], &[nodes], &[nodes, 4], &[nodes], &[trees], &[outputs]];
        let [roots, columns, thresholds, children, values, targets, base] = sizes.map(Shape::from);
        for shape in [&roots, &columns, &thresholds, &children, &values, &targets, &base] {
            afford(shape)?;
            room(shape, DType::I32)?;
            spend(shape);
        }
        Ok(Trees {
            roots: whole((0..trees as i32).collect(), roots)?,
            columns: whole(vec![0; nodes], columns)?,
            thresholds: Variable::filled("", 0f32, thresholds),
            children: whole((0..nodes as i32).flat_map(|node| [node; 4]).collect(), children)?,
            values: Variable::filled("", 1f32, values),
            targets: whole((0..trees).map(|tree| (tree % outputs) as i32).collect(), targets)?,
            base: Variable::filled("", 0f32, base),
        })
    }
}

impl Layer for Trees {
    /// `[…, columns]` to `[…, outputs]`.
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        if x.error().is_none() && x.rank() > 2 {
            let sizes = &x.shape()[..x.rank() - 1];
            let (rows, columns) = (sizes.iter().product::<usize>(), x.size(-1));
            let out: Vec<usize> = sizes.iter().copied().chain([self.base.shape()[0]]).collect();
            return self.of_rows(&x.reshape([rows, columns])).reshape(out);
        }
        self.of_rows(x)
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.before_last(1))
    }
}

impl Trees {
    /// `[rows, columns]` to `[rows, outputs]`.
    #[track_caller]
    fn of_rows(&self, x: &Tensor) -> Tensor {
        let parts = [
            &self.roots,
            &self.columns,
            &self.thresholds,
            &self.children,
            &self.values,
            &self.targets,
            &self.base,
        ];
        let parts = parts.map(Variable::tensor);
        let [roots, columns, thresholds, children, values, targets, base] = parts.clone();
        let (trees, outputs) = (roots.size(0), base.size(0));
        let nodes = TreeNodes { roots, columns, thresholds, children };
        let leaves = nodes.leaves(&x.cast(DType::F32));
        let rows = x.size(0);
        let found = values.index_select(0, &leaves.reshape([rows * trees])).reshape([rows, trees]);
        let y = found.matmul(&targets.one_hot(outputs).cast(DType::F32)) + &base;
        note(y, || (Composite::Trees, std::iter::once(x).chain(&parts)))
    }
}

/// The walk. It is an operation of the host: made of gathers, each level of each tree would pass through memory several times.
struct Walk;

/// Rows that go through all trees together, so that they and a tree stay near the core.
const ROWS: usize = 128;

/// Fewer steps than this, at eight a tree, aren't worth a thread.
const ALONE: usize = 1 << 15;

impl HostOp for Walk {
    fn name(&self) -> &str {
        "trees"
    }

    fn infer(&self, operands: &[(&Shape, DType)]) -> Result<(Shape, DType), String> {
        let [(x, dtype), (roots, a), (columns, b), (thresholds, own), (children, c)] = operands else {
            return Err("takes rows and four lists of nodes".to_string());
        };
        if x.rank() != 2 || roots.rank() != 1 || columns.rank() != 1 {
            return Err(format!("{x} isn't [rows, columns], or {roots} and {columns} aren't lists"));
        }
        if columns != thresholds || children.sizes() != [columns[0], 4] {
            return Err(format!("{columns} columns, {thresholds} thresholds and {children} children"));
        }
        if [a, b, c].into_iter().any(|dtype| *dtype != DType::I32) {
            return Err("roots, columns and children are i32".to_string());
        }
        if dtype != own || !matches!(dtype, DType::F32 | DType::F64) {
            return Err(format!("{dtype} is compared with {own}; both are f32, or both f64"));
        }
        Ok((Shape::from([x[0], roots[0]]), DType::I32))
    }

    fn compute(&self, operands: &[(&Shape, &Data)]) -> Result<Data, Error> {
        let [(x_shape, x), (_, roots), (_, columns), (_, thresholds), (_, children)] = operands else {
            return Err(fault("operands are missing".to_string()));
        };
        let (Data::I32(roots), Data::I32(columns), Data::I32(children)) = (roots, columns, children) else {
            return Err(fault("lists of nodes are i32".to_string()));
        };
        let forest = WalkedForest { roots, columns, children, width: x_shape[1] };
        match (x, thresholds) {
            (Data::F32(x), Data::F32(thresholds)) => forest.walk(x, thresholds),
            (Data::F64(x), Data::F64(thresholds)) => forest.walk(x, thresholds),
            _ => Err(fault("rows and thresholds are of one type".to_string())),
        }
    }
}

/// Refuses lists of nodes down which no row can walk, or whose trees are of outputs that aren't there.
///
/// # Errors
/// As said, with the node or tree.
pub fn check_trees(roots: &[i32], children: &[i32], targets: &[i32], outputs: usize) -> Result<()> {
    let forest = WalkedForest { roots, columns: &vec![0; children.len() / 4], children, width: 1 };
    for (tree, target) in targets.iter().enumerate() {
        let (start, end) = forest.range(tree)?;
        for (node, ways) in (start..end).zip(children[start * 4..end * 4].chunks_exact(4)) {
            let is_leaf = ways.iter().all(|next| *next as usize == node);
            let leads_on = |next: &i32| (node + 1..end).contains(&(*next as usize));
            if !is_leaf && !ways.iter().all(leads_on) {
                return Err(astray(node, start..end, ways.iter().find(|next| !leads_on(next))));
            }
        }
        if !(0..outputs as i64).contains(&i64::from(*target)) {
            return Err(fault(format!("tree {tree} is of output {target} of {outputs}")));
        }
    }
    Ok(())
}

/// A node that leads where no row may go.
fn astray(node: usize, tree: Range<usize>, next: Option<&i32>) -> Error {
    let (start, end, next) = (tree.start, tree.end, next.copied().unwrap_or(-1));
    let message = format!(
        "node {node} of the tree from {start} to {end} leads to node {next}; nodes lead on within their tree"
    );
    fault(message)
}

fn fault(message: String) -> Error {
    Error::new(ErrorKind::Value, "trees", message)
}

/// Trees as a run has them.
struct WalkedForest<'d> {
    roots: &'d [i32],
    columns: &'d [i32],
    children: &'d [i32],
    /// Columns of a row.
    width: usize,
}

impl WalkedForest<'_> {
    /// The leaves of all rows.
    fn walk<T: Copy + PartialOrd + Sync>(&self, x: &[T], thresholds: &[T]) -> Result<Data, Error> {
        let (trees, width) = (self.roots.len(), self.width);
        let rows = x.len().checked_div(width).unwrap_or(0);
        let mut leaves = Vec::new();
        leaves.try_reserve_exact(rows.saturating_mul(trees)).map_err(|_| {
            Error::new(ErrorKind::Device, "trees", format!("no memory for {rows} × {trees} leaves"))
        })?;
        leaves.resize(rows * trees, 0i32);
        if leaves.is_empty() {
            return Ok(Data::I32(leaves));
        }
        let pieces = rows.div_ceil(ROWS);
        let helpers = (rows * trees * 8 / ALONE).clamp(1, crate::device::threads().max(1)).min(pieces);
        let share = pieces.div_ceil(helpers) * ROWS;
        let parts = x.chunks(share * width).zip(leaves.chunks_mut(share * trees));
        let walk = |(x, leaves): (&[T], &mut [i32])| {
            let pieces = x.chunks(ROWS * width).zip(leaves.chunks_mut(ROWS * trees));
            pieces.into_iter().try_for_each(|(x, leaves)| self.rows(x, thresholds, leaves))
        };
        if helpers == 1 {
            parts.into_iter().try_for_each(walk)?;
        } else {
            thread::scope(|scope| {
                let all: Vec<_> = parts.map(|part| scope.spawn(move || walk(part))).collect();
                let ended = |handle: thread::ScopedJoinHandle<_>| {
                    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                // The first of several errors, whichever thread was first.
                all.into_iter()
                    .map(ended)
                    .collect::<Vec<Result<(), Error>>>()
                    .into_iter()
                    .collect::<Result<(), _>>()
            })?;
        }
        Ok(Data::I32(leaves))
    }

    /// The leaves of a few rows, tree by tree.
    fn rows<T: Copy + PartialOrd>(&self, x: &[T], thresholds: &[T], leaves: &mut [i32]) -> Result<(), Error> {
        let trees = self.roots.len();
        for tree in 0..trees {
            let (start, end) = self.range(tree)?;
            let (columns, thresholds) = (&self.columns[start..end], &thresholds[start..end]);
            let children = &self.children[start * 4..end * 4];
            for (row, leaves) in x.chunks_exact(self.width).zip(leaves.chunks_exact_mut(trees)) {
                let mut at = 0;
                // Each step leads on, so that there are no more of them than nodes.
                leaves[tree] = loop {
                    let column = columns[at] as usize;
                    let Some(number) = row.get(column) else {
                        let message =
                            format!("node {} asks of column {column} of {}", start + at, self.width);
                        return Err(fault(message));
                    };
                    let way = match number.partial_cmp(&thresholds[at]) {
                        Some(order) => order as i8 + 1,
                        None => 3,
                    };
                    let next = (children[at * 4 + way as usize] as usize).wrapping_sub(start);
                    if next == at {
                        break (start + at) as i32;
                    }
                    if next < at || next >= columns.len() {
                        return Err(astray(start + at, start..end, children.get(at * 4 + way as usize)));
                    }
                    at = next;
                };
            }
        }
        Ok(())
    }

    /// The nodes of a tree.
    fn range(&self, tree: usize) -> Result<(usize, usize), Error> {
        let count = self.columns.len();
        let root = |tree: usize| self.roots.get(tree).map_or(Some(count), |root| usize::try_from(*root).ok());
        match (root(tree), root(tree + 1)) {
            (Some(start), Some(end)) if start < end && end <= count => Ok((start, end)),
            _ => Err(fault(format!(
                "tree {tree} begins where it can't; roots ascend, and there are {count} nodes"
            ))),
        }
    }
}
