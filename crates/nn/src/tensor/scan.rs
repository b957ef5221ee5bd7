//! Recurrences of one's own: a body that is run for each step of sequences.

use std::array;
use std::panic::Location;

use kiln_ir::expr::{ScanOptions, Scanned};
use kiln_ir::{Error, ErrorKind, Expr, Result, line};

use super::Tensor;
use super::grad::tensors;

impl Tensor {
    /// Runs `body` for each slice of the sequences along their first axes. It gets the states as the step before left them, from
    /// `start` on, and a slice of each sequence; it gives the states for the next step and what is stacked. Out come the states
    /// after the last step, and what each step gave, along a new first axis. What `body` uses from outside is the same in every
    /// step.
    ///
    /// The body is built once, whatever the number of steps, and gradients flow through it. States keep their shapes and dtypes.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// // A running mean that forgets: m ← 0.9·m + 0.1·x.
    /// let x = Tensor::from([1.0, 2.0, 3.0]);
    /// let ([last], [all]) = Tensor::scan([&Tensor::from(0.0)], [&x], |[mean], [x]| {
    ///     let mean = mean * 0.9 + x * 0.1;
    ///     ([mean.clone()], [mean])
    /// });
    /// assert_eq!(all.shape().sizes(), [3]);
    /// assert!((last.item()? - 0.561).abs() < 1e-12);
    /// assert!((last.grad(&[&x])[0].to_vec::<f64>()?[0] - 0.081).abs() < 1e-12);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[doc(alias = "recurrence")]
    #[doc(alias = "loop")]
    #[track_caller]
    pub fn scan<const S: usize, const X: usize, const Y: usize>(
        start: [&Tensor; S],
        sequences: [&Tensor; X],
        body: impl Fn([Tensor; S], [Tensor; X]) -> ([Tensor; S], [Tensor; Y]),
    ) -> ([Tensor; S], [Tensor; Y]) {
        Tensor::scan_with(start, sequences, ScanOptions::new(), body)
    }

    /// As [`scan`](Tensor::scan), backwards, for a number of steps that no sequence says, with truncated gradients or with
    /// checkpoints.
    ///
    /// ```
    /// # use kiln_nn::{ScanOptions, Tensor};
    /// // Powers of two, from the last to the first.
    /// let options = ScanOptions::new().length(4).reverse();
    /// let (_, [all]) = Tensor::scan_with([&Tensor::from(1.0)], [], options, |[x], []| ([&x * 2.0], [x]));
    /// assert_eq!(all.to_vec::<f64>()?, [8.0, 4.0, 2.0, 1.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn scan_with<const S: usize, const X: usize, const Y: usize>(
        start: [&Tensor; S],
        sequences: [&Tensor; X],
        options: ScanOptions,
        body: impl Fn([Tensor; S], [Tensor; X]) -> ([Tensor; S], [Tensor; Y]),
    ) -> ([Tensor; S], [Tensor; Y]) {
        line::on_behalf_of(line::of(Location::caller()), || {
            let poisoned = |error: Error| {
                (array::from_fn(|_| error.clone().into()), array::from_fn(|_| error.clone().into()))
            };
            let walk = |states: &[Tensor], slices: &[Tensor]| {
                let of = |list: &[Tensor], position: usize| list[position].clone();
                let (next, given) =
                    body(array::from_fn(|i| of(states, i)), array::from_fn(|i| of(slices, i)));
                (next.to_vec(), given.to_vec())
            };
            let start: Vec<Tensor> = start.into_iter().cloned().collect();
            let sequences: Vec<Tensor> = sequences.into_iter().cloned().collect();
            let (last, stacked) =
                check!(scanned(&start, &sequences, options, &walk), error => poisoned(error));
            (listed(last), listed(stacked))
        })
    }
}

/// A list of just so many.
fn listed<const N: usize>(list: Vec<Tensor>) -> [Tensor; N] {
    list.try_into().unwrap_or_else(|list: Vec<Tensor>| {
        let message = format!("{} values where there should be {N}", list.len());
        let error = Error::new(ErrorKind::Value, "scan", message);
        array::from_fn(|_| error.clone().into())
    })
}

/// What a body makes of states and slices: the next states, and what is stacked.
pub type WalkBody<'a> = &'a dyn Fn(&[Tensor], &[Tensor]) -> (Vec<Tensor>, Vec<Tensor>);

/// As [`Tensor::scan_with`], where it is only known later how many there are: the last states, and what is stacked.
///
/// # Errors
/// Where operands are poisoned or don't fit, or the body changes the shape, dtype or number of its states.
#[track_caller]
pub fn scanned(
    start: &[Tensor],
    sequences: &[Tensor],
    options: ScanOptions,
    body: WalkBody,
) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
    let exprs = |list: &[Tensor]| -> Vec<Expr> { list.iter().map(|tensor| tensor.0.clone()).collect() };
    let Scanned { last, stacked } =
        Expr::scan(&exprs(start), &exprs(sequences), options, &|states, slices| {
            let (next, given) = body(&tensors(states.to_vec()), &tensors(slices.to_vec()));
            (exprs(&next), exprs(&given))
        })?;
    Ok((tensors(last), tensors(stacked)))
}
