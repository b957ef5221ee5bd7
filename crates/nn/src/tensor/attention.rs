//! Scaled dot-product attention.

use kiln_ir::DType;

use super::Tensor;
use crate::random::Key;

/// What may be attended to, and how sharply.
#[derive(Clone, Default)]
pub struct AttentionOptions {
    /// Added to the scores if it is a float; if boolean, where it doesn't hold nothing is attended to. Broadcasts to
    /// `[…, queries, keys]`.
    pub mask: Option<Tensor>,
    /// Whether a query attends only to keys up to its own position.
    pub causal: bool,
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

    /// A query attends only to keys up to its own position.
    pub fn causal(mut self) -> AttentionOptions {
        self.causal = true;
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
    /// ```
    /// # use kiln_nn::{AttentionOptions, Tensor};
    /// let x = Tensor::ones([2, 4, 10, 16]); // [batch, heads, time, width]
    /// let y = x.attention(&x, &x, &AttentionOptions::new().causal());
    /// assert_eq!(*y.shape(), [2, 4, 10, 16]);
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
        let (mut keys, mut values) = (keys.clone(), values.clone());
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
            keys = keys.repeat_interleave(-3, heads / shared);
            values = values.repeat_interleave(-3, heads / shared);
        }
        let scale = options.scale.unwrap_or(1.0 / (self.size(-1) as f64).sqrt());
        let mut scores = (self.float() * scale).matmul(&keys.t());
        let mut allowed = None;
        if options.causal {
            let matrix = [self.size(-2), keys.size(-2)];
            allowed = Some(Tensor::index_along(matrix, 1).le(Tensor::index_along(matrix, 0)));
        }
        if let Some(mask) = &options.mask {
            if mask.dtype() == DType::Bool {
                allowed = Some(match allowed {
                    Some(causal) => causal & mask,
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
        if let (Some(allowed), Some(_)) = (&allowed, &options.mask) {
            weights = allowed.any_keepdim(-1).select(weights, 0.0);
        }
        if let Some((probability, key)) = &options.dropout {
            weights = weights.dropout(*probability, key);
        }
        weights.matmul(&values)
    }
}

/// The lowest finite number of a float dtype.
fn lowest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => -65504.0,
        DType::F64 => f64::MIN,
        _ => -3.3895e38,
    }
}
