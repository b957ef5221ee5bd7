//! Work that waits for memory: norms in training, sums, tables of rows, losses over many classes.

use kiln::{BatchNorm, Context, Function, Input, Key, Layer, Tensor};

use super::{Arguments, Result, function, numbers, timed};

/// A workload by its name, `kind_sizes`, with sizes between `x`.
pub(crate) fn workload(arguments: &Arguments, name: &str) -> Option<Result> {
    let (kind, sizes) = name.rsplit_once('_')?;
    let sizes: Vec<usize> = sizes.split('x').map(|size| size.parse().ok()).collect::<Option<_>>()?;
    Some(match (kind, &sizes[..]) {
        ("batchnorm", &[batch, channels, size]) => batch_norm(arguments, [batch, channels, size]),
        ("sum", &[rows, columns, axis]) => {
            let axis = axis as isize;
            function(arguments, Function::new(move |[x]| vec![x.sum(axis)]), [&[rows, columns]])
        }
        ("embedding", &[words, width, count]) => embedding(arguments, [words, width], count, false),
        ("embeddinggrad", &[words, width, count]) => embedding(arguments, [words, width], count, true),
        ("crossentropy", &[rows, classes]) => cross_entropy(arguments, rows, classes),
        _ => return None,
    })
}

/// Forward in training and all gradients. Images lie as kiln stores them, channels last.
fn batch_norm(arguments: &Arguments, [batch, channels, size]: [usize; 3]) -> Result {
    let image = |x: &Tensor| x.permute([0, 3, 1, 2]);
    let norm = BatchNorm::new(channels);
    let step = Function::new(move |[x, upstream]| {
        let y = norm.forward(&image(&x), &Context::training(Key::new(1))).permute([0, 2, 3, 1]);
        let mut results = y.grad_with(&upstream, &[&x, &norm.weight.tensor(), &norm.bias.tensor()]);
        results.push(y);
        results
    });
    let images = [batch, size, size, channels];
    function(arguments, step, [&images, &images])
}

/// Rows of a table of words, or the gradient of the table.
fn embedding(arguments: &Arguments, [words, width]: [usize; 2], count: usize, gradient: bool) -> Result {
    let index: Vec<i64> = (0..count).map(|at| (at * 7919 % words) as i64).collect();
    let (table, upstream) = (numbers(words * width, 1), numbers(count * width, 2));
    let rows = Input::new(&index, &[count]);
    match gradient {
        false => timed(
            arguments,
            Function::new(|[table, index]| vec![table.embedding(&index)]),
            [Input::new(&table, &[words, width]), rows],
        ),
        true => timed(
            arguments,
            Function::new(move |[upstream, index]| {
                let table = Tensor::zeros([words, width]);
                table.embedding(&index).grad_with(&upstream, &[&table])
            }),
            [Input::new(&upstream, &[count, width]), rows],
        ),
    }
}

/// The loss and its gradient.
fn cross_entropy(arguments: &Arguments, rows: usize, classes: usize) -> Result {
    let labels: Vec<i64> = (0..rows).map(|at| (at * 7919 % classes) as i64).collect();
    let logits = numbers(rows * classes, 1);
    let loss = Function::new(|[logits, labels]| {
        let loss = logits.cross_entropy(&labels);
        let mut results = loss.grad(&[&logits]);
        results.push(loss);
        results
    });
    timed(arguments, loss, [Input::new(&logits, &[rows, classes]), Input::new(&labels, &[rows])])
}
