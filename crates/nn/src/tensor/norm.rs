//! Softmax, normalisation and dropout. Each is one value with its closed-form gradient, which is shorter than what
//! differentiating the formula would give and can be differentiated again.
//!
//! The norms only normalise. A learnt scale and shift are arithmetic: `x.layer_norm(-1, 1e-5) * &scale + &shift`.

use super::Tensor;
use super::arguments::{Axes, IntoAxes};
use crate::composite::{Composite, note};
use crate::random::Key;

impl Tensor {
    /// `exp(x)` divided by its sum along an axis, without overflow.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let p = Tensor::from([1000.0f32, 1000.0]).softmax(-1);
    /// assert_eq!(p.to_vec::<f32>()?, [0.5, 0.5]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax(&self, axis: isize) -> Tensor {
        let axes = [check!(self.axis("softmax", axis))];
        let x = self.wide();
        let exp = (&x - x.fold_max(&axes).stop_gradient()).exp();
        // A division for each row instead of one for each number.
        let y = &exp * exp.sum_keepdim(axes).recip();
        let y = y.with_gradient(&[&x], move |_, y, g| vec![Some(y * (g - (g * y).sum_keepdim(axes)))]);
        note(y.cast(self.dtype().to_float()), || (Composite::Softmax(axes[0]), [self]))
    }

    /// The logarithm of the softmax along an axis.
    #[track_caller]
    pub fn log_softmax(&self, axis: isize) -> Tensor {
        let axes = [check!(self.axis("log_softmax", axis))];
        let x = self.wide();
        let shifted = &x - x.fold_max(&axes).stop_gradient();
        let y = &shifted - shifted.exp().sum_keepdim(axes).ln();
        let y = y.with_gradient(&[&x], move |_, y, g| vec![Some(g - y.exp() * g.sum_keepdim(axes))]);
        note(y.cast(self.dtype().to_float()), || (Composite::LogSoftmax(axes[0]), [self]))
    }

    /// Mean 0 and variance 1 over `axes`: `(x - mean) / sqrt(var + epsilon)`, with the population's variance.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from([[1.0, 3.0], [5.0, 5.0]]);
    /// assert_eq!(x.layer_norm(-1, 0.0).at(0).to_vec::<f64>()?, [-1.0, 1.0]);
    /// assert_eq!(x.layer_norm(-1, 1e-5).at(1).to_vec::<f64>()?, [0.0, 0.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn layer_norm(&self, axes: impl Into<Axes>, epsilon: f64) -> Tensor {
        let axes = check!(self.axes("layer_norm", axes));
        self.standardize(&axes, epsilon).0
    }

    /// Divided by the root mean square over `axes`: `x / sqrt(mean(x²) + epsilon)`.
    #[track_caller]
    pub fn rms_norm(&self, axes: impl Into<Axes>, epsilon: f64) -> Tensor {
        let axes = check!(self.axes("rms_norm", axes));
        let x = self.wide();
        let factor = (x.square().fold_mean(&axes) + epsilon).rsqrt();
        let y = (&x * &factor)
            .with_gradient(&[&x], move |_, y, g| vec![Some((g - y * (g * y).fold_mean(&axes)) * &factor)]);
        y.cast(self.dtype().to_float())
    }

    /// Images `[batch, channels, …]` normalised over the channels of each of `groups` groups and all that follows.
    #[track_caller]
    pub fn group_norm(&self, groups: usize, epsilon: f64) -> Tensor {
        let shape = check!(self.sound()).shape();
        ensure!(
            shape.rank() >= 2 && groups > 0 && shape[1].is_multiple_of(groups),
            Shape,
            "group_norm",
            "{groups} groups of the channels (axis 1) of {shape}"
        );
        let grouped = self.unflatten(1, [groups, shape[1] / groups]);
        let axes: Vec<usize> = (2..shape.rank() + 1).collect();
        Tensor(grouped.standardize(&axes, epsilon).0.0.reshape(shape))
    }

    /// Images `[batch, channels, spatial…]` normalised over the spatial axes of each channel of each image.
    #[track_caller]
    pub fn instance_norm(&self, epsilon: f64) -> Tensor {
        let axes = check!(self.axes("instance_norm", 2..));
        self.standardize(&axes, epsilon).0
    }

    /// `[batch, channels, …]` normalised over all but the channels, as in training; and the running mean and variance
    /// (`[channels]`) moved towards the batch's by `momentum`.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let (mean, var) = (Tensor::zeros([1]), Tensor::ones([1]));
    /// let x = Tensor::from([[1.0f32], [3.0]]);
    /// let (y, mean, var) = x.batch_norm_train(&mean, &var, 0.5, 0.0);
    /// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0]);
    /// assert_eq!((mean.item()?, var.item()?), (1.0, 1.5));
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn batch_norm_train(
        &self,
        running_mean: &Tensor,
        running_var: &Tensor,
        momentum: f64,
        epsilon: f64,
    ) -> (Tensor, Tensor, Tensor) {
        self.batch_norm_scaled(running_mean, running_var, [momentum, epsilon], None)
    }

    /// The same with what is normalised multiplied by a scale and added to a shift, which lie along the channels as `[1, channels, 1, …]`. The
    /// gradients of all three take two sums: those of scale and shift.
    #[track_caller]
    pub(crate) fn batch_norm_scaled(
        &self,
        running_mean: &Tensor,
        running_var: &Tensor,
        [momentum, epsilon]: [f64; 2],
        affine: Option<[&Tensor; 2]>,
    ) -> (Tensor, Tensor, Tensor) {
        let poisoned = |error: kiln_ir::Error| (error.clone().into(), error.clone().into(), error.into());
        let shape = check!(self.sound(), error => poisoned(error)).shape();
        let axes: Vec<usize> = (0..shape.rank()).filter(|&axis| axis != 1).collect();
        let count = self.count(&axes);
        if shape.rank() < 2 || count < 2 {
            let message =
                format!("needs [batch, channels, …] with two values or more a channel, not {shape}");
            return poisoned(kiln_ir::Error::new(kiln_ir::ErrorKind::Shape, "batch_norm", message));
        }
        let (y, mean, var) = self.standardize(&axes, epsilon);
        let y = match affine {
            None => y,
            Some([scale, shift]) => {
                let rule = {
                    let (normal, scale) = (y.clone(), scale.clone());
                    let factor = scale.wide() * (&var + epsilon).rsqrt();
                    let (axes, count) = (axes.clone(), count as f64);
                    move |_: &[Tensor], _: &Tensor, g: &Tensor| {
                        let (of_shift, of_scale) = (g.fold_sum(&axes), (g * &normal).fold_sum(&axes));
                        let along = &of_shift / count + &normal * (&of_scale / count);
                        vec![Some((g - along) * &factor), Some(of_scale), Some(of_shift)]
                    }
                };
                (&y * scale + shift).with_gradient(&[self, scale, shift], rule)
            }
        };
        // The running variance is the one of a sample, as in PyTorch.
        let unbiased = var.stop_gradient().without(&axes) * (count as f64 / (count - 1) as f64);
        let moved =
            |running: &Tensor, now: &Tensor| (running + (now - running) * momentum).cast(running.dtype());
        let running_mean = moved(running_mean, &mean.stop_gradient().without(&axes));
        (y, running_mean, moved(running_var, &unbiased))
    }

    /// `[batch, channels, …]` normalised with a mean and variance known beforehand (`[channels]`), as in use.
    #[track_caller]
    pub fn batch_norm(&self, mean: &Tensor, var: &Tensor, epsilon: f64) -> Tensor {
        let shape = check!(self.sound()).shape();
        ensure!(shape.rank() >= 2, Shape, "batch_norm", "needs [batch, channels, …], not {shape}");
        let mut sizes = vec![1; shape.rank()];
        sizes[1] = shape[1];
        for statistic in [mean, var] {
            let given = check!(statistic.sound()).shape();
            ensure!(
                *given == [shape[1]],
                Shape,
                "batch_norm",
                "a statistic {given} for the {} channels of {shape}",
                shape[1]
            );
        }
        let factor = Tensor((var.wide() + epsilon).rsqrt().0.reshape(sizes.clone()));
        let mean = Tensor(mean.wide().0.reshape(sizes));
        ((self.wide() - mean) * factor).cast(self.dtype().to_float())
    }

    /// Mean 0 and variance 1 over `axes`, with the mean and the variance, which keep those axes with size one.
    #[track_caller]
    fn standardize(&self, axes: &[usize], epsilon: f64) -> (Tensor, Tensor, Tensor) {
        let x = self.wide();
        let mean = x.fold_mean(axes);
        let centred = &x - &mean;
        let var = centred.square().fold_mean(axes);
        let factor = (&var + epsilon).rsqrt();
        let y = centred * &factor;
        let axes = axes.to_vec();
        let y = y.with_gradient(&[&x], move |_, y, g| {
            let along = y * (g * y).fold_mean(&axes);
            vec![Some((g - g.fold_mean(&axes) - along) * &factor)]
        });
        (y.cast(self.dtype().to_float()), mean, var)
    }

    /// Divided by its `p`-norm over `axes`, which counts as at least `epsilon`.
    #[track_caller]
    pub fn normalize(&self, axes: impl IntoAxes, p: f64, epsilon: f64) -> Tensor {
        let axes = check!(self.axes("normalize", axes.into_axes()));
        self / self.norm_keepdim(axes, p).maximum(epsilon)
    }

    /// Each element zero with a probability, the others scaled up so that the mean stays. Equal keys drop the same
    /// elements.
    ///
    /// ```
    /// # use kiln_nn::{Key, Tensor};
    /// let x = Tensor::ones([1000]).dropout(0.25, &Key::new(7));
    /// let kept = x.count_nonzero(..).item()?;
    /// assert!((700.0..800.0).contains(&kept));
    /// assert_eq!(x.max(..).item()? as f32, 1.0 / 0.75);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn dropout(&self, probability: f64, key: &Key) -> Tensor {
        ensure!(
            (0.0..=1.0).contains(&probability),
            Value,
            "dropout",
            "a probability of {probability}; it must be from 0 to 1"
        );
        if probability == 0.0 {
            return self.clone();
        }
        let shape = check!(self.sound()).shape();
        let scale = if probability < 1.0 { 1.0 / (1.0 - probability) } else { 0.0 };
        key.uniform(shape, 0.0, 1.0).ge(probability).select(self * scale, 0.0)
    }
}
