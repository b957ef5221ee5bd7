//! Rows of layers that forecast series. A row of numbers is a window of the past, figures of it, and then so many numbers for each step that is
//! forecast; what comes out is a number for each step.

use super::Recipe;

/// How they are trained: fewer rounds where there are many rows.
pub(super) fn recipe(rows: usize, _: bool) -> Recipe {
    let batch_size = if rows < 2_000 { 32 } else { 128 };
    Recipe {
        epochs: (300_000 / rows.max(1) as u64).clamp(6, 60),
        batch_size,
        rate: 1e-3,
        schedule: "warmup 50, cosine",
        decay: 0.01,
        early_stop: 0,
        smoothing: 0.0,
    }
}

/// The window's size and how many steps are forecast.
fn of(sizes: &[usize]) -> (usize, usize, usize) {
    let at = |place: usize| sizes.get(place).copied().unwrap_or(1).max(1);
    (at(0), at(2), at(1) + at(2) * at(3))
}

/// Blocks with residual connections beside a straight way, as N-BEATS and TiDE have them.
pub(super) fn mlp(sizes: &[usize]) -> String {
    let (_, steps, _) = of(sizes);
    let block = "residual(relu, dense 128, relu, dropout 0.1, dense 128)";
    format!("sum(dense {steps}; dense 128, {block}, {block}, relu, dense {steps})")
}

/// What a way makes of the window, beside all that is known of the steps.
fn beside(sizes: &[usize], way: &str) -> String {
    let (window, steps, width) = of(sizes);
    format!(
        "sum(dense {steps}; parallel(take 1-{window}, {way}; take {}-{width}), dense 128, relu, dropout 0.1, dense {steps})",
        window + 1
    )
}

/// Convolutions over the window that look further and further back.
pub(super) fn wavenet(sizes: &[usize]) -> String {
    let (window, ..) = of(sizes);
    let block = |dilation: usize| {
        let back = 2 * dilation;
        format!("residual(conv 32 3 padding {back}:0 dilation {dilation}, relu, conv 32 1)")
    };
    let dilations = [1, 2, 4, 8, 16].into_iter().filter(|dilation| *dilation == 1 || 2 * dilation < window);
    let blocks: Vec<String> = dilations.map(block).collect();
    beside(sizes, &format!("reshape 1 {window}, conv 32 1, {}, relu, transpose, last", blocks.join(", ")))
}

/// A recurrent layer over the window.
pub(super) fn lstm(sizes: &[usize]) -> String {
    let (window, ..) = of(sizes);
    beside(sizes, &format!("reshape {window} 1, lstm 48, last"))
}

/// Attention over patches of the window, each of a few values that follow each other (PatchTST).
pub(super) fn transformer(sizes: &[usize]) -> String {
    let (window, ..) = of(sizes);
    let length = (window / 6).clamp(1, 12);
    let patches = window / length;
    let left_out = window - patches * length;
    let late = if left_out > 0 { format!("take {}-{window}, ", left_out + 1) } else { String::new() };
    let block = "transformer 4 dropout 0.1";
    beside(
        sizes,
        &format!(
            "{late}reshape {patches} {length}, dense 48, positions {patches}, {block}, {block}, layer-norm, flatten"
        ),
    )
}
