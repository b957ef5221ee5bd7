//! Scaled dot-product attention.

use kiln_ir::attention::{AttentionSpec, AttentionValue};
use kiln_ir::{DType, Expr, Scalar, Shape};

use super::Tensor;
use crate::composite::is_recorded;
use crate::random::Key;

/// What may be attended to, and how sharply.
#[derive(Clone, Default)]
pub struct AttentionOptions {
    /// Added to the scores if it is a float; if boolean, where it doesn't hold nothing is attended to. Broadcasts to
    /// `[…, queries, keys]`.
    pub mask: Option<Tensor>,
    /// Whether a query attends only to keys up to its own place.
    pub causal: bool,
    /// How many keys in front of its own place a query attends to at most.
    pub window: Option<usize>,
    /// How many keys there are in front of the first query's place.
    pub offset: usize,
    /// The same for each sequence of the batch, known when it runs; added to `offset`.
    pub places: Option<Tensor>,
    /// What the scores are multiplied by; `1 / sqrt(width)` unless told otherwise.
    pub scale: Option<f64>,
    /// Whether several heads of queries share each head (axis −3) of keys and values.
    pub grouped: bool,
    /// The share of the weights dropped in training, and the key that says which.
    pub dropout: Option<(f64, Key)>,
}

impl AttentionOptions {
    /// Everything attends to everything.
    pub fn new() -> AttentionOptions {
        AttentionOptions::default()
    }

    /// A mask that broadcasts to `[…, queries, keys]`: boolean (where it holds is attended to) or float (added).
    pub fn mask(mut self, mask: &Tensor) -> AttentionOptions {
        self.mask = Some(mask.clone());
        self
    }

    /// A query attends only to keys up to its own place.
    pub fn causal(mut self) -> AttentionOptions {
        self.causal = true;
        self
    }

    /// A query attends to no more than so many keys in front of its own place.
    pub fn window(mut self, keys: usize) -> AttentionOptions {
        self.window = Some(keys);
        self
    }

    /// The first query stands behind so many keys, as where those are kept from queries before.
    pub fn offset(mut self, keys: usize) -> AttentionOptions {
        self.offset = keys;
        self
    }

    /// The first query of each sequence (the first axis; one number for all otherwise) stands behind so many keys more: whole numbers that
    /// are known when it runs, so that one program serves a cache however full it is.
    pub fn places(mut self, places: &Tensor) -> AttentionOptions {
        self.places = Some(places.clone());
        self
    }

    /// Several heads of queries share each head (axis −3) of keys and values.
    pub fn grouped(mut self) -> AttentionOptions {
        self.grouped = true;
        self
    }

    /// A share of the weights is dropped.
    pub fn dropout(mut self, probability: f64, key: &Key) -> AttentionOptions {
        self.dropout = Some((probability, key.clone()));
        self
    }

    /// What the scores are multiplied by.
    pub fn scale(mut self, scale: f64) -> AttentionOptions {
        self.scale = Some(scale);
        self
    }
}

impl Tensor {
    /// Attention of these queries `[…, queries, width]` over keys `[…, keys, width]`: the means of the values
    /// `[…, keys, any]`, weighted by the softmax of the scaled scores. A query that may attend to nothing gets zeros.
    ///
    /// Memory grows with queries and keys, not with their product (unless a mask of floats has a gradient), and keys that
    /// aren't attended to cost nothing. A query gives the same bits alone, behind a cache of keys and among others.
    ///
    /// ```
    /// # use kiln_nn::{AttentionOptions, Tensor};
    /// let x = Tensor::ones([2, 4, 10, 16]); // [batch, heads, time, width]
    /// let y = x.attention(&x, &x, &AttentionOptions::new().causal());
    /// assert_eq!(*y.shape(), [2, 4, 10, 16]);
    ///
    /// // The last query alone, over the keys that were there before it and its own.
    /// let last = x.narrow(2, 9, 1).attention(&x, &x, &AttentionOptions::new().causal().offset(9));
    /// assert_eq!(last.to_vec::<f32>()?, y.narrow(2, 9, 1).to_vec::<f32>()?);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn attention(&self, keys: &Tensor, values: &Tensor, options: &AttentionOptions) -> Tensor {
        for operand in [self, keys, values] {
            let shape = check!(operand.sound()).shape();
            ensure!(shape.rank() >= 2, Shape, "attention", "needs […, positions, width], not {shape}");
        }
        ensure!(
            self.size(-1) == keys.size(-1) && keys.size(-2) == values.size(-2),
            Shape,
            "attention",
            "queries {}, keys {} and values {} don't fit; queries and keys share their width, keys and values their \
             positions",
            self.shape(),
            keys.shape(),
            values.shape()
        );
        let mut each = 1;
        if options.grouped {
            let (heads, shared) = (self.size(-3), keys.size(-3));
            let fits =
                self.rank() >= 3 && shared > 0 && heads.is_multiple_of(shared) && values.size(-3) == shared;
            ensure!(
                fits,
                Shape,
                "attention",
                "{heads} heads of queries don't divide among those of keys {} and values {}",
                keys.shape(),
                values.shape()
            );
            each = heads / shared;
        }
        if let Some(places) = &options.places {
            let (shape, dtype) = (check!(places.sound()).shape(), places.dtype());
            let whole = !dtype.is_float() && dtype != DType::Bool;
            ensure!(whole, DType, "attention", "places are whole numbers, not {dtype}");
            let many = self.rank() > 3 || (self.rank() == 3 && !options.grouped);
            let sequences = if many { self.size(0) } else { 1 };
            let fits = shape.elements() == 1 || shape.elements() == sequences;
            ensure!(fits, Shape, "attention", "places {shape} for {sequences} sequences");
        }
        if let Some(mask) = &options.mask {
            check!(mask.sound());
        }
        let scale = options.scale.unwrap_or(1.0 / (self.size(-1) as f64).sqrt());
        let operation = AttentionOperation { query: self, keys, values, options, scale, each };
        // Files have words for what it is composed of.
        let fused = if is_recorded() { None } else { operation.fused() };
        fused.unwrap_or_else(|| operation.composed())
    }
}

/// Attention of operands that fit.
struct AttentionOperation<'a> {
    query: &'a Tensor,
    keys: &'a Tensor,
    values: &'a Tensor,
    options: &'a AttentionOptions,
    scale: f64,
    /// Heads of queries for each of keys.
    each: usize,
}

impl AttentionOperation<'_> {
    /// As one operation; nothing where there is none.
    #[track_caller]
    fn fused(&self) -> Option<Tensor> {
        let AttentionOperation { query, keys, values, options, .. } = self;
        let dropout = options.dropout.as_ref().filter(|(share, _)| *share != 0.0);
        // What isn't a share is an error of what is composed.
        let sound = dropout.is_none_or(|(share, _)| (0.0..=1.0).contains(share));
        if !sound || query.size(-1) == 0 || values.size(-1) == 0 {
            return None;
        }
        let outer = |x: &Tensor| Shape::from(&x.shape()[..x.rank() - 2]);
        let (q, k, v) = (outer(query), outer(keys), outer(values));
        // The axes outside of a head's matrices, with as many heads as there are of keys.
        let shared = match q.split_last() {
            Some((&heads, rest)) if options.grouped => Shape::from([rest, &[heads / self.each]].concat()),
            _ => q,
        };
        let shared = shared.broadcast(&k)?.broadcast(&v)?;
        let heads = match shared.split_last() {
            Some((&heads, rest)) => Shape::from([rest, &[heads * self.each]].concat()),
            None => shared.clone(),
        };
        let masks = options.mask.iter().filter(|mask| mask.dtype() != DType::Bool);
        let dtype = [*query, keys, values].into_iter().chain(masks).map(|x| x.dtype().to_float());
        let dtype = dtype.reduce(DType::promote)?;
        let spread = |x: &Expr, outer: &Shape| {
            let matrix = &x.shape()[x.rank() - 2..];
            let whole = Shape::from([&outer[..], matrix].concat());
            x.broadcast_to(&whole).reshape(four(&whole, options.grouped))
        };
        let operand = |x: &Tensor, outer: &Shape| spread(&x.0.cast(dtype), outer);
        let mut operands = vec![operand(query, &heads), operand(keys, &shared), operand(values, &shared)];
        let mut spec = AttentionSpec {
            left: options.window,
            right: options.causal.then_some(0),
            offset: i64::try_from(options.offset).ok()?,
            ..AttentionSpec::new(self.scale)
        };
        if let Some(mask) = &options.mask {
            let whole = Shape::from([&heads[..], &[query.size(-2), keys.size(-2)]].concat());
            let broadcasts = mask.shape().broadcast(&whole)? == whole;
            let mask = if mask.dtype() == DType::Bool { mask.0.clone() } else { mask.0.cast(dtype) };
            operands.push(spread(&mask.broadcast_to(&whole), &heads));
            spec.masked = broadcasts;
            broadcasts.then_some(())?;
        }
        if let Some(places) = &options.places {
            let batch = four(&[&heads[..], &[1, 1]].concat(), options.grouped)[0];
            let sequences = places.0.cast(DType::I64).reshape([places.shape().elements()]);
            // Axes between the first and the heads belong to one sequence.
            let within = batch / sequences.shape().elements().max(1);
            let apart = sequences.reshape([sequences.shape().elements(), 1]);
            operands
                .push(apart.broadcast_to(&[sequences.shape().elements(), within].into()).reshape([batch]));
            spec.placed = true;
        }
        if let Some((share, key)) = dropout {
            operands.push(key.tensor().0.reshape([1]));
            spec.dropout = Some(Scalar::Float(*share));
        }
        let found = Expr::attention_value(&spec, AttentionValue::Result, &operands);
        let sizes = [&heads[..], &[query.size(-2), values.size(-1)]].concat();
        Some(Tensor(found.reshape(sizes)))
    }

    /// In terms of other operations.
    #[track_caller]
    fn composed(&self) -> Tensor {
        let AttentionOperation { query, options, .. } = self;
        let (mut keys, mut values) = (self.keys.clone(), self.values.clone());
        if self.each > 1 {
            keys = keys.repeat_interleave(-3, self.each);
            values = values.repeat_interleave(-3, self.each);
        }
        let mut scores = (query.float() * self.scale).matmul(&keys.t());
        let mut allowed = self.window();
        if let Some(mask) = &options.mask {
            if mask.dtype() == DType::Bool {
                allowed = Some(match allowed {
                    Some(window) => window & mask,
                    None => mask.clone(),
                });
            } else {
                scores += mask;
            }
        }
        let mut weights = match &allowed {
            None => scores.softmax(-1),
            // The lowest finite number, not -inf: a row of -inf alone would be NaN, and so would its gradient.
            Some(allowed) => allowed.select(&scores, lowest(scores.dtype())).softmax(-1),
        };
        let plain = options.mask.is_none() && options.places.is_none() && options.window.is_none();
        if let (Some(allowed), false) = (&allowed, plain) {
            weights = allowed.any_keepdim(-1).select(weights, 0.0);
        }
        if let Some((probability, key)) = &options.dropout {
            weights = weights.dropout(*probability, key);
        }
        weights.matmul(&values)
    }

    /// Which keys each query attends to by its place.
    #[track_caller]
    fn window(&self) -> Option<Tensor> {
        let AttentionOperation { query, keys, options, .. } = self;
        let matrix = [query.size(-2), keys.size(-2)];
        let key = Tensor::index_along(matrix, 1);
        let mut at = Tensor::index_along(matrix, 0) + options.offset as i64;
        if let Some(places) = &options.places {
            let mut sizes = vec![1; query.rank().max(2)];
            sizes[0] = places.shape().elements();
            at = match query.rank() {
                2 => at + places.cast(DType::I64).reshape([1, 1]),
                _ => at + places.cast(DType::I64).reshape(sizes),
            };
        }
        let right = options.causal.then(|| key.le(&at));
        let left = options.window.map(|window| (&at - &key).le(i64::try_from(window).unwrap_or(i64::MAX)));
        [right, left].into_iter().flatten().reduce(|right, left| right & left)
    }
}

/// Sizes with the axes outside of the last three as one, or as many of size one as are missing. `grouped`: the last three begin with
/// heads even where there are no more.
fn four(sizes: &[usize], grouped: bool) -> Shape {
    let (outer, matrix) = sizes.split_at(sizes.len() - 2);
    let [batch, heads] = match outer {
        [] => [1, 1],
        [heads] if grouped => [1, *heads],
        // Sequences of one head.
        [batch] => [*batch, 1],
        [batch @ .., heads] => [batch.iter().product(), *heads],
    };
    [batch, heads, matrix[0], matrix[1]].into()
}

/// The lowest finite number of a float dtype.
fn lowest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => -65504.0,
        DType::F64 => f64::MIN,
        _ => -3.3895e38,
    }
}
