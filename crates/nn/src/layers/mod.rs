//! Layers: modules with a forward pass of one tensor. They start as PyTorch's do, and say where they don't.

mod amounts;
mod attention;
mod calibration;
mod columns;
mod conv;
mod dense;
mod members;
mod norm;
mod plain;
mod recurrent;
mod trees;

pub use amounts::{LearnedScale, Places, Waves};
pub use attention::{MultiHeadAttention, PositionalEmbedding, TransformerBlock, TransformerOptions};
pub use calibration::{Calibrate, Isotonic};
pub use columns::{RowSteps, Take};
pub use conv::{Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d};
pub(crate) use conv::{convolution, transposed_convolution};
pub use dense::{Dense, EmbedColumns, Embedding};
pub use members::{MemberScales, MembersDense};
pub use norm::{BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RmsNorm};
pub use plain::{Activation, Dropout, Flatten, Lambda, OverTime, PRelu, Pool, Reshape, Transpose, Upsample};
pub use recurrent::{Gru, Lstm, RecurrentOptions, Rnn};
pub use trees::{TreeNodes, Trees, check_trees};

use kiln_ir::Result;

use crate::module::{Context, Module, TimeAxis, looks_ahead, unpadded};
use crate::tensor::Tensor;

/// A module that makes one tensor of another.
///
/// ```
/// use kiln_nn::{Context, Dense, Key, Layer, Tensor, parameters};
///
/// struct Net { hidden: Dense, out: Dense }
/// parameters!(Net { hidden, out });
///
/// impl Layer for Net {
///     fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
///         self.out.forward(&self.hidden.forward(x, cx).relu(), cx)
///     }
/// }
///
/// let [first, second] = Key::new(1).split();
/// let net = Net { hidden: Dense::new(4, 8, first), out: Dense::new(8, 2, second) };
/// let y = net.forward(&Tensor::ones([3, 4]), &Context::inference());
/// assert_eq!(y.shape().sizes(), [3, 2]);
/// ```
pub trait Layer: Module {
    /// What becomes of `x`. The context says whether this is training, and where randomness comes from.
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor;

    /// The layers it is made of, as a summary shows them: path, description, and what comes out of each. A layer
    /// that doesn't say is one row.
    fn stages(&self, x: &Tensor) -> Vec<(String, String, Tensor)> {
        vec![(String::new(), short_name::<Self>().to_string(), self.forward(x, &Context::inference()))]
    }

    /// Where time lies in what comes out, for a sequence whose time lies there in what comes in; an error of a layer in which a step may
    /// depend on later ones, and of one that doesn't say. One that does computes with a [`Cache`](crate::Cache), step by step, what it computes of
    /// all steps at once; see [`Function::cached`](crate::Function::cached).
    ///
    /// # Errors
    /// As said.
    #[track_caller]
    fn time_axis(&self, _: TimeAxis) -> Result<TimeAxis> {
        Err(looks_ahead(short_name::<Self>()))
    }

    /// Where time lies in what comes out, for sequences of differing lengths whose time lies there in what comes in; nowhere where each
    /// has become one. What is said of a sequence must depend on none of the padding behind it, which is so where no step depends on later ones:
    /// a layer that says so by [`Layer::time_axis`] needs to say nothing here.
    ///
    /// # Errors
    /// Of a layer that doesn't know where sequences end.
    #[track_caller]
    fn padded_axis(&self, time: TimeAxis) -> Result<Option<TimeAxis>> {
        match self.time_axis(time) {
            Ok(time) => Ok(Some(time)),
            Err(_) => Err(unpadded(format!("{} doesn't know where sequences end", short_name::<Self>()))),
        }
    }
}

/// The name of a type, without its path.
fn short_name<T: ?Sized>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}

/// Time where it lies, or the error that this layer looks ahead.
#[track_caller]
pub(crate) fn only_back<L>(time: Option<TimeAxis>) -> Result<TimeAxis> {
    time.ok_or_else(|| looks_ahead(short_name::<L>()))
}

#[deny(clippy::missing_trait_methods)]
impl<L: Layer + ?Sized> Layer for Box<L> {
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        (**self).forward(x, context)
    }

    fn stages(&self, x: &Tensor) -> Vec<(String, String, Tensor)> {
        (**self).stages(x)
    }

    #[track_caller]
    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        (**self).time_axis(time)
    }

    #[track_caller]
    fn padded_axis(&self, time: TimeAxis) -> Result<Option<TimeAxis>> {
        (**self).padded_axis(time)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<L: Layer + ?Sized> Layer for &L {
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        (**self).forward(x, context)
    }

    fn stages(&self, x: &Tensor) -> Vec<(String, String, Tensor)> {
        (**self).stages(x)
    }

    #[track_caller]
    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        (**self).time_axis(time)
    }

    #[track_caller]
    fn padded_axis(&self, time: TimeAxis) -> Result<Option<TimeAxis>> {
        (**self).padded_axis(time)
    }
}
