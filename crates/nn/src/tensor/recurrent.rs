//! Recurrent cells walked along time, on weights that are given: the plain cell, the LSTM and the GRU.
//!
//! The products with the inputs are one product for all steps. A step itself is the product with the state before, and
//! one pass over what its gates make of it. Time stands first inside, so that a step's numbers lie together.

use std::array;
use std::panic::Location;

use kiln_ir::{Error, Result, line};

use super::Tensor;
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
            let unrolled = check!(Unrolled::new("lstm", 4, self, cell, from), error => poisoned(error));
            let peephole = |position: usize| {
                let part = |weights: &Tensor| {
                    weights.narrow(0, (position * unrolled.width) as isize, unrolled.width)
                };
                cell.peepholes.as_ref().map(part)
            };
            let peepholes: [Option<Tensor>; 3] = array::from_fn(peephole);
            let gate = |z: &Tensor, position: usize, c: Option<&Tensor>| match (&peepholes[position], c) {
                (Some(weights), Some(c)) => unrolled.clipped(z + weights * c).sigmoid(),
                _ => unrolled.clipped(z.clone()).sigmoid(),
            };
            let (all, [h, c]) = unrolled.along(|x, state| {
                let z = match state {
                    Some([h, _]) => x + h.matmul(&unrolled.hidden),
                    None => x.clone(),
                };
                let [i, f, g, o] = z.chunk(-1);
                let before = state.map(|[_, c]| c);
                let new = gate(&i, 0, before) * unrolled.clipped(g).tanh();
                let c = match before {
                    Some(c) => gate(&f, 1, Some(c)) * c + new,
                    None => new,
                };
                [gate(&o, 2, Some(&c)) * c.tanh(), c]
            });
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
            let unrolled = check!(Unrolled::new("gru", 3, self, cell, from), error => poisoned(error));
            let width = unrolled.width as isize;
            let part = |of: &Tensor, start: isize, count: isize| {
                of.narrow(-1, start * width, (count * width) as usize)
            };
            let product = |h: &Tensor, start: isize, count: isize| {
                let product = h.matmul(&part(&unrolled.hidden, start, count));
                match &unrolled.hidden_bias {
                    Some(bias) => product + part(bias, start, count),
                    None => product,
                }
            };
            let (all, [h]) = unrolled.along(|x, state| {
                let h = state.map(|[h]| h);
                // What the state gives to r and z, and to n before any reset.
                let (gates, new) = match (h, &unrolled.hidden_bias) {
                    (Some(h), _) if cell.reset_first => (Some(product(h, 0, 2)), None),
                    (Some(h), _) => {
                        let all = product(h, 0, 3);
                        (Some(part(&all, 0, 2)), Some(part(&all, 2, 1)))
                    }
                    (None, Some(bias)) => (Some(part(bias, 0, 2)), Some(part(bias, 2, 1))),
                    (None, None) => (None, None),
                };
                let gates = gates.map_or_else(|| part(x, 0, 2), |gates| part(x, 0, 2) + gates);
                let [r, z] = unrolled.clipped(gates).sigmoid().chunk(-1);
                let new = match (h, new) {
                    (Some(h), _) if cell.reset_first => Some(product(&(r * h), 2, 1)),
                    (None, Some(bias)) if cell.reset_first => Some(bias),
                    (_, new) => new.map(|new| r * new),
                };
                let n = part(x, 2, 1);
                let n = unrolled.clipped(new.map_or(n.clone(), |new| n + new)).tanh();
                [match h {
                    Some(h) => &n + z * (h - &n),
                    None => &n - z * &n,
                }]
            });
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
            let unrolled = check!(Unrolled::new("rnn", 1, self, cell, from), error => poisoned(error));
            let (all, [h]) = unrolled.along(|x, state| {
                let z = match state {
                    Some([h]) => x + h.matmul(&unrolled.hidden),
                    None => x.clone(),
                };
                let z = unrolled.clipped(z);
                [if cell.relu { z.relu() } else { z.tanh() }]
            });
            let [all, h] = cell.noted(RecurrentCell::Rnn(cell.relu), self, &Vec::from_iter(start), [all, h]);
            (all, h)
        })
    }
}

/// A cell unrolled along time that keeps `S` tensors from step to step; the first is what comes out.
struct Unrolled<'a, const S: usize> {
    cell: &'a Recurrence,
    batch: usize,
    width: usize,
    /// The products of all steps with the inputs, biases included: `[batch, gates · hidden]` each.
    inputs: Vec<Tensor>,
    /// `[hidden, gates · hidden]`.
    hidden: Tensor,
    /// The bias that stays with the product with the state, `[batch, gates · hidden]`; a GRU's alone does.
    hidden_bias: Option<Tensor>,
    start: Option<[Tensor; S]>,
}

/// A graph of more steps takes more memory than anything that is computed in it.
const MOST_STEPS: usize = 1 << 16;

impl<const S: usize> Unrolled<'_, S> {
    #[track_caller]
    fn new<'a>(
        operation: &str,
        gates: usize,
        x: &Tensor,
        cell: &'a Recurrence,
        start: Option<[Tensor; S]>,
    ) -> Result<Unrolled<'a, S>> {
        let shape = x.sound()?.shape();
        if shape.rank() != 3 {
            refuse!(Shape, operation, "needs [batch, time, inputs], not {shape}");
        }
        if shape[1] > MOST_STEPS {
            refuse!(
                Value,
                operation,
                "{} steps; each has operations of its own, so there are at most {MOST_STEPS}",
                shape[1]
            );
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
        // Time first: [time, batch, gates · hidden].
        let mut products = x.float().permute([1, 0, 2]).matmul(&cell.input.t());
        if let Some(bias) = &cell.input_bias {
            products += bias;
        }
        let mut hidden_bias = None;
        if let Some(bias) = &cell.hidden_bias {
            match gates {
                // Expanded once, so that its gradient is summed over the batch once and not in every step.
                3 => hidden_bias = Some(bias.broadcast_to([batch, rows])),
                _ => products += bias,
            }
        }
        Ok(Unrolled {
            cell,
            batch,
            width,
            inputs: products.unbind(0),
            hidden: cell.hidden.t(),
            hidden_bias,
            start,
        })
    }

    /// All steps, of which each makes a state of its input and the state before: what comes out of all, and the last state.
    fn along(&self, step: impl Fn(&Tensor, Option<&[Tensor; S]>) -> [Tensor; S]) -> (Tensor, [Tensor; S]) {
        let count = self.inputs.len();
        let mut state = self.start.clone();
        let mut outputs = Vec::with_capacity(count);
        for number in 0..count {
            let time = if self.cell.reverse { count - 1 - number } else { number };
            let new = step(&self.inputs[time], state.as_ref());
            let Some(lengths) = &self.cell.lengths else {
                outputs.push(new[0].clone());
                state = Some(new);
                continue;
            };
            let within = lengths.gt(time as i64).unsqueeze(-1);
            outputs.push(within.select(&new[0], 0.0));
            state = Some(array::from_fn(|part| match &state {
                Some(before) => within.select(&new[part], &before[part]),
                None => within.select(&new[part], 0.0),
            }));
        }
        if self.cell.reverse {
            outputs.reverse();
        }
        let zeros = |shape: &[usize]| Tensor::zeros(shape);
        let all = match outputs.is_empty() {
            true => zeros(&[self.batch, 0, self.width]),
            false => Tensor::stack(&outputs, 0).transpose(0, 1),
        };
        (all, state.unwrap_or_else(|| array::from_fn(|_| zeros(&[self.batch, self.width]))))
    }

    fn clipped(&self, z: Tensor) -> Tensor {
        match self.cell.clip {
            Some(bound) => z.clamp(-bound, bound),
            None => z,
        }
    }
}
