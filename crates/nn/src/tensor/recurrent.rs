//! Recurrent cells walked along time, on weights that are given: the plain cell, the LSTM and the GRU.
//!
//! A cell is the body of a [scan](Tensor::scan). The products with the inputs are one product for all steps. A step itself is the
//! product with the state before, and one pass over what its gates make of it. Time stands first inside, so that a step's
//! numbers lie together.

use std::array;
use std::panic::Location;

use kiln_ir::expr::ScanOptions;
use kiln_ir::{DType, Error, Result, line};

use super::Tensor;
use super::scan::scanned;
use crate::composite::{Composite, Recurrent, RecurrentCell, note};

/// The weights of a recurrent cell, in PyTorch's layout, and how it walks along time. The gates stand one after the
/// other along the first axis: i f g o in an LSTM, r z n in a GRU.
#[derive(Clone)]
pub struct Recurrence {
    /// `[gates · hidden, inputs]`.
    pub input: Tensor,
    /// `[gates · hidden, hidden]`.
    pub hidden: Tensor,
    /// `[gates · hidden]`, added to the product with the inputs.
    pub input_bias: Option<Tensor>,
    /// `[gates · hidden]`, added to the product with the state.
    pub hidden_bias: Option<Tensor>,
    /// `[3 · hidden]`: what the gates i, f and o of an LSTM see of its cell.
    pub peepholes: Option<Tensor>,
    /// Whether it walks from the last step to the first.
    pub reverse: bool,
    /// `[batch]`, integers: what each example has of the steps. Those behind give zeros and leave the state as it is.
    pub lengths: Option<Tensor>,
    /// What goes into the gates is kept within ± this.
    pub clip: Option<f64>,
    /// Whether the plain cell ends in a rectifier instead of a hyperbolic tangent.
    pub relu: bool,
    /// Whether a GRU applies its reset gate to the state before the product with it. PyTorch applies it to the product,
    /// bias and all, which ONNX calls `linear_before_reset`.
    pub reset_first: bool,
    /// The most steps that a gradient walks back.
    pub truncate: Option<usize>,
    /// For the gradient, the states are kept every so many steps and all else is computed again.
    pub checkpoint: Option<usize>,
}

impl Recurrence {
    /// Weights `[gates · hidden, inputs]` and `[gates · hidden, hidden]`; forwards, without biases.
    pub fn new(input: &Tensor, hidden: &Tensor) -> Recurrence {
        Recurrence {
            input: input.clone(),
            hidden: hidden.clone(),
            input_bias: None,
            hidden_bias: None,
            peepholes: None,
            reverse: false,
            lengths: None,
            clip: None,
            relu: false,
            reset_first: false,
            truncate: None,
            checkpoint: None,
        }
    }

    /// Biases `[gates · hidden]` of the product with the inputs and of that with the state.
    pub fn biases(mut self, input: &Tensor, hidden: &Tensor) -> Recurrence {
        (self.input_bias, self.hidden_bias) = (Some(input.clone()), Some(hidden.clone()));
        self
    }

    /// Lets the gates i, f and o of an LSTM see its cell through these weights, `[3 · hidden]`.
    pub fn peepholes(mut self, weights: &Tensor) -> Recurrence {
        self.peepholes = Some(weights.clone());
        self
    }

    /// Walks from the last step to the first.
    pub fn reverse(mut self) -> Recurrence {
        self.reverse = true;
        self
    }

    /// Says how many steps each example has, `[batch]`.
    pub fn lengths(mut self, lengths: &Tensor) -> Recurrence {
        self.lengths = Some(lengths.clone());
        self
    }

    /// Keeps what goes into the gates within ± `bound`.
    pub fn clip(mut self, bound: f64) -> Recurrence {
        self.clip = Some(bound);
        self
    }

    /// The plain cell ends in a rectifier.
    pub fn relu(mut self) -> Recurrence {
        self.relu = true;
        self
    }

    /// A GRU applies its reset gate before the product with the state.
    pub fn reset_first(mut self) -> Recurrence {
        self.reset_first = true;
        self
    }

    /// Gradients walk back so many steps at most: after every so many, the states are cut off from what was before.
    pub fn truncate(mut self, steps: usize) -> Recurrence {
        self.truncate = Some(steps);
        self
    }

    /// Keeps the states every so many steps for the gradient, and computes all else again: less memory for more work.
    pub fn checkpoint(mut self, steps: usize) -> Recurrence {
        self.checkpoint = Some(steps);
        self
    }
}

impl Recurrence {
    /// Notes what the results are as a whole, where nothing but weights, biases and a state took part.
    fn noted<const R: usize>(
        &self,
        cell: RecurrentCell,
        x: &Tensor,
        start: &[&Tensor],
        results: [Tensor; R],
    ) -> [Tensor; R] {
        let both = self.input_bias.is_some() == self.hidden_bias.is_some();
        if !both || self.peepholes.is_some() || self.lengths.is_some() || self.clip.is_some() {
            return results;
        }
        let (biased, started) = (self.input_bias.is_some(), !start.is_empty());
        let inputs = || {
            let weights = [x, &self.input, &self.hidden].into_iter();
            weights.chain(&self.input_bias).chain(&self.hidden_bias).chain(start.iter().copied())
        };
        let mut result = 0;
        results.map(|value| {
            let whole = Recurrent { cell, result, reverse: self.reverse, biased, started };
            result += 1;
            note(value, || (Composite::Recurrent(whole), inputs()))
        })
    }
}

impl Tensor {
    /// An LSTM over `[batch, time, inputs]` from a state and a cell (`[batch, hidden]`, zeros unless given): the states
    /// of all steps `[batch, time, hidden]`, the last state and the last cell.
    ///
    /// `c = σ(f)·c + σ(i)·tanh(g)`, `h = σ(o)·tanh(c)`, with i, f, g, o from `input · x + hidden · h` and the biases.
    ///
    /// ```
    /// # use kiln_nn::{Recurrence, Tensor};
    /// let weights = Recurrence::new(&Tensor::ones([4 * 5, 3]), &Tensor::ones([4 * 5, 5]));
    /// let (all, h, c) = Tensor::ones([2, 7, 3]).lstm(&weights, None);
    /// assert_eq!(*all.shape(), [2, 7, 5]);
    /// // It goes on from where it was.
    /// let (more, ..) = Tensor::ones([2, 9, 3]).lstm(&weights, Some((&h, &c)));
    /// assert_eq!(*more.shape(), [2, 9, 5]);
    /// ```
    #[track_caller]
    pub fn lstm(&self, cell: &Recurrence, start: Option<(&Tensor, &Tensor)>) -> (Tensor, Tensor, Tensor) {
        line::on_behalf_of(line::of(Location::caller()), || {
            let from = start.map(|(h, c)| [h.clone(), c.clone()]);
            let poisoned = |error: Error| (error.clone().into(), error.clone().into(), error.into());
            let walk = check!(CellWalk::new("lstm", 4, self, cell, from), error => poisoned(error));
            let peephole = |position: usize| {
                let part = |weights: &Tensor| weights.narrow(0, (position * walk.width) as isize, walk.width);
                cell.peepholes.as_ref().map(part)
            };
            let peepholes: [Option<Tensor>; 3] = array::from_fn(peephole);
            let gate = |z: &Tensor, position: usize, c: &Tensor| match &peepholes[position] {
                Some(weights) => walk.clipped(z + weights * c).sigmoid(),
                None => walk.clipped(z.clone()).sigmoid(),
            };
            let along = walk.along(&|x, [h, before]| {
                let [i, f, g, o] = (x + h.matmul(&walk.hidden)).chunk(-1);
                let new = gate(&i, 0, before) * walk.clipped(g).tanh();
                let c = gate(&f, 1, before) * before + new;
                [gate(&o, 2, &c) * c.tanh(), c]
            });
            let (all, [h, c]) = check!(along, error => poisoned(error));
            let start = start.map(|(h, c)| vec![h, c]).unwrap_or_default();
            let [all, h, c] = cell.noted(RecurrentCell::Lstm, self, &start, [all, h, c]);
            (all, h, c)
        })
    }

    /// A GRU over `[batch, time, inputs]` from a state `[batch, hidden]` (zeros unless given): the states of all steps
    /// `[batch, time, hidden]`, and the last.
    ///
    /// `n = tanh(xₙ + σ(r)·hₙ)`, `h = (1 − σ(z))·n + σ(z)·h`, with x and h the products with the inputs and the state.
    #[track_caller]
    pub fn gru(&self, cell: &Recurrence, start: Option<&Tensor>) -> (Tensor, Tensor) {
        line::on_behalf_of(line::of(Location::caller()), || {
            let poisoned = |error: Error| (error.clone().into(), error.into());
            let from = start.map(|h| [h.clone()]);
            let walk = check!(CellWalk::new("gru", 3, self, cell, from), error => poisoned(error));
            let width = walk.width as isize;
            let part = |of: &Tensor, start: isize, count: isize| {
                of.narrow(-1, start * width, (count * width) as usize)
            };
            let product = |h: &Tensor, start: isize, count: isize| {
                let product = h.matmul(&part(&walk.hidden, start, count));
                match &walk.hidden_bias {
                    Some(bias) => product + part(bias, start, count),
                    None => product,
                }
            };
            let along = walk.along(&|x, [h]| {
                // What the state gives to r and z, and to n before any reset.
                let (gates, new) = match cell.reset_first {
                    true => (product(h, 0, 2), None),
                    false => {
                        let all = product(h, 0, 3);
                        (part(&all, 0, 2), Some(part(&all, 2, 1)))
                    }
                };
                let [r, z] = walk.clipped(part(x, 0, 2) + gates).sigmoid().chunk(-1);
                let new = new.map_or_else(|| product(&(&r * h), 2, 1), |new| &r * new);
                let n = walk.clipped(part(x, 2, 1) + new).tanh();
                [&n + z * (h - &n)]
            });
            let (all, [h]) = check!(along, error => poisoned(error));
            let [all, h] =
                cell.noted(RecurrentCell::Gru(cell.reset_first), self, &Vec::from_iter(start), [all, h]);
            (all, h)
        })
    }

    /// The plain recurrent cell over `[batch, time, inputs]` from a state `[batch, hidden]` (zeros unless given):
    /// `h = tanh(input · x + hidden · h)` for all steps, `[batch, time, hidden]`, and the last.
    #[track_caller]
    pub fn rnn(&self, cell: &Recurrence, start: Option<&Tensor>) -> (Tensor, Tensor) {
        line::on_behalf_of(line::of(Location::caller()), || {
            let poisoned = |error: Error| (error.clone().into(), error.into());
            let from = start.map(|h| [h.clone()]);
            let walk = check!(CellWalk::new("rnn", 1, self, cell, from), error => poisoned(error));
            let along = walk.along(&|x, [h]| {
                let z = walk.clipped(x + h.matmul(&walk.hidden));
                [if cell.relu { z.relu() } else { z.tanh() }]
            });
            let (all, [h]) = check!(along, error => poisoned(error));
            let [all, h] = cell.noted(RecurrentCell::Rnn(cell.relu), self, &Vec::from_iter(start), [all, h]);
            (all, h)
        })
    }
}

/// A cell on its way along time that keeps `S` tensors from step to step; the first is what comes out.
struct CellWalk<'a, const S: usize> {
    cell: &'a Recurrence,
    width: usize,
    /// The products of all steps with the inputs, biases included: `[time, batch, gates · hidden]`; or the inputs, where each step
    /// makes its product.
    inputs: Tensor,
    project: Option<Projection>,
    /// `[hidden, gates · hidden]`.
    hidden: Tensor,
    /// The bias that stays with the product with the state, `[gates · hidden]`; a GRU's alone does.
    hidden_bias: Option<Tensor>,
    start: [Tensor; S],
}

/// The product with the inputs, biases included.
type Projection = Box<dyn Fn(&Tensor) -> Tensor>;

/// What a step makes of its input and the state before.
type CellStep<'a, const S: usize> = &'a dyn Fn(&Tensor, [&Tensor; S]) -> [Tensor; S];

impl<const S: usize> CellWalk<'_, S> {
    #[track_caller]
    fn new<'a>(
        operation: &str,
        gates: usize,
        x: &Tensor,
        cell: &'a Recurrence,
        start: Option<[Tensor; S]>,
    ) -> Result<CellWalk<'a, S>> {
        let shape = x.sound()?.shape();
        if shape.rank() != 3 {
            refuse!(Shape, operation, "needs [batch, time, inputs], not {shape}");
        }
        let (input, hidden) = (cell.input.sound()?.shape(), cell.hidden.sound()?.shape());
        let (batch, width) = (shape[0], hidden.last().copied().unwrap_or(0));
        let rows = gates.saturating_mul(width);
        if *input != [rows, shape[2]] || *hidden != [rows, width] {
            refuse!(
                Shape,
                operation,
                "weights {input} and {hidden} for inputs {shape}; they are [{gates} · hidden, {}] and \
                 [{gates} · hidden, hidden]",
                shape[2]
            );
        }
        let mut others = vec![
            ("an input's bias", &cell.input_bias, vec![rows]),
            ("a state's bias", &cell.hidden_bias, vec![rows]),
            ("lengths", &cell.lengths, vec![batch]),
        ];
        if S == 2 {
            others.push(("peepholes", &cell.peepholes, vec![3 * width]));
        }
        for (what, tensor, expected) in others {
            let Some(tensor) = tensor else { continue };
            let found = tensor.sound()?.shape();
            if *found != expected[..] {
                refuse!(Shape, operation, "{what} {found}; it should be {expected:?} here");
            }
        }
        for state in start.iter().flatten() {
            let found = state.sound()?.shape();
            if *found != [batch, width] {
                refuse!(Shape, operation, "a state {found}; it should be {:?} here", [batch, width]);
            }
        }
        if let Some(lengths) = &cell.lengths
            && lengths.dtype().is_float()
        {
            refuse!(DType, operation, "lengths are integers, not {}", lengths.dtype());
        }
        // A GRU's second bias stays with the product with the state.
        let with_state = cell.hidden_bias.as_ref().filter(|_| gates == 3);
        let with_input = cell.hidden_bias.as_ref().filter(|_| gates != 3);
        let input = cell.input.t();
        let biases: Vec<Tensor> = cell.input_bias.iter().chain(with_input).cloned().collect();
        let project = move |x: &Tensor| biases.iter().fold(x.matmul(&input), |sum, bias| sum + bias);
        // Time first, and all steps as one product: [time · batch, inputs] × [inputs, gates · hidden]. With checkpoints each step
        // does its own, so that nothing is kept of it.
        let x = x.float().permute([1, 0, 2]);
        let (inputs, project): (Tensor, Option<Projection>) = match cell.checkpoint {
            None => {
                let products = project(&x.reshape([shape[1] * batch, shape[2]]));
                (products.reshape([shape[1], batch, rows]), None)
            }
            Some(_) => (x, Some(Box::new(project))),
        };
        let hidden_bias = with_state.cloned();
        // A state keeps its dtype, so it has the one that comes out from the first step on.
        let weights = [Some(&cell.input), Some(&cell.hidden), cell.input_bias.as_ref()];
        let others = [cell.hidden_bias.as_ref(), cell.peepholes.as_ref().filter(|_| S == 2)];
        let parts = weights.into_iter().chain(others).flatten().chain(start.iter().flatten());
        let dtype = parts.fold(inputs.dtype(), |dtype: DType, part| dtype.promote(part.dtype()));
        let zeros = || array::from_fn(|_| Tensor::zeros([batch, width]));
        Ok(CellWalk {
            cell,
            width,
            inputs,
            project,
            hidden: cell.hidden.t(),
            hidden_bias,
            start: start.unwrap_or_else(zeros).map(|state| state.cast(dtype)),
        })
    }

    /// All steps: what comes out of each, `[batch, time, hidden]`, and the last state.
    #[track_caller]
    fn along(&self, step: CellStep<S>) -> Result<(Tensor, [Tensor; S])> {
        let times = self.cell.lengths.as_ref().map(|_| Tensor::arange(0..self.inputs.size(0) as i64));
        let sequences: Vec<Tensor> = [self.inputs.clone()].into_iter().chain(times).collect();
        let options = ScanOptions {
            length: None,
            reverse: self.cell.reverse,
            truncate: self.cell.truncate,
            checkpoint: self.cell.checkpoint,
        };
        let (last, stacked) = scanned(&self.start, &sequences, options, &|states, slices| {
            let before = array::from_fn(|part| &states[part]);
            let input =
                self.project.as_ref().map_or_else(|| slices[0].clone(), |project| project(&slices[0]));
            let new = step(&input, before);
            let (Some(lengths), Some(time)) = (&self.cell.lengths, slices.get(1)) else {
                return (new.to_vec(), vec![new[0].clone()]);
            };
            let within = lengths.gt(time).unsqueeze(-1);
            let out = within.select(&new[0], 0.0);
            let state = |(new, before): (&Tensor, &Tensor)| within.select(new, before);
            (new.iter().zip(before).map(state).collect(), vec![out])
        })?;
        let all = stacked[0].transpose(0, 1);
        Ok((all, array::from_fn(|part| last[part].clone())))
    }

    fn clipped(&self, z: Tensor) -> Tensor {
        match self.cell.clip {
            Some(bound) => z.clamp(-bound, bound),
            None => z,
        }
    }
}
