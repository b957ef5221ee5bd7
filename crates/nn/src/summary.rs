//! A model as a table: what each layer is, makes, keeps and costs.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use kiln_ir::graph::NodeId;
use kiln_ir::{DType, Graph, Op, Result, Shape};

use crate::layers::Layer;
use crate::tensor::Tensor;
use crate::variable::Param;

/// One layer of a model, seen with an input.
#[derive(Clone, Debug)]
pub struct LayerSummary {
    /// Its path in the model.
    pub path: String,
    /// What it is.
    pub title: String,
    /// The shape of what it makes.
    pub output: Shape,
    /// Numbers it keeps and trains.
    pub parameters: usize,
    /// Multiplications, additions and so on in one forward pass, as it is computed by itself.
    pub operations: u64,
    /// Bytes of what it makes.
    pub bytes: usize,
}

/// A model seen with an input of some shape; prints as a table.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The layers in order.
    pub rows: Vec<LayerSummary>,
    /// Numbers that are trained.
    pub trained: usize,
    /// Numbers that are frozen.
    pub frozen: usize,
}

impl Summary {
    /// Sends an input of this shape through the model, without computing anything.
    ///
    /// ```
    /// use kiln_nn::{Sequential, Summary};
    ///
    /// let model = Sequential::new().dense(8).relu().dense(3);
    /// let summary = Summary::of(&model, [1, 4])?;
    /// assert_eq!(summary.trained, 4 * 8 + 8 + 8 * 3 + 3);
    /// println!("{summary}");
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where a layer doesn't fit what reaches it.
    #[track_caller]
    pub fn of(model: &dyn Layer, input: impl Into<Shape>) -> Result<Summary> {
        Summary::of_type(model, input, DType::F32)
    }

    /// As [`Summary::of`], for an input of another type: codes of text are `I64`.
    ///
    /// # Errors
    /// Where a layer doesn't fit what reaches it.
    #[track_caller]
    pub fn of_type(model: &dyn Layer, input: impl Into<Shape>, dtype: DType) -> Result<Summary> {
        let shape = input.into();
        let x = Tensor(kiln_ir::Expr::input(0, shape.clone(), dtype));
        let stages = model.stages(&x);
        let parameters = model.parameters();
        let outputs = stages.iter().map(|(.., y)| Ok(y.sound()?.0.clone())).collect::<Result<Vec<_>>>()?;
        let (graph, _) = Graph::trace(&[(shape, dtype)], &outputs, &[])?;
        let mut known = vec![false; graph.nodes.len()];
        let within = within(&parameters);
        let mut rows = Vec::with_capacity(stages.len());
        for ((path, title, y), &result) in stages.into_iter().zip(&graph.outputs) {
            rows.push(LayerSummary {
                parameters: within.get(path.as_str()).copied().unwrap_or(0),
                path,
                title,
                output: y.shape(),
                operations: operations(&stage(&graph, result, &mut known))?,
                bytes: y.elements() * y.dtype().size(),
            });
        }
        let count = |frozen: bool| {
            let these = parameters.iter().filter(|(_, param)| param.is_frozen() == frozen);
            these.map(|(_, param)| param.shape().elements()).sum()
        };
        Ok(Summary { rows, trained: count(false), frozen: count(true) })
    }
}

/// How many numbers are kept under each path: that of a parameter, and those of what it is part of.
fn within(parameters: &[(String, Param)]) -> HashMap<&str, usize> {
    let mut within = HashMap::new();
    for (path, param) in parameters {
        let parts = path.match_indices('.').map(|(end, _)| end);
        let mut ends: Vec<usize> = [0, path.len()].into_iter().chain(parts).collect();
        ends.sort_unstable();
        ends.dedup();
        for end in ends {
            *within.entry(&path[..end]).or_default() += param.shape().elements();
        }
    }
    within
}

/// What a stage computes: all that `result` follows from and no stage before it has computed, which comes in as arguments.
/// So each node is in one stage, however many there are.
fn stage(graph: &Graph, result: NodeId, known: &mut [bool]) -> Graph {
    // Leaves cost nothing, and what follows from variables alone is to be seen as such.
    let is_leaf =
        |id: NodeId| graph.nodes[id].inputs.is_empty() && !matches!(graph.nodes[id].op, Op::Input(_));
    let mut ids = BTreeSet::new();
    let mut stack = vec![result];
    while let Some(id) = stack.pop() {
        if ids.insert(id) && !known[id] {
            stack.extend(&graph.nodes[id].inputs);
        }
    }
    let mut own = Graph::default();
    let mut new_id = HashMap::new();
    for id in ids {
        let mut node = graph.nodes[id].clone();
        if known[id] || matches!(node.op, Op::Input(_)) {
            node.op = Op::Input(own.inputs.len());
            node.inputs.clear();
            own.inputs.push((node.shape.clone(), node.dtype));
        }
        node.inputs.iter_mut().for_each(|input| *input = new_id[input]);
        known[id] = !is_leaf(id);
        new_id.insert(id, own.nodes.len());
        own.nodes.push(node);
    }
    own.outputs.push(new_id[&result]);
    own
}

/// What it takes to compute a graph.
fn operations(graph: &Graph) -> Result<u64> {
    let program = kiln_compile::compile(graph, crate::default_device()?.target())?;
    Ok(program.kernels.iter().map(|kernel| kernel.operations).sum())
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            vec![["", "layer", "output", "parameters", "operations", "memory"].map(str::to_string)];
        for row in &self.rows {
            table.push([
                row.path.clone(),
                row.title.clone(),
                row.output.to_string(),
                grouped(row.parameters as u64),
                amount(row.operations as f64, ""),
                amount(row.bytes as f64, "B"),
            ]);
        }
        let total = |of: fn(&LayerSummary) -> f64| self.rows.iter().map(of).sum::<f64>();
        table.push([
            String::new(),
            "in all".to_string(),
            String::new(),
            grouped((self.trained + self.frozen) as u64),
            amount(total(|row| row.operations as f64), ""),
            amount(total(|row| row.bytes as f64), "B"),
        ]);
        let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..6).map(width).collect();
        for (number, row) in table.iter().enumerate() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column] - cell.chars().count());
                let cell = if column < 3 { format!("{cell}{pad}") } else { format!("{pad}{cell}") };
                line += if column == 0 { "" } else { "  " };
                line += &cell;
            }
            writeln!(f, "{}", line.trim_end())?;
            if number == 0 || number + 2 == table.len() {
                writeln!(f, "{}", "-".repeat(widths.iter().sum::<usize>() + 10))?;
            }
        }
        let (trained, frozen) = (grouped(self.trained as u64), grouped(self.frozen as u64));
        write!(
            f,
            "{trained} trained, {frozen} frozen; {} of parameters",
            amount((self.trained + self.frozen) as f64 * 4.0, "B")
        )
    }
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 M`.
fn amount(value: f64, unit: &str) -> String {
    let (scaled, prefix) = match value {
        v if v >= 1e9 => (v / 1e9, "G"),
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => return format!("{v} {unit}").trim_end().to_string(),
    };
    format!("{scaled:.1} {prefix}{unit}")
}
