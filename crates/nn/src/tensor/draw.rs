//! Showing what a tensor is computed from: as text, one operation a line, and as a drawing.

use std::collections::HashMap;

use kiln_ir::{Graph, Result, print};

use super::Tensor;

impl Tensor {
    /// What this tensor is computed from, as text: one operation a line, with the user's line that asked for it.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from([1.0, 2.0]);
    /// let listing = x.exp().sum(..).listing()?;
    /// assert!(listing.contains("%1 f64[2] = exp(%0)"));
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where the tensor is poisoned.
    pub fn listing(&self) -> Result<String> {
        Ok(Graph::trace(&[], std::slice::from_ref(&self.0), &[])?.0.to_string())
    }

    /// What this tensor is computed from, as a drawing in Graphviz's language (`dot -Tsvg`). Tensors that are given a
    /// name show it; those of one element their value too, and the gradient that this tensor has in them.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let (a, b) = (Tensor::from(2.0), Tensor::from(-3.0));
    /// let c = &a * &b;
    /// let drawing = c.drawing(&[("a", &a), ("b", &b), ("c", &c)])?;
    /// assert!(drawing.contains("a = 2.0, gradient -3.0"));
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where a tensor is poisoned or its value can't be computed.
    pub fn drawing(&self, named: &[(&str, &Tensor)]) -> Result<String> {
        let tensors: Vec<&Tensor> = named.iter().map(|(_, tensor)| *tensor).collect();
        let differentiable = self.elements() == 1 && self.dtype().is_float();
        let gradients = if differentiable { self.grad(&tensors) } else { Vec::new() };
        let mut notes = HashMap::new();
        for (position, (name, tensor)) in named.iter().enumerate() {
            let node = tensor.0.node().map_err(|error| error.as_ref().clone())?;
            let mut note = (*name).to_string();
            if tensor.elements() == 1 {
                let gradient = gradients.get(position).filter(|_| tensor.dtype().is_float());
                note += &format!(" = {}", tensor.reshape(()).eval()?);
                if let Some(gradient) = gradient {
                    note += &format!(", gradient {}", gradient.reshape(()).eval()?);
                }
            }
            notes.insert(node.id, note);
        }
        print::dot_of(std::slice::from_ref(&self.0), &|node| notes.get(&node.id).cloned())
    }
}
