//! Gradients, which are tensors in the same graph: they can be differentiated again, and nothing is computed until
//! a value is asked for.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use kiln_ir::op::GradientRule;
use kiln_ir::{Expr, grad};

use super::Tensor;

impl Tensor {
    /// The gradient of this tensor of one element in each of `wanted`; zeros where it doesn't depend on it.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from(3.0);
    /// let y = x.pow(3);
    /// let slope = &y.grad(&[&x])[0];
    /// let curvature = &slope.grad(&[&x])[0];
    /// assert_eq!((slope.item()?, curvature.item()?), (27.0, 18.0));
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn grad<T: Borrow<Tensor>>(&self, wanted: &[T]) -> Vec<Tensor> {
        tensors(grad::gradients(&self.0, &exprs(wanted), None))
    }

    /// The gradient in each of `wanted` when `upstream`, in this tensor's shape, arrives here: the product of a vector
    /// and the Jacobian.
    #[track_caller]
    pub fn grad_with<T: Borrow<Tensor>>(&self, upstream: &Tensor, wanted: &[T]) -> Vec<Tensor> {
        tensors(grad::gradients(&self.0, &exprs(wanted), Some(&upstream.0)))
    }

    /// How this tensor moves when each of `wanted` moves along its tangent: the product of the Jacobian and a vector.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from([1.0, 2.0]);
    /// let moved = x.square().jvp(&[&x], &[&Tensor::from([1.0, 0.5])]);
    /// assert_eq!(moved.to_vec::<f64>()?, [2.0, 2.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn jvp<T: Borrow<Tensor>, V: Borrow<Tensor>>(&self, wanted: &[T], tangents: &[V]) -> Tensor {
        Tensor(grad::jvp(&self.0, &exprs(wanted), &exprs(tangents)))
    }

    /// The Hessian of this tensor of one element in `wanted`, times `vectors`, without building the Hessian.
    #[track_caller]
    pub fn hvp<T: Borrow<Tensor>, V: Borrow<Tensor>>(&self, wanted: &[T], vectors: &[V]) -> Vec<Tensor> {
        tensors(grad::hessian_vector(&self.0, &exprs(wanted), &exprs(vectors)))
    }

    /// All derivatives of this tensor's elements in those of `x`: this tensor's shape, then `x`'s. One gradient for
    /// each element, so it is for small tensors.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from([1.0, 2.0, 3.0]);
    /// let y = x.at(..2) * x.at(1..);
    /// assert_eq!(y.jacobian(&x).to_vec::<f64>()?, [2.0, 1.0, 0.0, 0.0, 3.0, 2.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn jacobian(&self, x: &Tensor) -> Tensor {
        let shape = check!(self.sound()).shape();
        let mut rows = self.flatten(..).per_sample_gradients(&[x]);
        let sizes = [&shape[..], &x.shape()].concat();
        match rows.pop() {
            Some(rows) => Tensor(rows.0.reshape(sizes)),
            None => self.clone(),
        }
    }

    /// The gradient of each element of this vector of losses by itself, in each of `wanted`: a leading axis of
    /// samples, then the wanted tensor's shape.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let w = Tensor::from([1.0, 2.0]);
    /// let x = Tensor::from([[1.0, 0.0], [3.0, 4.0]]);
    /// let losses = x.matmul(&w);
    /// assert_eq!(losses.per_sample_gradients(&[&w])[0].to_vec::<f64>()?, [1.0, 0.0, 3.0, 4.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn per_sample_gradients<T: Borrow<Tensor>>(&self, wanted: &[T]) -> Vec<Tensor> {
        let rank = self.rank();
        if self.0.error().is_none() && rank != 1 {
            let message = format!("needs a vector of losses, not {}", self.shape());
            let error = kiln_ir::Error::new(kiln_ir::ErrorKind::Shape, "per_sample_gradients", message);
            return wanted.iter().map(|_| error.clone().into()).collect();
        }
        let samples = self.unbind(0);
        let mut columns: Vec<Vec<Tensor>> = vec![Vec::with_capacity(samples.len()); wanted.len()];
        for sample in &samples {
            for (column, gradient) in columns.iter_mut().zip(sample.grad(wanted)) {
                column.push(gradient);
            }
        }
        let mut stacked = Vec::with_capacity(columns.len());
        for (column, x) in columns.iter().zip(wanted) {
            let x: &Tensor = x.borrow();
            stacked.push(match column.is_empty() {
                true => Tensor(Expr::full([&[0], &x.shape()[..]].concat(), 0.0, x.dtype())),
                false => Tensor::stack(column, 0),
            });
        }
        stacked
    }

    /// This tensor, through which no gradient flows.
    #[doc(alias = "detach")]
    #[track_caller]
    pub fn stop_gradient(&self) -> Tensor {
        Tensor(self.0.stop_gradient())
    }

    /// This tensor with a gradient of your own: `rule` gives, for the arguments, this value and the gradient that
    /// arrives at it, a gradient for each argument (`None`: none flows). It can be differentiated again as far as
    /// `rule` is written with tensors.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// // Rounding whose gradient pretends that nothing was rounded.
    /// let x = Tensor::from([0.4, 1.6]);
    /// let y = x.round().with_gradient(&[&x], |_, _, upstream| vec![Some(upstream.clone())]);
    /// assert_eq!(y.sum(..).grad(&[&x])[0].to_vec::<f64>()?, [1.0, 1.0]);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn with_gradient<F>(&self, arguments: &[&Tensor], rule: F) -> Tensor
    where
        F: Fn(&[Tensor], &Tensor, &Tensor) -> Vec<Option<Tensor>> + Send + Sync + 'static,
    {
        let arguments: Vec<&Expr> = arguments.iter().map(|argument| &argument.0).collect();
        Tensor(self.0.with_rule(&arguments, Arc::new(Closure(rule))))
    }

    /// What `f` computes, of which a gradient keeps only what comes in from outside: the values in between are
    /// computed again for it instead of staying in memory.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from(0.5);
    /// let y = Tensor::checkpoint(|| x.sin().exp().sin());
    /// let z = x.sin().exp().sin();
    /// assert_eq!(y.grad(&[&x])[0].item()?, z.grad(&[&x])[0].item()?);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn checkpoint(f: impl FnOnce() -> Tensor) -> Tensor {
        Tensor(kiln_ir::checkpoint::checkpoint(|| f().0))
    }
}

/// A rule that is a closure.
struct Closure<F>(F);

impl<F> fmt::Debug for Closure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gradient rule")
    }
}

impl<F> GradientRule for Closure<F>
where
    F: Fn(&[Tensor], &Tensor, &Tensor) -> Vec<Option<Tensor>> + Send + Sync,
{
    fn gradient(&self, arguments: &[Expr], value: &Expr, upstream: &Expr) -> Vec<Option<Expr>> {
        let arguments = tensors(arguments.to_vec());
        let gradients = self.0(&arguments, &Tensor(value.clone()), &Tensor(upstream.clone()));
        gradients.into_iter().map(|gradient| gradient.map(|tensor| tensor.0)).collect()
    }
}

fn exprs<T: Borrow<Tensor>>(tensors: &[T]) -> Vec<Expr> {
    tensors.iter().map(|tensor| tensor.borrow().0.clone()).collect()
}

pub(crate) fn tensors(exprs: Vec<Expr>) -> Vec<Tensor> {
    exprs.into_iter().map(Tensor).collect()
}
