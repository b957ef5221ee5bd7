//! One number by which logits are divided so that the log loss is the least (Guo and others, arXiv 1706.04599).

/// Logits are divided by as much at most, and multiplied.
const MOST: f64 = 100.0;

/// The log loss of a row whose logits are multiplied by this.
pub(super) fn loss(logits: &[f64], label: usize, slope: f64) -> f64 {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| libm::exp(slope * (logit - most))).sum();
    let own = logits.get(label).copied().unwrap_or(f64::NEG_INFINITY);
    libm::log(sum) - slope * (own - most)
}

/// How the loss of all rows changes with what logits are multiplied by; it rises with that. A row more might be of any other class: as much of
/// each label goes to the others, so that rows all of which are right don't make a model certain (after Platt, 1999).
fn slope_of_loss(logits: &[f64], classes: usize, labels: &[usize], slope: f64) -> f64 {
    let other = 1.0 / (labels.len() as f64 + 2.0);
    let one = |(row, &label): (&[f64], &usize)| {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut weighed) = (0.0, 0.0);
        for logit in row {
            let part = libm::exp(slope * (logit - most));
            (sum, weighed) = (sum + part, weighed + part * logit);
        }
        let own = row.get(label).copied().unwrap_or(0.0);
        let others = (row.iter().sum::<f64>() - own) / (row.len() as f64 - 1.0).max(1.0);
        weighed / sum - (1.0 - other) * own - other * others
    };
    logits.chunks(classes.max(1)).zip(labels).map(one).sum()
}

/// The temperature with the least log loss, by halving.
pub(super) fn fit(logits: &[f64], classes: usize, labels: &[usize]) -> f64 {
    let (mut low, mut high) = (libm::log(1.0 / MOST), libm::log(MOST));
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        match slope_of_loss(logits, classes, labels, libm::exp(middle)) > 0.0 {
            true => high = middle,
            false => low = middle,
        }
    }
    libm::exp(-0.5 * (low + high))
}
