//! Composites: operations of the trade that are made of smaller ones here. A softmax is made of exponentials, sums and a division, which
//! is all that computing needs; whoever writes a model for others wants to say "softmax". While a forward pass is recorded, what
//! is composed leaves a note of what it is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use kiln_ir::Expr;
use kiln_ir::node::next_id;
use kiln_ir::op::WindowSpec;

use crate::tensor::Tensor;

/// An operation of the trade that is composed of smaller ones here. The values it is of stand in [`Noted::inputs`].
#[derive(Clone, Debug, PartialEq)]
pub enum Composite {
    /// Of `x`, along an axis.
    Softmax(usize),
    /// Of `x`, along an axis.
    LogSoftmax(usize),
    /// Of `x`; whether by the approximation with a hyperbolic tangent.
    Gelu(bool),
    /// Of `x`, with its alpha.
    Elu(f64),
    /// Of `x`, with its alpha.
    Celu(f64),
    /// Of `x`.
    Selu,
    /// Of `x`, with its slope below zero.
    LeakyRelu(f64),
    /// Of `x` and slopes that broadcast to it.
    PRelu,
    /// Of `x`, between 0 and 6.
    Relu6,
    /// Of `x`.
    Softplus,
    /// Of `x`.
    Softsign,
    /// Of `x`.
    Mish,
    /// Of `x`.
    HardSigmoid,
    /// Of `x`.
    HardSwish,
    /// Of `x`, weight `[inputs, outputs]` and a bias.
    Dense,
    /// A convolution's result and a bias for each channel.
    Biased,
    /// Of `x`, scale, shift, mean and variance by channel.
    BatchNorm(f64),
    /// Of `x`, scale and shift, over the axes from this one on.
    LayerNorm(usize, f64),
    /// Of `x` and scale, over the axes from this one on.
    RmsNorm(usize, f64),
    /// Of `x`, scale and shift by channel, in so many groups.
    GroupNorm(usize, f64),
    /// Of `x`, scale and shift by channel.
    InstanceNorm(f64),
    /// Of images, with the padding that was asked for and whether it counts.
    AveragePool(WindowSpec, Vec<(usize, usize)>, bool),
    /// Of images, without the spatial axes in the result.
    GlobalAverage,
    /// Of images, without the spatial axes in the result.
    GlobalMax,
    /// Slices of `x` along an axis, by an index of any shape.
    Select(usize),
    /// Images resized to these sizes.
    Resize(Vec<usize>, Resizing),
    /// Sums over trees: of `x`, the roots, columns, thresholds and children of [`TreeNodes`](crate::layers::TreeNodes), what leaves say, the output
    /// that each tree is of, and what is added.
    Trees,
    /// One result of a recurrent cell: of a sequence `[batch, time, inputs]`, the weights of inputs and state, their biases if there are
    /// some, and the state it starts from if there is one.
    Recurrent(Recurrent),
}

/// A recurrent cell that walked along a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recurrent {
    /// Which.
    pub cell: RecurrentCell,
    /// Which result: 0 for what comes out of all steps, 1 for the last state, 2 for an LSTM's last cell.
    pub result: usize,
    /// Whether it walked from the last step to the first.
    pub reverse: bool,
    /// Whether biases stand among the inputs.
    pub biased: bool,
    /// Whether a state stands among the inputs.
    pub started: bool,
}

/// The recurrent cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecurrentCell {
    /// Gates i f g o.
    Lstm,
    /// Gates r z n; whether the reset comes before the product with the state.
    Gru(bool),
    /// Whether with a rectifier instead of a hyperbolic tangent.
    Rnn(bool),
}

/// How images are resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resizing {
    /// Each element is the nearest one.
    Nearest,
    /// Straight lines between neighbours; the outer edges keep their places.
    Linear,
    /// Straight lines between neighbours; the outermost elements keep their places.
    LinearAligned,
}

/// The composite that a value is, and of which values.
#[derive(Clone, Debug)]
pub struct Noted {
    /// The operation.
    pub composite: Composite,
    /// What it is of.
    pub inputs: Vec<Tensor>,
}

/// What was noted during a recording.
#[derive(Debug, Default)]
pub struct Notes {
    values: HashMap<u64, Noted>,
    /// Paths of layers and the numbers of the nodes that were built in them; the inner ones first.
    layers: Vec<(String, Range<u64>)>,
    path: Vec<String>,
}

impl Notes {
    /// The composite that the node with this number is.
    pub fn of(&self, node: u64) -> Option<&Noted> {
        self.values.get(&node)
    }

    /// The path of the layer that the node with this number was built in.
    pub fn layer(&self, node: u64) -> Option<&str> {
        self.layers.iter().find(|(_, nodes)| nodes.contains(&node)).map(|(path, _)| path.as_str())
    }
}

impl Notes {
    /// Lets what was noted of nodes hold of the values that stand for them now.
    pub fn follow(&mut self, now: &HashMap<u64, Expr>) {
        let moved = |value: &Tensor| {
            let node = value.expr().node().ok().and_then(|node| now.get(&node.id));
            node.map_or_else(|| value.clone(), |value| Tensor::from(value.clone()))
        };
        for noted in self.values.values_mut() {
            noted.inputs.iter_mut().for_each(|input| *input = moved(input));
        }
        for (before, value) in now {
            let Ok(node) = value.node() else { continue };
            if let Some(noted) = self.values.remove(before) {
                self.values.insert(node.id, noted);
            }
            if let Some(layer) = self.layer(*before).map(String::from) {
                self.layers.insert(0, (layer, node.id..node.id + 1));
            }
        }
    }
}

thread_local! {
    static NOTES: RefCell<Option<Notes>> = const { RefCell::new(None) };
}

/// Runs `f` and gives what was noted in it. What is recorded around it goes on afterwards, also after a panic.
pub fn record<R>(f: impl FnOnce() -> R) -> (R, Notes) {
    struct Outside(Option<Notes>);
    impl Drop for Outside {
        fn drop(&mut self) {
            NOTES.set(self.0.take());
        }
    }
    let _outside = Outside(NOTES.replace(Some(Notes::default())));
    let result = f();
    let notes = NOTES.take().unwrap_or_default();
    (result, notes)
}

/// Whether somebody records here.
pub(crate) fn is_recorded() -> bool {
    NOTES.with_borrow(Option::is_some)
}

/// Notes which composite a value is, if somebody records. For those who compose such a value themselves.
pub fn note<'a, I: IntoIterator<Item = &'a Tensor>>(
    value: Tensor,
    composite: impl FnOnce() -> (Composite, I),
) -> Tensor {
    if is_recorded() {
        let (composite, inputs) = composite();
        put_down(&value, Noted { composite, inputs: inputs.into_iter().cloned().collect() });
    }
    value
}

fn put_down(value: &Tensor, noted: Noted) {
    NOTES.with_borrow_mut(|notes| {
        if let (Some(notes), Ok(node)) = (notes.as_mut(), value.expr().node()) {
            // What came out as it went in is nothing that happened.
            if noted.inputs.iter().all(|input| input.expr().node().is_ok_and(|input| input.id < node.id)) {
                notes.values.insert(node.id, noted);
            }
        }
    });
}

/// Runs a layer under its name.
pub(crate) fn layer<R>(name: impl FnOnce() -> String, f: impl FnOnce() -> R) -> R {
    /// Ends the layer whose first node has this number, also after a panic.
    struct Ends(Option<u64>);
    impl Drop for Ends {
        fn drop(&mut self) {
            let Some(first) = self.0 else { return };
            NOTES.with_borrow_mut(|notes| {
                if let Some(notes) = notes {
                    notes.layers.push((notes.path.join("."), first..next_id()));
                    notes.path.pop();
                }
            });
        }
    }
    let _ends = Ends(NOTES.with_borrow_mut(|notes| {
        notes.as_mut().map(|notes| {
            notes.path.push(name());
            next_id()
        })
    }));
    f()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn softmaxes(notes: &Notes, values: &[&Tensor]) -> usize {
        let of = |value: &&&Tensor| value.expr().node().is_ok_and(|node| notes.of(node.id).is_some());
        values.iter().filter(of).count()
    }

    #[test]
    fn a_recording_goes_on_after_one_within_it_and_after_a_panic() {
        let x = Tensor::from([[1f32, 2.0], [3.0, 4.0]]);
        let (values, notes) = record(|| {
            let before = x.softmax(-1);
            let (inner, own) = record(|| x.log_softmax(-1));
            assert_eq!(softmaxes(&own, &[&before, &inner]), 1);
            assert!(std::panic::catch_unwind(|| record(|| panic!("on purpose"))).is_err());
            [before, inner, x.softmax(0)]
        });
        assert_eq!(softmaxes(&notes, &values.iter().collect::<Vec<_>>()), 2);
        let (_, nothing) = record(|| ());
        assert_eq!(softmaxes(&nothing, &values.iter().collect::<Vec<_>>()), 0);
    }
}
