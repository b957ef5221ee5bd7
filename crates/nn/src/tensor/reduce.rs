//! Folding axes: `sum(1)`, `sum([0, 2])`, `sum(..)` over all. The axes go away; each method has a `_keepdim` twin
//! that leaves them with size one. Small integers and booleans are counted in `i64`, 16-bit floats in `f32`.

use kiln_ir::op::{ArgOp, ReduceOp};
use kiln_ir::{DType, Result};

use super::Tensor;
use super::arguments::{Correction, IntoAxes};

macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident $keepdim:ident ($($argument:ident: $type:ty),*) $function:ident;)*) => {
        impl Tensor {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(&self, axes: impl IntoAxes, $($argument: $type,)*) -> Tensor {
                let axes = check!(self.reduced_axes(stringify!($name), axes));
                self.$function(&axes, $($argument),*).without(&axes)
            }

            #[doc = concat!("[`", stringify!($name), "`](Tensor::", stringify!($name), "), the axes staying with size one.")]
            #[track_caller]
            pub fn $keepdim(&self, axes: impl IntoAxes, $($argument: $type,)*) -> Tensor {
                let axes = check!(self.reduced_axes(stringify!($name), axes));
                self.$function(&axes, $($argument),*)
            }
        )*}
    };
}

reductions! {
    /// The sum over the axes.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from([[1, 2], [3, 4]]);
    /// assert_eq!(x.sum(0).to_vec::<i64>()?, [4, 6]);
    /// assert_eq!(x.sum(-1).to_vec::<i64>()?, [3, 7]);
    /// assert_eq!(x.sum(..).item()?, 10.0);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    sum sum_keepdim () fold_sum;
    /// The product over the axes.
    prod prod_keepdim () fold_prod;
    /// The mean over the axes, as a float.
    mean mean_keepdim () fold_mean;
    /// The variance over the axes, divided by the count less a correction.
    ///
    /// ```
    /// # use kiln_nn::{Correction, Tensor};
    /// let x = Tensor::from([1.0, 3.0]);
    /// assert_eq!(x.var(0, Correction::SAMPLE).item()?, 2.0);
    /// assert_eq!(x.var(0, Correction::POPULATION).item()?, 1.0);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    var var_keepdim (correction: Correction) fold_var;
    /// The standard deviation: the root of [`var`](Tensor::var). Where it is 0 so is its gradient.
    std std_keepdim (correction: Correction) fold_std;
    /// The largest over the axes; `NaN` if any is. Equal ones share the gradient.
    max max_keepdim () fold_max;
    /// The smallest over the axes; `NaN` if any is. Equal ones share the gradient.
    min min_keepdim () fold_min;
    /// `ln(sum(exp(x)))` over the axes, without overflow.
    logsumexp logsumexp_keepdim () fold_logsumexp;
    /// The `p`-norm over the axes: 2 is Euclid's, 1 the sum of absolute values, ∞ the largest, 0 counts what isn't 0.
    norm norm_keepdim (p: f64) fold_norm;
    /// Whether any element is true (not zero).
    any any_keepdim () fold_any;
    /// Whether all elements are true (not zero).
    all all_keepdim () fold_all;
    /// How many elements aren't zero.
    count_nonzero count_nonzero_keepdim () fold_count;
}

impl Tensor {
    #[track_caller]
    fn reduced_axes(&self, operation: &str, axes: impl IntoAxes) -> Result<Vec<usize>> {
        self.axes(operation, axes.into_axes())
    }

    /// Without `axes`, which have size one.
    #[track_caller]
    pub(crate) fn without(&self, axes: &[usize]) -> Tensor {
        let shape = self.shape();
        let kept = (0..shape.rank()).filter(|axis| !axes.contains(axis));
        Tensor(self.0.reshape(kept.map(|axis| shape[axis]).collect::<Vec<_>>()))
    }

    #[track_caller]
    fn counting(&self) -> Tensor {
        match self.dtype().is_float() {
            true => self.clone(),
            false => self.cast(DType::I64),
        }
    }

    #[track_caller]
    pub(crate) fn fold_sum(&self, axes: &[usize]) -> Tensor {
        Tensor(self.counting().0.sum(axes))
    }

    #[track_caller]
    fn fold_prod(&self, axes: &[usize]) -> Tensor {
        Tensor(self.counting().0.reduce(ReduceOp::Prod, axes))
    }

    #[track_caller]
    pub(crate) fn fold_mean(&self, axes: &[usize]) -> Tensor {
        let sum = self.wide().fold_sum(axes);
        (sum / self.count(axes) as f64).cast(self.dtype().to_float())
    }

    #[track_caller]
    fn fold_var(&self, axes: &[usize], correction: Correction) -> Tensor {
        let x = self.wide();
        let squares = (&x - x.fold_mean(axes)).square().fold_sum(axes);
        let count = self.count(axes).saturating_sub(correction.0) as f64;
        (squares / count).cast(self.dtype().to_float())
    }

    #[track_caller]
    fn fold_std(&self, axes: &[usize], correction: Correction) -> Tensor {
        self.fold_var(axes, correction).root()
    }

    #[track_caller]
    pub(crate) fn fold_max(&self, axes: &[usize]) -> Tensor {
        Tensor(self.0.reduce(ReduceOp::Max, axes))
    }

    #[track_caller]
    fn fold_min(&self, axes: &[usize]) -> Tensor {
        Tensor(self.0.reduce(ReduceOp::Min, axes))
    }

    #[track_caller]
    pub(crate) fn fold_logsumexp(&self, axes: &[usize]) -> Tensor {
        let x = self.wide();
        let largest = x.fold_max(axes).stop_gradient();
        // An infinite maximum is its own result; subtracting it would make NaN.
        let shift = largest.is_finite().select(&largest, 0.0);
        let sum = (&x - &shift).exp().fold_sum(axes);
        (sum.ln() + shift).cast(self.dtype().to_float())
    }

    #[track_caller]
    fn fold_norm(&self, axes: &[usize], p: f64) -> Tensor {
        let x = self.wide();
        let norm = match p {
            0.0 => x.ne(0.0).cast(x.dtype()).fold_sum(axes),
            1.0 => x.abs().fold_sum(axes),
            2.0 => x.square().fold_sum(axes).root(),
            f64::INFINITY => x.abs().fold_max(axes),
            f64::NEG_INFINITY => x.abs().fold_min(axes),
            p => x.abs().pow(p).fold_sum(axes).pow(1.0 / p),
        };
        norm.cast(self.dtype().to_float())
    }

    #[track_caller]
    fn fold_any(&self, axes: &[usize]) -> Tensor {
        self.cast(DType::Bool).fold_max(axes)
    }

    #[track_caller]
    fn fold_all(&self, axes: &[usize]) -> Tensor {
        self.cast(DType::Bool).fold_min(axes)
    }

    #[track_caller]
    fn fold_count(&self, axes: &[usize]) -> Tensor {
        self.cast(DType::Bool).fold_sum(axes)
    }

    /// The square root, with a gradient of 0 at 0.
    #[track_caller]
    fn root(&self) -> Tensor {
        let zero = self.eq(0.0);
        zero.select(0.0, zero.select(1.0, self).sqrt())
    }

    /// How many elements fold into one over `axes`.
    pub(crate) fn count(&self, axes: &[usize]) -> usize {
        let shape = self.shape();
        axes.iter().filter_map(|&axis| shape.get(axis)).product()
    }

    /// The position (`i64`) of the first largest element along an axis, which goes away. `NaN` counts as largest.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from([[1.0, 5.0, 5.0], [7.0, 0.0, 1.0]]);
    /// assert_eq!(x.argmax(-1).to_vec::<i64>()?, [1, 0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn argmax(&self, axis: isize) -> Tensor {
        let axis = check!(self.axis("argmax", axis));
        Tensor(self.0.arg_reduce(ArgOp::Max, axis)).without(&[axis])
    }

    /// The position (`i64`) of the first smallest element along an axis, which goes away. `NaN` counts as smallest.
    #[track_caller]
    pub fn argmin(&self, axis: isize) -> Tensor {
        let axis = check!(self.axis("argmin", axis));
        Tensor(self.0.arg_reduce(ArgOp::Min, axis)).without(&[axis])
    }

    /// The running sum along an axis.
    #[track_caller]
    pub fn cumsum(&self, axis: isize) -> Tensor {
        let axis = check!(self.axis("cumsum", axis));
        Tensor(self.counting().0.cumsum(axis))
    }

    /// The middle element along an axis, which goes away; of an even number the lower of the two in the middle.
    #[track_caller]
    pub fn median(&self, axis: isize) -> Tensor {
        let size = self.size(axis);
        let axis = check!(self.axis("median", axis)) as isize;
        ensure!(size > 0, Shape, "median", "axis {axis} of {} is empty", self.shape());
        let (sorted, _) = self.sort(axis, false);
        sorted.narrow(axis, (size as isize - 1) / 2, 1).squeeze(axis)
    }
}
