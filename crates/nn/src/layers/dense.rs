//! Dense layers, and tables of vectors.

use kiln_ir::{DType, Error, ErrorKind, Result};

use crate::composite::{Composite, note};
use crate::init::{Fan, Init};
use crate::layers::{Layer, only_back};
use crate::module::{Context, Lengths, TimeAxis};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::variable::Param;

/// `x · weight + bias`, with the weight stored `[inputs, outputs]` (PyTorch's `Linear` has it the other way round).
#[derive(Clone, Debug)]
pub struct Dense {
    /// `[inputs, outputs]`.
    pub weight: Param,
    /// `[outputs]`.
    pub bias: Option<Param>,
}

crate::parameters!(Dense { weight, bias });

impl Dense {
    /// A layer from `inputs` to `outputs` features; uniform within ±1/√inputs, as PyTorch's `Linear`.
    #[track_caller]
    pub fn new(inputs: usize, outputs: usize, key: Key) -> Dense {
        Dense::with_bias(inputs, outputs, Some(Init::PYTORCH), key)
    }

    /// As [`Dense::new`], with a bias that starts this way, or none.
    #[track_caller]
    pub(crate) fn with_bias(inputs: usize, outputs: usize, bias: Option<Init>, key: Key) -> Dense {
        let fan = Fan { inputs, outputs };
        Dense {
            weight: Param::new(&Init::PYTORCH.fill([inputs, outputs], fan, &key.derive(0))),
            bias: bias.map(|bias| Param::new(&bias.fill([outputs], fan, &key.derive(1)))),
        }
    }

    /// The same layer without its bias.
    pub fn without_bias(self) -> Dense {
        Dense { bias: None, ..self }
    }

    /// The same layer with a weight that starts another way, and a bias of zeros.
    #[track_caller]
    pub fn init(self, init: Init, key: Key) -> Dense {
        let shape = self.weight.shape();
        let fan =
            Fan { inputs: shape.first().copied().unwrap_or(1), outputs: shape.last().copied().unwrap_or(1) };
        let bias = self.bias.map(|bias| Param::new(&Init::Zeros.fill(bias.shape(), fan, &key)));
        Dense { weight: Param::new(&init.fill(shape, fan, &key)), bias }
    }
}

impl Layer for Dense {
    /// Applies the layer to the last axis.
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let weight = self.weight.base();
        let y = x.matmul(&weight);
        if let Some(adapter) = self.weight.adapter() {
            let y = y + adapter.apply(x);
            return match &self.bias {
                Some(bias) => y + bias.tensor(),
                None => y,
            };
        }
        match &self.bias {
            Some(bias) => {
                let bias = bias.tensor();
                note(y + &bias, || (Composite::Dense, [x, &weight, &bias]))
            }
            None => y,
        }
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.before_last(1))
    }
}

/// A vector for each of a number of things, looked up by index.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[count, size]`.
    pub weight: Param,
    /// Whether indices below 0 are padding behind sequences `[batch, steps]`, which the layers behind it leave out.
    pub padded: bool,
}

crate::parameters!(Embedding { weight });

impl Embedding {
    /// `count` vectors of `size` numbers, standard normal as PyTorch's.
    #[track_caller]
    pub fn new(count: usize, size: usize, key: Key) -> Embedding {
        let fan = Fan { inputs: count, outputs: size };
        Embedding {
            weight: Param::new(&Init::Normal(0.0, 1.0).fill([count, size], fan, &key)),
            padded: false,
        }
    }

    /// The same, for sequences of differing lengths, filled up with −1: what is said of one depends on no padding.
    pub fn padded(self) -> Embedding {
        Embedding { padded: true, ..self }
    }
}

impl Layer for Embedding {
    /// The vectors of integer indices of any shape, along a new last axis.
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        if !self.padded || x.error().is_some() {
            return self.weight.tensor().embedding(x);
        }
        ensure!(x.rank() == 2, Shape, "embedding", "padded sequences are [batch, steps], not {}", x.shape());
        let lengths = Lengths::of_codes(x);
        let vectors = self.weight.tensor().embedding(&x.ge(0).select(x, 0i64));
        let vectors = check!(lengths.filled(&vectors, 1, 0.0));
        // What goes on with sequences has no padding.
        if context.cache().is_none() {
            context.set_lengths(Some(lengths));
        }
        vectors
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        Ok(TimeAxis { rank: time.rank + 1, ..time })
    }
}

/// Rows whose last columns are codes (of words, of places): each code becomes a vector that is learned, and joins the amounts before.
#[derive(Clone, Debug)]
pub struct EmbedColumns {
    /// `[count, size]` for each of the last columns.
    pub tables: Vec<Param>,
}

crate::parameters!(EmbedColumns { tables });

impl EmbedColumns {
    /// For each of the last columns, how many codes it has and how long their vectors are; they start small, as one column among many.
    #[track_caller]
    pub fn new(columns: &[(usize, usize)], key: Key) -> EmbedColumns {
        let table = |(place, &(count, size)): (usize, &(usize, usize))| {
            let fan = Fan { inputs: count, outputs: size };
            Param::new(&Init::Normal(0.0, 0.3).fill([count, size], fan, &key.derive(place)))
        };
        EmbedColumns { tables: columns.iter().enumerate().map(table).collect() }
    }
}

impl Layer for EmbedColumns {
    /// `[batch, amounts + codes]` to `[batch, amounts + sizes of all vectors]`.
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        let (width, codes) = (x.size(-1), self.tables.len());
        if x.error().is_none() && codes > width {
            let message = format!("{codes} columns of codes in rows of {width}");
            return Error::new(ErrorKind::Shape, "embed-columns", message).into();
        }
        let amounts = width - codes;
        let vector = |(place, table): (usize, &Param)| {
            let column = x.narrow(-1, (amounts + place) as isize, 1).squeeze(-1);
            table.tensor().embedding(&column.cast(DType::I64))
        };
        let mut parts = vec![x.narrow(-1, 0, amounts)];
        parts.extend(self.tables.iter().enumerate().map(vector));
        Tensor::concat(&parts.iter().collect::<Vec<_>>(), -1)
    }
}
