//! Composites that ONNX has operators for: activations, norms, pooling, resizing.

use kiln_ir::{DType, Data, Op};
use kiln_nn::composite::{Composite, Resizing};

use super::operations::{sizes_of, windows};
use super::trace::Pair;
use super::{Attribute, GraphWriter};
use crate::element::OnnxDType;
use crate::error::{Error, Result};

impl GraphWriter<'_> {
    /// A value as one operation of these values.
    pub(super) fn composite(
        &mut self,
        composite: &Composite,
        inputs: &[Pair],
        pair: &Pair,
    ) -> Result<String> {
        if let Composite::Biased = composite {
            return self.biased(&inputs[0], &inputs[1], None);
        }
        if let Composite::Recurrent(how) = composite {
            return self.recurrent(*how, inputs);
        }
        if let Composite::Trees = composite {
            return self.forest(inputs);
        }
        if let (Composite::BatchNorm(epsilon), true) = (composite, self.fold)
            && let Some(folded) = self.folded(inputs, *epsilon)?
        {
            return Ok(folded);
        }
        let float = |value: f64| Attribute::Float(value as f32);
        let axis = |axis: usize| vec![("axis", Attribute::Int(axis as i64))];
        let mut names = self.values(inputs)?;
        // kiln takes whole numbers where a function needs floats.
        let dtype = pair.a.dtype;
        let pointwise = !matches!(composite, Composite::Select(_));
        for (name, input) in names.iter_mut().zip(inputs) {
            if pointwise && input.a.dtype != dtype {
                *name = self.cast(name, dtype);
            }
        }
        Ok(match composite {
            Composite::Softmax(at) => self.with("Softmax", &names, axis(*at)),
            Composite::LogSoftmax(at) => self.with("LogSoftmax", &names, axis(*at)),
            Composite::Gelu(tanh) => {
                let way = if *tanh { "tanh" } else { "none" };
                self.with("Gelu", &names, vec![("approximate", Attribute::Text(way.to_string()))])
            }
            Composite::Elu(alpha) => self.with("Elu", &names, vec![("alpha", float(*alpha))]),
            Composite::Celu(alpha) => self.with("Celu", &names, vec![("alpha", float(*alpha))]),
            Composite::Selu => self.plain("Selu", &names),
            Composite::LeakyRelu(slope) => self.with("LeakyRelu", &names, vec![("alpha", float(*slope))]),
            Composite::PRelu => self.plain("PRelu", &names),
            Composite::Relu6 => {
                let bounds = [0.0, 6.0].map(|bound| self.number(bound, dtype));
                names.extend(bounds);
                self.plain("Clip", &names)
            }
            Composite::Softplus => self.plain("Softplus", &names),
            Composite::Softsign => self.plain("Softsign", &names),
            Composite::Mish => self.plain("Mish", &names),
            Composite::HardSigmoid => {
                self.with("HardSigmoid", &names, vec![("alpha", float(1.0 / 6.0)), ("beta", float(0.5))])
            }
            Composite::HardSwish => self.plain("HardSwish", &names),
            Composite::Dense => self.plain("Gemm", &names),
            Composite::Biased | Composite::Recurrent(_) | Composite::Trees => {
                unreachable_composite("a composite that is written elsewhere")?
            }
            Composite::BatchNorm(epsilon) => {
                self.with("BatchNormalization", &names, vec![("epsilon", float(*epsilon))])
            }
            Composite::LayerNorm(at, epsilon) => {
                let attributes = [axis(*at), vec![("epsilon", float(*epsilon))]].concat();
                self.with("LayerNormalization", &names, attributes)
            }
            Composite::RmsNorm(at, epsilon) => {
                let attributes = [axis(*at), vec![("epsilon", float(*epsilon))]].concat();
                self.with("RMSNormalization", &names, attributes)
            }
            Composite::GroupNorm(groups, epsilon) => {
                let attributes =
                    vec![("num_groups", Attribute::Int(*groups as i64)), ("epsilon", float(*epsilon))];
                let y = self.with("GroupNormalization", &names, attributes);
                // ONNX's own inference of shapes doesn't know this one.
                let sizes = self.trace.free.sizes(&pair.extents());
                self.builder.describe(&y, OnnxDType::from_dtype(dtype), &sizes);
                y
            }
            Composite::InstanceNorm(epsilon) => {
                self.with("InstanceNormalization", &names, vec![("epsilon", float(*epsilon))])
            }
            Composite::AveragePool(spec, asked, counted) => {
                // What hangs over the end counts nowhere.
                let hangs = spec.pad != *asked;
                let pad = if hangs { asked } else { &spec.pad };
                let mut attributes = windows(&spec.stride, pad, &spec.dilation);
                attributes.push(("kernel_shape", sizes_of(&spec.window)));
                attributes.push(("count_include_pad", Attribute::Int(i64::from(*counted))));
                if hangs {
                    attributes.push(("ceil_mode", Attribute::Int(1)));
                }
                self.with("AveragePool", &names, attributes)
            }
            Composite::GlobalAverage | Composite::GlobalMax => {
                let operator = if *composite == Composite::GlobalAverage {
                    "GlobalAveragePool"
                } else {
                    "GlobalMaxPool"
                };
                let pooled = self.plain(operator, &names);
                self.builder.node("Flatten", &[&pooled], Vec::new())
            }
            Composite::Select(at) => self.with("Gather", &names, axis(*at)),
            Composite::Resize(to, way) => {
                let shape = [&inputs[0].extents()[..2], &pair.extents()[2..]].concat();
                debug_assert_eq!(shape.len(), to.len() + 2);
                let target = self.sizes(&shape)?;
                let (mode, places) = match way {
                    Resizing::Nearest => ("nearest", "asymmetric"),
                    Resizing::Linear => ("linear", "half_pixel"),
                    Resizing::LinearAligned => ("linear", "align_corners"),
                };
                let text = |text: &str| Attribute::Text(text.to_string());
                let mut attributes =
                    vec![("mode", text(mode)), ("coordinate_transformation_mode", text(places))];
                if *way == Resizing::Nearest {
                    attributes.push(("nearest_mode", text("floor")));
                }
                self.builder.node("Resize", &[&names[0], "", "", &target], attributes)
            }
        })
    }

    /// A convolution with its bias, and perhaps with another weight than its own.
    fn biased(&mut self, y: &Pair, bias: &Pair, weights: Option<(String, String)>) -> Result<String> {
        let mut inputs = vec![self.value(&y.input(0))?];
        match weights {
            Some((weight, bias)) => inputs.extend([weight, bias]),
            None => inputs.extend([self.value(&y.input(1))?, self.value(bias)?]),
        }
        let window = y.a.inputs[1].shape[2..].to_vec();
        if let Op::Conv(spec) = &y.a.op {
            return Ok(self.convolution(&inputs, spec, &window));
        }
        if let Op::ConvGradInput(spec, sizes) = &y.a.op {
            return Ok(self.transposed(&inputs, spec, &y.a.inputs[0].shape[2..], &window, sizes));
        }
        unreachable_composite("a bias of no convolution")
    }

    /// A norm over the batch as part of the convolution before it, if there is one that nothing else uses:
    /// `(w·x + b − mean)·s + shift` is `(w·s)·x + ((b − mean)·s + shift)`, with `s = scale / √(variance + ε)`.
    fn folded(&mut self, inputs: &[Pair], epsilon: f64) -> Result<Option<String>> {
        let trace = self.trace;
        let x = &inputs[0];
        let (y, bias) = match trace.composite(x) {
            Some((Composite::Biased, parts)) => (parts[0].clone(), Some(parts[1].clone())),
            _ => (x.clone(), None),
        };
        let Op::Conv(_) = &y.a.op else { return Ok(None) };
        let all = inputs[1..].iter().chain(&bias).chain([&y.input(1)]).all(|pair| trace.is_constant(pair));
        // The convolution was written as it is where its value came first in order, which is no harm: nothing asks for it.
        if !all || !trace.is_used_once(x) || y.a.dtype != DType::F32 {
            return Ok(None);
        }
        let numbers = |pair: &Pair| -> Result<Vec<f64>> {
            Ok(self.numbers(pair)?.scalars().into_iter().map(|number| number.as_f64()).collect())
        };
        let (scale, shift) = (numbers(&inputs[1])?, numbers(&inputs[2])?);
        let (mean, variance) = (numbers(&inputs[3])?, numbers(&inputs[4])?);
        let own = bias.as_ref().map(numbers).transpose()?.unwrap_or_else(|| vec![0.0; mean.len()]);
        let factor: Vec<f64> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let weight = numbers(&y.input(1))?;
        let each = weight.len() / factor.len().max(1);
        let weight: Vec<f32> =
            weight.iter().enumerate().map(|(at, w)| (w * factor[at / each.max(1)]) as f32).collect();
        let moved = |at: usize| ((own[at] - mean[at]) * factor[at] + shift[at]) as f32;
        let moved: Vec<f32> = (0..factor.len()).map(moved).collect();
        let start = self.builder.layer.clone();
        let shape = y.a.inputs[1].shape.to_vec();
        let weight = self.builder.weight(&format!("{start}/weight"), &shape, &Data::F32(weight));
        let count = moved.len();
        let bias = self.builder.weight(&format!("{start}/bias"), &[count], &Data::F32(moved));
        self.biased(&y, &inputs[2], Some((weight, bias))).map(Some)
    }
}

fn unreachable_composite(what: &str) -> Result<String> {
    Err(Error::network(format!("{what} can't be written; please report this as a fault of kiln's")))
}
