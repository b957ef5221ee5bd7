//! Recurrent layers: plain, LSTM and GRU, stacked and in both directions. What a cell computes stands in
//! [`tensor::recurrent`](crate::tensor::recurrent).

use std::array;
use std::panic::Location;

use kiln_ir::{Error, ErrorKind, Result, line};

use crate::init::{Fan, Init};
use crate::layers::{Layer, only_back};
use crate::module::{Context, Kept, KeptKind, Module, TimeAxis, Visitor};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::tensor::recurrent::Recurrence;
use crate::variable::Param;

/// How recurrent layers stand on each other.
#[derive(Clone, Debug, PartialEq)]
pub struct RecurrentOptions {
    /// How many: each reads what comes out of the one below.
    pub layers: usize,
    /// Whether each also walks from the last step to the first; the results stand side by side.
    pub bidirectional: bool,
    /// What share of the numbers between two layers is dropped in training.
    pub dropout: f64,
    /// Whether there are biases.
    pub bias: bool,
    /// The most steps that a gradient walks back.
    pub truncate: Option<usize>,
    /// For the gradient, the states are kept every so many steps and all else is computed again.
    pub checkpoint: Option<usize>,
}

impl Default for RecurrentOptions {
    fn default() -> RecurrentOptions {
        RecurrentOptions {
            layers: 1,
            bidirectional: false,
            dropout: 0.0,
            bias: true,
            truncate: None,
            checkpoint: None,
        }
    }
}

impl RecurrentOptions {
    /// One layer, forwards, with biases.
    pub fn new() -> RecurrentOptions {
        RecurrentOptions::default()
    }

    /// So many layers.
    pub fn layers(self, layers: usize) -> RecurrentOptions {
        RecurrentOptions { layers, ..self }
    }

    /// Also from the last step to the first.
    pub fn bidirectional(self) -> RecurrentOptions {
        RecurrentOptions { bidirectional: true, ..self }
    }

    /// Drops a share of what goes from layer to layer.
    pub fn dropout(self, probability: f64) -> RecurrentOptions {
        RecurrentOptions { dropout: probability, ..self }
    }

    /// Without biases.
    pub fn without_bias(self) -> RecurrentOptions {
        RecurrentOptions { bias: false, ..self }
    }

    /// Truncated backpropagation: after every so many steps, the states are cut off from what was before.
    pub fn truncate(self, steps: usize) -> RecurrentOptions {
        RecurrentOptions { truncate: Some(steps), ..self }
    }

    /// Keeps the states every so many steps for the gradient and computes all else again: a long sequence in little memory.
    pub fn checkpoint(self, steps: usize) -> RecurrentOptions {
        RecurrentOptions { checkpoint: Some(steps), ..self }
    }
}

/// The parameters of one layer in one direction.
#[derive(Clone, Debug)]
struct CellParameters {
    weight_ih: Param,
    weight_hh: Param,
    biases: Option<[Param; 2]>,
}

impl CellParameters {
    fn recurrence(&self, reverse: bool, options: &RecurrentOptions) -> Recurrence {
        let mut recurrence = Recurrence::new(&self.weight_ih.tensor(), &self.weight_hh.tensor());
        if let Some([input, hidden]) = &self.biases {
            recurrence = recurrence.biases(&input.tensor(), &hidden.tensor());
        }
        let RecurrentOptions { truncate, checkpoint, .. } = *options;
        Recurrence { reverse, truncate, checkpoint, ..recurrence }
    }
}

/// What the three layers have in common: the parameters of each layer and direction, and the way through them.
#[derive(Clone, Debug)]
struct Stack {
    options: RecurrentOptions,
    /// Layer by layer, forwards before backwards.
    cells: Vec<CellParameters>,
}

impl Module for Stack {
    /// Under PyTorch's names.
    fn visit(&self, visitor: &mut Visitor) {
        for (position, cell) in self.cells.iter().enumerate() {
            let (layer, reverse) = (position / self.directions(), position % self.directions());
            let suffix = format!("l{layer}{}", if reverse == 1 { "_reverse" } else { "" });
            visitor.parameter(&format!("weight_ih_{suffix}"), &cell.weight_ih);
            visitor.parameter(&format!("weight_hh_{suffix}"), &cell.weight_hh);
            if let Some([input, hidden]) = &cell.biases {
                visitor.parameter(&format!("bias_ih_{suffix}"), input);
                visitor.parameter(&format!("bias_hh_{suffix}"), hidden);
            }
        }
    }
}

impl Stack {
    #[track_caller]
    fn new(gates: usize, inputs: usize, hidden: usize, options: RecurrentOptions, key: &Key) -> Stack {
        let bound = 1.0 / (hidden.max(1) as f64).sqrt();
        let rows = gates.saturating_mul(hidden);
        let fan = Fan { inputs: hidden, outputs: rows };
        let draw = |shape: &[usize], key: &Key| Init::Uniform(-bound, bound).fill(shape, fan, key);
        // Stored the other way round, as the product of every step reads them.
        let weight = |inputs: usize, key: &Key| Param::stored(&draw(&[rows, inputs], key), &[1, 0]);
        let directions = if options.bidirectional { 2 } else { 1 };
        let mut cells = Vec::new();
        for position in 0..options.layers.saturating_mul(directions) {
            let inputs = if position < directions { inputs } else { hidden.saturating_mul(directions) };
            let keys: [Key; 4] = key.derive(position).split();
            cells.push(CellParameters {
                weight_ih: weight(inputs, &keys[0]),
                weight_hh: weight(hidden, &keys[1]),
                biases: options.bias.then(|| [2, 3].map(|part| Param::new(&draw(&[rows], &keys[part])))),
            });
            // More of them than there is room for: the first that couldn't be made says so.
            if cells.last().is_some_and(|cell: &CellParameters| cell.weight_hh.error().is_some()) {
                break;
            }
        }
        Stack { options, cells }
    }

    /// Where the parts of the state are kept in a pass that goes on with sequences, which doesn't say itself where it starts.
    fn kept<const S: usize>(&self, x: &Tensor, starts: bool, context: &Context) -> Result<[Option<Kept>; S]> {
        let mut kept = array::from_fn(|_| None);
        let hidden = self.cells.first().and_then(|cell| cell.weight_hh.shape().last().copied());
        if let (Some(pass), Some(hidden), false) = (context.cache(), hidden, starts) {
            for (part, kind) in kept.iter_mut().zip([KeptKind::Hidden, KeptKind::Cell]) {
                *part = Some(pass.kept(kind, &[self.cells.len(), hidden], x.dtype())?);
            }
        }
        Ok(kept)
    }

    /// Time where it was, if no layer walks backwards.
    fn time_axis(&self, time: TimeAxis) -> Option<TimeAxis> {
        time.at(1, 3).filter(|_| !self.options.bidirectional)
    }

    fn directions(&self) -> usize {
        if self.options.bidirectional { 2 } else { 1 }
    }

    /// Runs all layers. A state is `S` tensors of `[layers · directions, batch, hidden]`.
    #[track_caller]
    fn run<const S: usize>(
        &self,
        x: &Tensor,
        state: Option<[&Tensor; S]>,
        context: &Context,
        cell: impl Fn(&Tensor, &Recurrence, Option<[&Tensor; S]>) -> (Tensor, [Tensor; S]),
    ) -> (Tensor, [Tensor; S]) {
        line::on_behalf_of(line::of(Location::caller()), || {
            for part in state.iter().flatten() {
                if part.error().is_none() && (part.rank() != 3 || part.size(0) != self.cells.len()) {
                    let message = format!(
                        "a state {} for {} layers · directions; it is [layers · directions, batch, hidden]",
                        part.shape(),
                        self.cells.len()
                    );
                    let error = Error::new(ErrorKind::Shape, "recurrent layer", message);
                    return (error.clone().into(), array::from_fn(|_| error.clone().into()));
                }
            }
            let kept: [Option<Kept>; S] = match self.kept(x, state.is_some(), context) {
                Ok(kept) => kept,
                Err(error) => return (error.clone().into(), array::from_fn(|_| error.clone().into())),
            };
            // [batch, layers · directions, hidden] → [layers · directions, batch, hidden] and back.
            let turned = |x: &Tensor| x.transpose(0, 1);
            let past: Vec<Tensor> = kept.iter().flatten().map(|kept| turned(&kept.tensor())).collect();
            let state = state.or_else(|| past.iter().collect::<Vec<_>>().try_into().ok());
            let directions = self.directions();
            let (mut x, mut last) = (x.clone(), Vec::with_capacity(self.cells.len()));
            for (layer, cells) in self.cells.chunks(directions).enumerate() {
                if layer > 0 && context.is_training() && self.options.dropout > 0.0 {
                    x = x.dropout(self.options.dropout, &context.key());
                }
                let mut outputs = Vec::with_capacity(directions);
                for (direction, parameters) in cells.iter().enumerate() {
                    let position = layer * directions + direction;
                    let start = state.map(|state| state.map(|part| part.at(position as isize)));
                    let start = start.as_ref().map(|parts| array::from_fn(|part| &parts[part]));
                    let back = direction == 1;
                    // Backwards from where each sequence ends, not from where the longest does.
                    let lengths = context.lengths().filter(|_| back);
                    let turned = |x: &Tensor| match &lengths {
                        Some(lengths) => lengths.turned(x).unwrap_or_else(Tensor::from),
                        None => x.clone(),
                    };
                    let walk = parameters.recurrence(back && lengths.is_none(), &self.options);
                    let (all, state) = cell(&turned(&x), &walk, start);
                    outputs.push(turned(&all));
                    last.push(state);
                }
                x = Tensor::concat(&outputs, -1);
            }
            let state = array::from_fn(|part| {
                Tensor::stack(&last.iter().map(|state| &state[part]).collect::<Vec<_>>(), 0)
            });
            if let Some(pass) = context.cache() {
                for (kept, state) in kept.iter().zip(&state) {
                    kept.iter().for_each(|kept| pass.keep(context, kept, &turned(state)));
                }
            }
            (x, state)
        })
    }
}

macro_rules! recurrent_layer {
    ($(#[$meta:meta])* $name:ident $gates:literal) => {
        $(#[$meta])*
        ///
        /// It takes `[batch, time, inputs]` and gives `[batch, time, hidden · directions]`. Parameters have PyTorch's names
        /// and shapes (`weight_ih_l0`: `[gates · hidden, inputs]`) and start as PyTorch's, uniform within ±1/√hidden.
        #[derive(Clone, Debug)]
        pub struct $name {
            stack: Stack,
        }

        impl Module for $name {
            fn visit(&self, visitor: &mut Visitor) {
                self.stack.visit(visitor);
            }
        }

        impl $name {
            /// Layers from `inputs` to `hidden` numbers a step.
            #[track_caller]
            pub fn new(inputs: usize, hidden: usize, options: RecurrentOptions, key: Key) -> $name {
                $name { stack: Stack::new($gates, inputs, hidden, options, &key) }
            }
        }

        impl Layer for $name {
            #[track_caller]
            fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
                self.forward_with(x, None, context).0
            }

            fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
                only_back::<Self>(self.stack.time_axis(time))
            }

            fn padded_axis(&self, time: TimeAxis) -> Result<Option<TimeAxis>> {
                only_back::<Self>(time.at(1, 3)).map(Some)
            }
        }
    };
}

recurrent_layer! {
    /// Long short-term memory: a cell that gates fill, empty and show.
    ///
    /// ```
    /// use kiln_nn::{Context, Key, Layer, Lstm, RecurrentOptions, Tensor};
    ///
    /// let lstm = Lstm::new(3, 8, RecurrentOptions::new().layers(2).bidirectional(), Key::new(1));
    /// let y = lstm.forward(&Tensor::ones([4, 10, 3]), &Context::inference());
    /// assert_eq!(y.shape().sizes(), [4, 10, 16]);
    /// ```
    Lstm 4
}

impl Lstm {
    /// Goes on from a state and a cell (`[layers · directions, batch, hidden]` each, zeros unless given), and gives the
    /// last ones besides what comes out.
    ///
    /// ```
    /// use kiln_nn::{Context, Key, Lstm, RecurrentOptions, Tensor};
    ///
    /// let lstm = Lstm::new(3, 8, RecurrentOptions::new(), Key::new(1));
    /// let (x, cx) = (Tensor::ones([4, 10, 3]), Context::inference());
    /// let (_, (h, c)) = lstm.forward_with(&x.at((.., ..6)), None, &cx);
    /// let (rest, _) = lstm.forward_with(&x.at((.., 6..)), Some((&h, &c)), &cx);
    /// let (whole, _) = lstm.forward_with(&x, None, &cx);
    /// assert!((rest - whole.at((.., 6..))).abs().max(..).item()? < 1e-6);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn forward_with(
        &self,
        x: &Tensor,
        state: Option<(&Tensor, &Tensor)>,
        context: &Context,
    ) -> (Tensor, (Tensor, Tensor)) {
        let state = state.map(|(h, c)| [h, c]);
        let (y, [h, c]) = self.stack.run(x, state, context, |x, walk, start| {
            let (y, h, c) = x.lstm(walk, start.map(|[h, c]| (h, c)));
            (y, [h, c])
        });
        (y, (h, c))
    }
}

recurrent_layer! {
    /// Gated recurrent units: a state that one gate renews and another hides while what is new is made.
    Gru 3
}

impl Gru {
    /// Goes on from a state (`[layers · directions, batch, hidden]`, zeros unless given), and gives the last one besides
    /// what comes out.
    #[track_caller]
    pub fn forward_with(&self, x: &Tensor, state: Option<&Tensor>, context: &Context) -> (Tensor, Tensor) {
        let (y, [h]) = self.stack.run(x, state.map(|h| [h]), context, |x, walk, start| {
            let (y, h) = x.gru(walk, start.map(|[h]| h));
            (y, [h])
        });
        (y, h)
    }
}

/// The plain recurrent layer: a product with the input, one with the state, and a hyperbolic tangent (or a rectifier).
///
/// It takes `[batch, time, inputs]` and gives `[batch, time, hidden · directions]`. Parameters have PyTorch's names
/// and shapes (`weight_ih_l0`: `[hidden, inputs]`) and start as PyTorch's, uniform within ±1/√hidden.
#[derive(Clone, Debug)]
pub struct Rnn {
    stack: Stack,
    relu: bool,
}

impl Module for Rnn {
    fn visit(&self, visitor: &mut Visitor) {
        self.stack.visit(visitor);
    }
}

impl Rnn {
    /// Layers from `inputs` to `hidden` numbers a step.
    #[track_caller]
    pub fn new(inputs: usize, hidden: usize, options: RecurrentOptions, key: Key) -> Rnn {
        Rnn { stack: Stack::new(1, inputs, hidden, options, &key), relu: false }
    }

    /// The same layers with a rectifier.
    pub fn relu(self) -> Rnn {
        Rnn { relu: true, ..self }
    }

    /// Goes on from a state (`[layers · directions, batch, hidden]`, zeros unless given), and gives the last one besides
    /// what comes out.
    #[track_caller]
    pub fn forward_with(&self, x: &Tensor, state: Option<&Tensor>, context: &Context) -> (Tensor, Tensor) {
        let (y, [h]) = self.stack.run(x, state.map(|h| [h]), context, |x, walk, start| {
            let walk = if self.relu { walk.clone().relu() } else { walk.clone() };
            let (y, h) = x.rnn(&walk, start.map(|[h]| h));
            (y, [h])
        });
        (y, h)
    }
}

impl Layer for Rnn {
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        self.forward_with(x, None, context).0
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(self.stack.time_axis(time))
    }

    fn padded_axis(&self, time: TimeAxis) -> Result<Option<TimeAxis>> {
        only_back::<Self>(time.at(1, 3)).map(Some)
    }
}
