//! Layers as a text: a row that is taken comes back from its own text, and is built or refused.
#![no_main]

use kiln::prelude::*;
use kiln_fuzz::{fuzz_target, seeds};

const SEEDS: [&str; 5] = [
    "conv 8 3 padding same, batch-norm, relu, pool 2, residual(conv 8 3 padding 1, relu), flatten, dropout 0.2, dense 10 as head",
    "embed-columns 3:2 4:1, dense 4 no-bias, parallel(dense 2; dense 3), sum(dense 2; dense 2), reshape 2 1, transpose, softmax",
    "conv-transpose 4 3 stride 2x1 padding 1:0x0:1 output-padding 1, depthwise 3 dilation 2, group-norm 2, upsample 2, global-pool",
    "avg-pool 3 stride 2 ceil without-padding, adaptive-avg-pool 2x3, instance-norm, prelu, leaky-relu 0.1, elu 2, celu, gelu",
    "embedding 9 4, layer-norm, rms-norm, spatial-dropout 0.1, alpha-dropout 0.5, upsample-linear 2, adaptive-pool 2, global-avg-pool",
];

fuzz_target!(init: seeds(SEEDS), |bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(model) = text.parse::<Sequential>() else { return };
    let text = model.to_text().unwrap();
    assert_eq!(text.parse::<Sequential>().unwrap().to_text().unwrap(), text);
    for shape in [&[2, 1, 8, 8][..], &[3, 6], &[2, 3, 4]] {
        let _ = model.build(shape);
    }
});
