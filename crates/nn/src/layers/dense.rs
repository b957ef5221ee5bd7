//! Dense layers, and tables of vectors.

use crate::init::{Fan, Init};
use crate::layers::Layer;
use crate::module::Context;
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
        let fan = Fan { inputs, outputs };
        Dense {
            weight: Param::new(&Init::PYTORCH.fill([inputs, outputs], fan, &key.derive(0))),
            bias: Some(Param::new(&Init::PYTORCH.fill([outputs], fan, &key.derive(1)))),
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
        let y = x.matmul(&self.weight.tensor());
        match &self.bias {
            Some(bias) => y + bias.tensor(),
            None => y,
        }
    }
}

/// A vector for each of a number of things, looked up by index.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `[count, size]`.
    pub weight: Param,
}

crate::parameters!(Embedding { weight });

impl Embedding {
    /// `count` vectors of `size` numbers, standard normal as PyTorch's.
    #[track_caller]
    pub fn new(count: usize, size: usize, key: Key) -> Embedding {
        let fan = Fan { inputs: count, outputs: size };
        Embedding { weight: Param::new(&Init::Normal(0.0, 1.0).fill([count, size], fan, &key)) }
    }
}

impl Layer for Embedding {
    /// The vectors of integer indices of any shape, along a new last axis.
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        self.weight.tensor().embedding(x)
    }
}
