//! What each operation of the reference files is in kiln.

use std::collections::BTreeMap;

use kiln_nn::{
    AttentionOptions, ConvOptions, Correction, CrossEntropyOptions, Index, Padding, PoolOptions, Reduction,
    Tensor, strided,
};

use super::{Case, several};

pub(crate) type Results = (Tensor, BTreeMap<&'static str, Tensor>);

/// The output and further ones of a case, or `None` where nothing computes it.
pub(crate) fn compute(case: &Case) -> Option<Results> {
    let several = [several::recurrent, several::normalised, several::sorted, several::derived];
    if let Some(results) = several.iter().find_map(|compute| compute(case)) {
        return Some(results);
    }
    let single = [pointwise, activation, reduced, moved, indexed, contracted, windowed, loss, attention];
    single.iter().find_map(|compute| compute(case)).map(|output| (output, BTreeMap::new()))
}

fn pointwise(case: &Case) -> Option<Tensor> {
    let (x, y) = (case.at(0), case.inputs.get(1).unwrap_or(case.at(0)));
    Some(match case.op.as_str() {
        "neg" => -x,
        "exp" => x.exp(),
        "exp2" => x.exp2(),
        "expm1" => x.exp_m1(),
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tan" => x.tan(),
        "abs" => x.abs(),
        "sign" => x.sign(),
        "floor" => x.floor(),
        "ceil" => x.ceil(),
        "round" => x.round(),
        "square" => x.square(),
        "log" => x.ln(),
        "log2" => x.log2(),
        "log1p" => x.ln_1p(),
        "sqrt" => x.sqrt(),
        "rsqrt" => x.rsqrt(),
        "reciprocal" => x.recip(),
        "add" => x + y,
        "sub" => x - y,
        "mul" => x * y,
        "div" => x / y,
        "maximum" => x.maximum(y),
        "minimum" => x.minimum(y),
        "pow" => x.pow(y),
        "pow_scalar" => x.pow(case.number("exponent")),
        // Python's remainder has the sign of the divisor.
        "remainder" => x - (x / y).floor() * y,
        "clamp" | "hardtanh" => x.clamp(case.number("low"), case.number("high")),
        "where" => x.select(y, case.at(2)),
        "lerp" => x.lerp(y, case.number("weight")),
        _ => return None,
    })
}

fn activation(case: &Case) -> Option<Tensor> {
    let x = case.at(0);
    Some(match case.op.as_str() {
        "relu" => x.relu(),
        "relu6" => x.relu6(),
        "leaky_relu" => x.leaky_relu(case.number("slope")),
        "prelu" => x.prelu(&case.at(1).unsqueeze(-1)),
        "elu" => x.elu(case.number("alpha")),
        "celu" => x.celu(case.number("alpha")),
        "selu" => x.selu(),
        "gelu" if case.text("approximate") == "tanh" => x.gelu_tanh(),
        "gelu" => x.gelu(),
        "silu" => x.silu(),
        "softplus" => x.softplus(),
        "mish" => x.mish(),
        "hardsigmoid" => x.hard_sigmoid(),
        "hardswish" => x.hard_swish(),
        "sigmoid" => x.sigmoid(),
        "log_sigmoid" => x.log_sigmoid(),
        "tanh" => x.tanh(),
        "softsign" => x.softsign(),
        "erf" => x.erf(),
        "glu" => x.glu(case.integer("dim")),
        _ => return None,
    })
}

fn reduced(case: &Case) -> Option<Tensor> {
    let x = case.at(0);
    let axes = || case.integers("dims");
    let kept = match case.op.as_str() {
        "sum" => x.sum_keepdim(axes()),
        "mean" => x.mean_keepdim(axes()),
        "var" => x.var_keepdim(axes(), Correction(case.integer("correction") as usize)),
        "std" => x.std_keepdim(axes(), Correction(case.integer("correction") as usize)),
        "prod" => x.prod_keepdim(case.integer("dim")),
        "norm" => x.norm_keepdim(axes(), case.number("p")),
        "amax" => x.max_keepdim(axes()),
        "amin" => x.min_keepdim(axes()),
        "any" => x.any_keepdim(axes()),
        "all" => x.all_keepdim(axes()),
        "argmax" => return Some(x.argmax(case.integer("dim"))),
        "argmin" => return Some(x.argmin(case.integer("dim"))),
        "cumsum" => return Some(x.cumsum(case.integer("dim"))),
        "logsumexp" => return Some(x.logsumexp(case.integer("dim"))),
        "softmax" => return Some(x.softmax(case.integer("dim"))),
        "log_softmax" => return Some(x.log_softmax(case.integer("dim"))),
        _ => return None,
    };
    let axes = if case.is_null("dims") { vec![case.integer("dim")] } else { axes() };
    Some(if case.flag("keepdim") { kept } else { kept.squeeze(axes) })
}

fn moved(case: &Case) -> Option<Tensor> {
    let x = case.at(0);
    let dim = || case.integer("dim");
    Some(match case.op.as_str() {
        "pad" => padded(case),
        "slice" => {
            let ranges = case.lists("ranges");
            let index = |range: &Vec<i64>| strided(range[0] as isize..range[1] as isize, range[2] as isize);
            x.at(ranges.iter().map(index).collect::<Vec<Index>>())
        }
        "concat" => Tensor::concat(&case.inputs, dim()),
        "stack" => Tensor::stack(&case.inputs, dim()),
        "flip" => x.flip(case.integers("dims")),
        "roll" => x.roll(dim(), case.integer("shift")),
        "permute" => x.permute(case.integers("dims")),
        "expand" => x.broadcast_to(case.sizes("shape")),
        "tril" => x.tril(case.integer("diagonal") as i64),
        "triu" => x.triu(case.integer("diagonal") as i64),
        "diagonal" => x
            .move_axis(case.integer("dim1"), -1)
            .move_axis(case.integer("dim2") - 1, -1)
            .diagonal(case.integer("offset")),
        "unfold" => x.unfold(dim(), case.integer("size") as usize, case.integer("step") as usize),
        _ => return None,
    })
}

fn padded(case: &Case) -> Tensor {
    let pads = case.lists("pads");
    let widths: Vec<(usize, usize)> =
        pads.iter().map(|pad| (pad[0].max(0) as usize, pad[1].max(0) as usize)).collect();
    let x = case.at(0);
    match case.text("mode") {
        "reflect" => x.pad_reflect(widths),
        "replicate" => x.pad_replicate(widths),
        "circular" => x.pad_circular(widths),
        _ => {
            // Negative widths crop.
            let keep = |pad: &Vec<i64>| match (pad[0].min(0) as isize, pad[1].min(0) as isize) {
                (front, 0) => Index::from(-front..),
                (front, back) => strided(-front..back, 1),
            };
            x.at(pads.iter().map(keep).collect::<Vec<Index>>()).pad(widths, case.number("value"))
        }
    }
}

fn indexed(case: &Case) -> Option<Tensor> {
    let (x, index) = (case.at(0), case.inputs.get(1).unwrap_or(case.at(0)));
    let dim = || case.integer("dim");
    Some(match case.op.as_str() {
        "gather" => x.gather(dim(), index),
        "take_along" => {
            let mut sizes = x.shape().to_vec();
            sizes[dim() as usize] = index.size(dim());
            x.gather(dim(), &index.broadcast_to(sizes))
        }
        "scatter_add" => x.scatter_add(dim(), index, case.at(2)),
        "scatter" => x.scatter(dim(), index, case.at(2)),
        "index_select" => x.index_select(dim(), index),
        "index_add" => x.index_add(dim(), index, case.at(2)),
        "embedding" => x.embedding(index),
        "one_hot" => x.one_hot(case.integer("classes") as usize),
        _ => return None,
    })
}

fn contracted(case: &Case) -> Option<Tensor> {
    Some(match case.op.as_str() {
        "einsum" => Tensor::einsum(case.text("equation"), &case.inputs.iter().collect::<Vec<_>>()),
        "matmul" => case.at(0).matmul(case.at(1)),
        "linear" => case.at(0).matmul(&case.at(1).t()) + case.at(2),
        _ => return None,
    })
}

fn windowed(case: &Case) -> Option<Tensor> {
    let x = case.at(0);
    let spatial = x.rank().saturating_sub(2);
    if let Some(kind) = case.op.strip_prefix("conv") {
        let padding = match case.text("padding") {
            "same" => Padding::Same,
            _ => case.sizes("padding").into(),
        };
        let mut options = ConvOptions::new()
            .stride(case.sizes("stride"))
            .padding(padding)
            .dilation(case.sizes("dilation"))
            .groups(case.integer("groups") as usize);
        if kind.starts_with("_transpose") {
            options = options.output_padding(case.sizes("output_padding"));
        }
        let weight = case.at(1);
        let y = match kind {
            "1d" => x.conv1d(weight, &options),
            "2d" => x.conv2d(weight, &options),
            "3d" => x.conv3d(weight, &options),
            "_transpose1d" => x.conv_transpose1d(weight, &options),
            "_transpose2d" => x.conv_transpose2d(weight, &options),
            "_transpose3d" => x.conv_transpose3d(weight, &options),
            _ => return None,
        };
        return Some(match case.input("bias") {
            Some(bias) => y + bias.reshape([vec![-1], vec![1; spatial]].concat()),
            None => y,
        });
    }
    if let Some((kind, _)) = case.op.split_once("_pool").filter(|(kind, _)| kind.len() == 3) {
        let mut options = PoolOptions::new(case.sizes("kernel"))
            .stride(case.sizes("stride"))
            .padding(case.sizes("padding"))
            .ceil_mode(case.flag("ceil_mode"))
            .count_include_pad(case.flag("count_include_pad"));
        if kind == "max" {
            options = options.dilation(case.sizes("dilation"));
        }
        return Some(match (kind, spatial) {
            ("max", 1) => x.max_pool1d(options),
            ("max", 2) => x.max_pool2d(options),
            ("max", 3) => x.max_pool3d(options),
            ("avg", 1) => x.avg_pool1d(options),
            ("avg", 2) => x.avg_pool2d(options),
            ("avg", 3) => x.avg_pool3d(options),
            _ => return None,
        });
    }
    let sizes = |name| case.sizes(name);
    Some(match case.op.as_str() {
        "adaptive_avg_pool1d" => x.adaptive_avg_pool1d([sizes("output_size")[0]]),
        "adaptive_avg_pool2d" => x.adaptive_avg_pool2d([sizes("output_size")[0], sizes("output_size")[1]]),
        "interpolate" if case.text("mode") == "nearest" => x.resize_nearest(sizes("size")),
        "interpolate" => x.resize_linear(sizes("size"), case.flag("align_corners")),
        _ => return None,
    })
}

fn reduction(case: &Case) -> Reduction {
    match case.text("reduction") {
        "sum" => Reduction::Sum,
        "none" => Reduction::None,
        _ => Reduction::Mean,
    }
}

fn loss(case: &Case) -> Option<Tensor> {
    let (x, target) = (case.at(0), case.inputs.get(1).unwrap_or(case.at(0)));
    let classes = || {
        let options = CrossEntropyOptions::new().reduction(reduction(case));
        match case.input("weight") {
            Some(weights) => options.class_weights(weights),
            None => options,
        }
    };
    Some(match (case.op.as_str(), reduction(case)) {
        ("cross_entropy", _) => {
            let options = classes()
                .label_smoothing(case.number("label_smoothing"))
                .ignore_index(case.integer("ignore_index") as i64);
            x.cross_entropy_with(target, &options)
        }
        ("nll", _) => x.nll_with(target, &classes()),
        ("mse", Reduction::Mean) => x.mse(target),
        ("mse", reduction) => reduction.of(&(x - target).square()),
        ("l1", _) => x.mae(target),
        ("huber", _) => x.huber(target, case.number("delta")),
        ("smooth_l1", _) => x.huber(target, case.number("beta")) / case.number("beta"),
        ("bce_with_logits", Reduction::Mean) if case.inputs.len() == 2 => x.bce_with_logits(target),
        ("bce_with_logits", reduction) => {
            let one = Tensor::from(1.0);
            x.bce_with_logits_weighted(target, case.input("pos_weight").unwrap_or(&one), reduction)
        }
        ("kl_div", _) => x.kl_divergence(target) * x.size(0),
        ("max_margin", _) => x.hinge(target),
        ("multi_margin", _) => x.multi_margin(target),
        ("cosine_similarity", _) => x.cosine_similarity(target, case.integer("dim"), case.number("eps")),
        _ => return None,
    })
}

fn attention(case: &Case) -> Option<Tensor> {
    if case.op != "attention" {
        return None;
    }
    let mut options = AttentionOptions::new();
    options.causal = case.flag("causal");
    options.grouped = case.flag("grouped");
    options.scale = (!case.is_null("scale")).then(|| case.number("scale"));
    options.mask = case.input("mask").cloned();
    Some(case.at(0).attention(case.at(1), case.at(2), &options))
}
