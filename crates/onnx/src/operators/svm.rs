//! Support vector machines.

use kiln_ir::{DType, Data, Shape};
use kiln_nn::{HostOp, Tensor};

use super::scores::{Transform, chosen, labels};
use crate::call::{Call, Operator, one};
use crate::error::Result;
use crate::value::Value;

/// An operator of this group.
pub(super) fn find(name: &str) -> Option<Operator> {
    Some(match name {
        "SVMRegressor" => |call| {
            let rho = call.floats("rho").unwrap_or_default().first().copied().unwrap_or(0.0);
            let vectors = call.sizes(&[call.int("n_supports", 0)])?[0];
            let weights = call.floats("coefficients").unwrap_or_default();
            let weight = Tensor::new(weights.clone(), [weights.len(), 1]);
            let near = match vectors {
                0 => table(call)?,
                _ => kernel(call, vectors)?,
            };
            if near.size(-1) != weights.len() {
                return Err(call.fault(format!("{} coefficients for {vectors} vectors", weights.len())));
            }
            let y = near.matmul(&weight) + f64::from(rho);
            let y =
                if call.int("one_class", 0) != 0 { y.gt(0.0).select(1.0, -1.0).cast(DType::F32) } else { y };
            one(Transform::of(call)?.on(&y))
        },
        "SVMClassifier" => classify,
        _ => return None,
    })
}

fn table(call: &Call) -> Result<Tensor> {
    let x = call.tensor(0)?.cast(DType::F32);
    match x.rank() {
        1 => Ok(x.unsqueeze(0)),
        2 => Ok(x),
        _ => Err(call.fault(format!("{} isn't a table", x.shape()))),
    }
}

/// How near each row is to each of so many vectors.
fn kernel(call: &Call, count: usize) -> Result<Tensor> {
    let x = table(call)?;
    let columns = x.size(1);
    let vectors = call.floats("support_vectors").unwrap_or_default();
    if Some(vectors.len()) != count.checked_mul(columns) {
        return Err(call.fault(format!("{} numbers for {count} vectors of {columns}", vectors.len())));
    }
    let vectors = Tensor::new(vectors, [count, columns]);
    let params = call.floats("kernel_params").unwrap_or_default();
    let param = |at: usize| f64::from(params.get(at).copied().unwrap_or(0.0));
    let (gamma, shift, degree) = (param(0), param(1), param(2));
    let product = x.matmul(&vectors.t());
    Ok(match call.text("kernel_type", "LINEAR").as_str() {
        "LINEAR" => product,
        "POLY" => (product * gamma + shift).pow(degree),
        "SIGMOID" => (product * gamma + shift).tanh(),
        "RBF" => {
            call.room(&[x.size(0), count, columns])?;
            let apart = x.unsqueeze(1) - vectors.unsqueeze(0);
            (apart.square().sum(-1) * -gamma).exp()
        }
        other => return Err(call.unknown(format!("the kernel {other}"))),
    })
}

/// Each pair of classes decides between its two; the class that wins most often is the row's.
fn classify(call: &Call) -> Result<Vec<Value>> {
    let labels = labels(call, "classlabels_ints", "classlabels_strings")?;
    let classes = labels.shape().iter().product::<usize>();
    let rho = call.floats("rho").unwrap_or_default();
    let weights = call.floats("coefficients").unwrap_or_default();
    let transform = Transform::of(call)?;
    let each = call.sizes(&call.ints("vectors_per_class").unwrap_or_default())?;
    if each.is_empty() {
        let x = table(call)?;
        if Some(weights.len()) != classes.checked_mul(x.size(1)) || rho.is_empty() {
            return Err(call.fault(format!("{} coefficients for {classes} classes", weights.len())));
        }
        let scores = x.matmul(&Tensor::new(weights, [classes, x.size(1)]).t()) + f64::from(rho[0]);
        return Ok(vec![chosen(call, &labels, &scores.argmax(-1))?, Value::of(transform.on(&scores))]);
    }
    let vectors: usize = each.iter().sum();
    call.listed(classes.saturating_mul(classes))?;
    let pairs: Vec<(usize, usize)> =
        (0..classes).flat_map(|a| (a + 1..classes).map(move |b| (a, b))).collect();
    let fits = each.len() == classes
        && classes >= 2
        && rho.len() >= pairs.len()
        && Some(weights.len()) == vectors.checked_mul(classes - 1);
    if !fits {
        return Err(call.fault(format!(
            "{} coefficients and {} thresholds for {vectors} vectors of {classes} classes",
            weights.len(),
            rho.len()
        )));
    }
    // What a vector counts in the decision of a pair: [vectors, pairs].
    call.room(&[vectors, pairs.len()])?;
    let first: Vec<usize> =
        each.iter().scan(0, |sum, &count| Some(std::mem::replace(sum, *sum + count))).collect();
    let mut counts = call.filled(0f32, vectors.saturating_mul(pairs.len()))?;
    for (at, &(a, b)) in pairs.iter().enumerate() {
        for (own, other) in [(a, b - 1), (b, a)] {
            for vector in first[own]..first[own] + each[own] {
                counts[vector * pairs.len() + at] = weights[other * vectors + vector];
            }
        }
    }
    let decisions = kernel(call, vectors)?.matmul(&Tensor::new(counts, [vectors, pairs.len()]))
        + Tensor::from(rho[..pairs.len()].to_vec());
    let mut wins = call.filled(0f32, (2 * pairs.len()).saturating_mul(classes))?;
    for (at, &(a, b)) in pairs.iter().enumerate() {
        wins[at * classes + a] = 1.0;
        wins[(pairs.len() + at) * classes + b] = 1.0;
    }
    let won = decisions.gt(0.0);
    let both = Tensor::concat(&[won.clone(), won.logical_not()], -1).cast(DType::F32);
    let wins = Tensor::from_data(Data::F32(wins), [2 * pairs.len(), classes]);
    let votes = both.matmul(&wins);
    let (a, b) = (call.floats("prob_a").unwrap_or_default(), call.floats("prob_b").unwrap_or_default());
    if a.is_empty() {
        let class = chosen(call, &labels, &votes.argmax(-1))?;
        let scores = match classes {
            2 => Tensor::concat(&[-&decisions, decisions], -1),
            _ => decisions,
        };
        return Ok(vec![class, Value::of(transform.on(&scores))]);
    }
    if a.len() < pairs.len() || b.len() < pairs.len() {
        return Err(call.fault(format!("{} and {} numbers for {} pairs", a.len(), b.len(), pairs.len())));
    }
    let of = |list: Vec<f32>| Tensor::from(list[..pairs.len()].to_vec());
    let first = (decisions * -of(a) - of(b)).sigmoid().clamp(1e-7, 1.0 - 1e-7);
    let scores = Tensor::custom(Coupled { classes }, &[&first]);
    // One pair is decided by what is more likely, several by their votes.
    let class = if classes == 2 { scores.argmax(-1) } else { votes.argmax(-1) };
    Ok(vec![chosen(call, &labels, &class)?, Value::of(transform.on(&scores))])
}

/// Probabilities of classes from those of pairs, `[rows, pairs]`: the second method of Wu, Lin and Weng (2004), in iterations as libsvm has
/// them, which end where it is near enough; another way to the same end would give other digits.
struct Coupled {
    classes: usize,
}

impl HostOp for Coupled {
    fn name(&self) -> &str {
        "probabilities of pairs"
    }

    fn infer(&self, operands: &[(&Shape, DType)]) -> Result<(Shape, DType), String> {
        match operands {
            [(shape, DType::F32)] if shape.rank() == 2 => {
                Ok((Shape::from([shape[0], self.classes]), DType::F32))
            }
            _ => Err("a table of float32 is needed".to_string()),
        }
    }

    fn compute(&self, operands: &[(&Shape, &Data)]) -> Result<Data, kiln_ir::Error> {
        let classes = self.classes;
        let [(_, Data::F32(pairs))] = operands else { return Ok(Data::F32(Vec::new())) };
        let each = (classes * (classes - 1) / 2).max(1);
        Ok(Data::F32(pairs.chunks_exact(each).flat_map(|pairs| coupled(pairs, classes)).collect()))
    }
}

/// One row of [`Coupled`].
fn coupled(pairs: &[f32], classes: usize) -> Vec<f32> {
    // The probability of a against b, `[a][b]`.
    let mut r = vec![vec![0f32; classes]; classes];
    let mut next = pairs.iter();
    for a in 0..classes {
        for b in a + 1..classes {
            let first = next.next().copied().unwrap_or(0.5);
            (r[a][b], r[b][a]) = (first, 1.0 - first);
        }
    }
    let mut q = vec![vec![0f32; classes]; classes];
    for a in 0..classes {
        for b in 0..classes {
            if a != b {
                q[a][a] += r[b][a] * r[b][a];
                q[a][b] = -r[b][a] * r[a][b];
            }
        }
    }
    let mut p = vec![1.0 / classes as f32; classes];
    for _ in 0..classes.max(100) {
        let mut qp: Vec<f32> = q.iter().map(|row| row.iter().zip(&p).map(|(q, p)| q * p).sum()).collect();
        let mut all: f32 = p.iter().zip(&qp).map(|(p, qp)| p * qp).sum();
        if qp.iter().all(|qp| (qp - all).abs() < 0.005 / classes as f32) {
            break;
        }
        for a in 0..classes {
            let step = (all - qp[a]) / q[a][a];
            p[a] += step;
            all = (all + step * (step * q[a][a] + 2.0 * qp[a])) / (1.0 + step) / (1.0 + step);
            for b in 0..classes {
                qp[b] = (qp[b] + step * q[a][b]) / (1.0 + step);
                p[b] /= 1.0 + step;
            }
        }
    }
    p
}
