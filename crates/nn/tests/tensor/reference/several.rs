//! Operations with further outputs: recurrent layers, norms with statistics, sorts, higher derivatives.

use std::collections::BTreeMap;

use kiln_nn::{ConvOptions, DType, Tensor};

use super::Case;
use super::ops::Results;

pub(crate) fn recurrent(case: &Case) -> Option<Results> {
    let gates = match case.op.as_str() {
        "lstm" => 4,
        "gru" => 3,
        "rnn_tanh" => 1,
        _ => return None,
    };
    let [x, w_ih, w_hh, b_ih, b_hh, h] = [0, 1, 2, 3, 4, 5].map(|position| case.at(position).clone());
    let hidden = h.size(-1);
    let (mut h, mut c) = (h, case.input("c0").cloned());
    let mut steps = Vec::new();
    for x in x.unbind(1) {
        let from_input = x.matmul(&w_ih.t()) + &b_ih;
        let from_state = h.matmul(&w_hh.t()) + &b_hh;
        let gate = |from: &Tensor, number: usize| from.narrow(-1, (number * hidden) as isize, hidden);
        h = match gates {
            4 => {
                let sum = from_input + from_state;
                let kept = gate(&sum, 1).sigmoid() * c?;
                let cell = kept + gate(&sum, 0).sigmoid() * gate(&sum, 2).tanh();
                let h = gate(&sum, 3).sigmoid() * cell.tanh();
                c = Some(cell);
                h
            }
            3 => {
                let reset = (gate(&from_input, 0) + gate(&from_state, 0)).sigmoid();
                let update = (gate(&from_input, 1) + gate(&from_state, 1)).sigmoid();
                let new = (gate(&from_input, 2) + reset * gate(&from_state, 2)).tanh();
                (1.0 - &update) * new + update * h
            }
            _ => (from_input + from_state).tanh(),
        };
        steps.push(h.clone());
    }
    let mut extra = BTreeMap::from([("h", h)]);
    extra.extend(c.map(|c| ("c", c)));
    Some((Tensor::stack(&steps, 1), extra))
}

pub(crate) fn normalised(case: &Case) -> Option<Results> {
    let x = case.at(0);
    let epsilon = if case.is_null("eps") { 0.0 } else { case.number("eps") };
    let by_channel = |tensor: &Tensor| tensor.reshape([vec![-1], vec![1; x.rank() - 2]].concat());
    let mut extra = BTreeMap::new();
    let (y, channels) = match case.op.as_str() {
        "layer_norm" => (x.layer_norm(x.rank() as isize - case.integer("axes").., epsilon), false),
        "rms_norm" => (x.rms_norm(x.rank() as isize - case.integer("axes").., epsilon), false),
        "group_norm" => (x.group_norm(case.integer("groups") as usize, epsilon), true),
        "batch_norm" => {
            let (mean, var) = (case.input("running_mean")?, case.input("running_var")?);
            let (y, mean, var) = match case.flag("training") {
                true => x.batch_norm_train(mean, var, case.number("momentum"), epsilon),
                false => (x.batch_norm(mean, var, epsilon), mean.clone(), var.clone()),
            };
            extra = BTreeMap::from([("running_mean_after", mean), ("running_var_after", var)]);
            (y, true)
        }
        _ => return None,
    };
    let shaped = |tensor: &Tensor| if channels { by_channel(tensor) } else { tensor.clone() };
    let scaled = case.input("weight").map_or(y.clone(), |weight| y * shaped(weight));
    Some((case.input("bias").map_or(scaled.clone(), |bias| scaled + shaped(bias)), extra))
}

pub(crate) fn sorted(case: &Case) -> Option<Results> {
    let x = case.at(0);
    let (values, places) = match case.op.as_str() {
        "sort" => x.sort(case.integer("dim"), case.flag("descending")),
        "topk" if case.flag("largest") => x.top_k(case.integer("dim"), case.integer("k") as usize),
        "topk" => {
            let order = x.argsort(case.integer("dim"), false).narrow(
                case.integer("dim"),
                0,
                case.integer("k") as usize,
            );
            (x.gather(case.integer("dim"), &order), order)
        }
        // The gradient of PyTorch's goes to one of equal elements, as through a gather.
        "max_dim" | "min_dim" => {
            let dim = case.integer("dim");
            let place = if case.op == "max_dim" { x.argmax(dim) } else { x.argmin(dim) };
            (x.gather(dim, &place.unsqueeze(dim)).squeeze(dim), place)
        }
        _ => return None,
    };
    Some((values, BTreeMap::from([("indices", places)])))
}

pub(crate) fn derived(case: &Case) -> Option<Results> {
    if case.op == "third_derivative" {
        let x = case.at(0);
        let first = x.tanh().sum(..).grad(&[x]).remove(0);
        let second = first.sum(..).grad(&[x]).remove(0);
        let third = second.sum(..).grad(&[x]).remove(0);
        return Some((third, BTreeMap::from([("first", first), ("second", second)])));
    }
    if case.op != "hvp" {
        return None;
    }
    let (v, leaves) = case.inputs.split_last()?;
    let (x, y) = (&leaves[0], leaves.last()?);
    let value = match case.text("formula") {
        "sum(tanh(x))" => x.tanh(),
        "sum(sigmoid(x))" => x.sigmoid(),
        "sum(x*x*x)" => x * x * x,
        "sum(exp(sin(x)))" => x.sin().exp(),
        "sum(log(x*x + 1) / (exp(x) + 2))" => (x * x + 1.0).ln() / (x.exp() + 2.0),
        "sum(x*x*y + sin(y)*x)" => x * x * y + y.sin() * x,
        "sum(logsumexp(x, dim 1))" => x.logsumexp(1),
        "sum(gelu(x)), exact" => x.gelu(),
        "sum(tanh(a @ b))" => x.matmul(y).tanh(),
        "sum(layer_norm(x, last axis, eps 1e-5) ** 3)" => x.layer_norm(-1, 1e-5).pow(3),
        "sum(conv2d(x, w, padding 1) ** 2)" => x.conv2d(y, &ConvOptions::new().padding(1)).square(),
        "sum(softmax(x, dim 1) ** 2)" => x.softmax(1).square(),
        _ => return None,
    };
    let value = value.sum(..);
    let flat = |tensors: &[Tensor]| {
        let flat: Vec<Tensor> = tensors.iter().map(|tensor| tensor.flatten(..)).collect();
        Tensor::concat(&flat, 0)
    };
    let (mut vectors, mut start) = (Vec::new(), 0);
    for leaf in leaves {
        vectors.push(v.narrow(0, start, leaf.elements()).reshape(leaf.shape()));
        start += leaf.elements() as isize;
    }
    let product = flat(&value.hvp(leaves, &vectors)).cast(DType::F64);
    Some((product, BTreeMap::from([("gradient", flat(&value.grad(leaves)))])))
}
