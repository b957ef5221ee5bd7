//! A model as a table: what each layer is, makes, keeps and costs.

use std::fmt;

use kiln_ir::{DType, Graph, Result, Shape};

use crate::layers::Layer;
use crate::tensor::Tensor;

/// One layer of a model, seen with an input.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its path in the model.
    pub path: String,
    /// What it is.
    pub title: String,
    /// The shape of what it makes.
    pub output: Shape,
    /// Numbers it keeps and trains.
    pub parameters: usize,
    /// Multiplications, additions and so on in one forward pass.
    pub operations: u64,
    /// Bytes of what it makes.
    pub bytes: usize,
}

/// A model seen with an input of some shape; prints as a table.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The layers in order.
    pub rows: Vec<Row>,
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
        let (mut rows, mut before) = (Vec::with_capacity(stages.len()), 0);
        for (path, title, y) in stages {
            y.sound()?;
            let until = operations((&shape, dtype), &y)?;
            let own = |name: &str| path.is_empty() || name == path || name.starts_with(&format!("{path}."));
            rows.push(Row {
                parameters: parameters
                    .iter()
                    .filter(|(name, _)| own(name))
                    .map(|(_, p)| p.shape().elements())
                    .sum(),
                path,
                title,
                output: y.shape(),
                operations: until.saturating_sub(before),
                bytes: y.elements() * y.dtype().size(),
            });
            before = until;
        }
        let count = |frozen: bool| {
            let these = parameters.iter().filter(|(_, param)| param.is_frozen() == frozen);
            these.map(|(_, param)| param.shape().elements()).sum()
        };
        Ok(Summary { rows, trained: count(false), frozen: count(true) })
    }
}

/// What it takes to compute `y` from an input of this shape.
fn operations((shape, dtype): (&Shape, DType), y: &Tensor) -> Result<u64> {
    let declared = [(shape.clone(), dtype)];
    let (graph, _) = Graph::trace(&declared, std::slice::from_ref(&y.0), &[])?;
    Ok(kiln_compile::compile(&graph, crate::default_device()?.target())?
        .kernels
        .iter()
        .map(|kernel| kernel.operations)
        .sum())
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
        let total = |of: fn(&Row) -> f64| self.rows.iter().map(of).sum::<f64>();
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
