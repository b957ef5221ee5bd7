//! Einstein sums: `"bij,bjk->bik"`. Pairs of operands are contracted from left to right, each by one batched matrix
//! product (or a plain product where nothing is summed).

use kiln_ir::{Error, ErrorKind, Result};

use super::Tensor;

/// An axis's name: a letter, or its distance from the end of what `...` stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// A tensor with a name for each axis, none of them twice.
#[derive(Clone)]
struct Term {
    tensor: Tensor,
    labels: Vec<Label>,
}

impl Tensor {
    /// The sum of products that `equation` describes, with NumPy's notation: one name for each axis, names that
    /// aren't in the output are summed, a repeated name takes the diagonal, `...` stands for any axes, and without
    /// `->` the output has the names that occur once, in alphabetical order.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let (a, b) = (Tensor::ones([2, 3, 4]), Tensor::ones([2, 5, 4]));
    /// let scores = Tensor::einsum("bqd,bkd->bqk", &[&a, &b]);
    /// assert_eq!(*scores.shape(), [2, 3, 5]);
    /// let trace = Tensor::einsum("ii", &[&Tensor::eye(3)]);
    /// assert_eq!(trace.item()?, 3.0);
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    #[track_caller]
    pub fn einsum(equation: &str, operands: &[&Tensor]) -> Tensor {
        for operand in operands {
            check!(operand.sound());
        }
        let (inputs, output) = check!(parse(equation, operands));
        let mut terms = Vec::with_capacity(operands.len());
        for (labels, operand) in inputs.into_iter().zip(operands) {
            terms.push(diagonal(operand, labels));
        }
        check!(equal_sizes(equation, &mut terms));

        let mut terms = terms.into_iter();
        let Some(mut so_far) = terms.next() else {
            return einsum_error(equation, "needs at least one operand").into();
        };
        let mut rest: Vec<Term> = terms.collect();
        while !rest.is_empty() {
            let next = rest.remove(0);
            let wanted =
                |label: &Label| output.contains(label) || rest.iter().any(|term| term.labels.contains(label));
            so_far = contract(so_far, next, &wanted);
        }
        let last = sum_unwanted(so_far, &|label| output.contains(label));
        ordered(&last, &output)
    }
}

#[track_caller]
fn einsum_error(equation: &str, message: &str) -> Error {
    Error::new(ErrorKind::Shape, "einsum", format!("{equation:?}: {message}"))
}

/// The labels of each operand's axes and of the output's.
#[track_caller]
fn parse(equation: &str, operands: &[&Tensor]) -> Result<(Vec<Vec<Label>>, Vec<Label>)> {
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (text.as_str(), None),
    };
    let parts: Vec<&str> = left.split(',').collect();
    if parts.len() != operands.len() {
        return Err(einsum_error(
            equation,
            &format!("{} terms for {} operands", parts.len(), operands.len()),
        ));
    }
    let mut inputs = Vec::with_capacity(parts.len());
    let mut widest = 0;
    for (part, operand) in parts.iter().zip(operands) {
        let (rank, named) = (operand.rank(), part.replacen("...", "", 1).chars().count());
        let spread = match part.contains("...") {
            true => rank.checked_sub(named),
            false => (rank == named).then_some(0),
        };
        let Some(spread) = spread else {
            return Err(einsum_error(
                equation,
                &format!("{part:?} doesn't name the {rank} axes of {}", operand.shape()),
            ));
        };
        widest = widest.max(spread);
        inputs.push(labels(equation, part, spread)?);
    }
    let output = match right {
        Some(right) => labels(equation, right, widest)?,
        None => implicit_output(&inputs, widest),
    };
    for (position, label) in output.iter().enumerate() {
        if output[..position].contains(label) {
            return Err(einsum_error(equation, &format!("the output names {} twice", shown(label))));
        }
        if !inputs.iter().any(|labels| labels.contains(label)) {
            return Err(einsum_error(equation, &format!("the output's {} is in no operand", shown(label))));
        }
    }
    Ok((inputs, output))
}

fn shown(label: &Label) -> String {
    match label {
        Label::Letter(letter) => format!("'{letter}'"),
        Label::Ellipsis(_) => "'...'".to_string(),
    }
}

/// The labels of one term, in which `...` stands for `spread` axes.
#[track_caller]
fn labels(equation: &str, term: &str, spread: usize) -> Result<Vec<Label>> {
    let mut labels = Vec::new();
    let (before, after) = match term.split_once("...") {
        Some((before, after)) => (before, Some(after)),
        None => (term, None),
    };
    let letters = |part: &str| part.chars().map(Label::Letter).collect::<Vec<_>>();
    labels.extend(letters(before));
    if let Some(after) = after {
        labels.extend((0..spread).rev().map(Label::Ellipsis));
        labels.extend(letters(after));
    }
    let odd = |label: &&Label| matches!(label, Label::Letter(letter) if !letter.is_alphabetic());
    match labels.iter().find(odd) {
        Some(label) => {
            Err(einsum_error(equation, &format!("axes are named by letters, not {}", shown(label))))
        }
        None => Ok(labels),
    }
}

/// What `...` stands for, then the letters that occur once, in order.
fn implicit_output(inputs: &[Vec<Label>], widest: usize) -> Vec<Label> {
    let all: Vec<Label> = inputs.iter().flatten().copied().collect();
    let once = |label: &&Label| {
        matches!(label, Label::Letter(_)) && all.iter().filter(|other| other == label).count() == 1
    };
    let mut letters: Vec<Label> = all.iter().filter(once).copied().collect();
    letters.sort_unstable();
    let mut output: Vec<Label> = (0..widest).rev().map(Label::Ellipsis).collect();
    output.extend(letters);
    output
}

/// The diagonals over repeated labels, so that each is there once.
#[track_caller]
fn diagonal(tensor: &Tensor, labels: Vec<Label>) -> Term {
    let mut term = Term { tensor: tensor.clone(), labels };
    while let Some((first, second)) = repeated(&term.labels) {
        let rank = term.labels.len();
        let mut axes: Vec<usize> = (0..rank).filter(|&axis| axis != first && axis != second).collect();
        let mut labels: Vec<Label> = axes.iter().map(|&axis| term.labels[axis]).collect();
        labels.push(term.labels[first]);
        axes.extend([first, second]);
        if term.tensor.size(first as isize) != term.tensor.size(second as isize) {
            let message = format!("repeated {} names axes of different sizes", shown(&term.labels[first]));
            let error = Error::new(ErrorKind::Shape, "einsum", message);
            return Term { tensor: error.into(), labels: Vec::new() };
        }
        term = Term { tensor: term.tensor.permute(axes).diagonal(0), labels };
    }
    term
}

fn repeated(labels: &[Label]) -> Option<(usize, usize)> {
    let second = (0..labels.len()).find(|&axis| labels[..axis].contains(&labels[axis]))?;
    let first = labels.iter().position(|label| *label == labels[second])?;
    Some((first, second))
}

/// Expands axes of size one where another operand has more under the same name.
#[track_caller]
fn equal_sizes(equation: &str, terms: &mut [Term]) -> Result<()> {
    let mut sizes: Vec<(Label, usize)> = Vec::new();
    for term in terms.iter() {
        term.tensor.sound()?;
        for (&label, &size) in term.labels.iter().zip(term.tensor.shape().iter()) {
            match sizes.iter_mut().find(|(known, _)| *known == label) {
                None => sizes.push((label, size)),
                Some((_, known)) if *known == 1 => *known = size,
                Some((_, known)) if *known == size || size == 1 => {}
                Some((_, known)) => {
                    let message =
                        format!("{} is {known} in one operand and {size} in another", shown(&label));
                    return Err(einsum_error(equation, &message));
                }
            }
        }
    }
    for term in terms {
        let size = |label: &Label| sizes.iter().find(|(known, _)| known == label).map_or(1, |known| known.1);
        term.tensor = term.tensor.broadcast_to(term.labels.iter().map(size).collect::<Vec<_>>());
    }
    Ok(())
}

/// One term without the labels that aren't wanted.
#[track_caller]
fn sum_unwanted(term: Term, wanted: &dyn Fn(&Label) -> bool) -> Term {
    let axes: Vec<usize> = (0..term.labels.len()).filter(|&axis| !wanted(&term.labels[axis])).collect();
    if axes.is_empty() {
        return term;
    }
    let labels = term.labels.iter().copied().filter(wanted).collect();
    Term { tensor: term.tensor.sum(axes), labels }
}

/// One term with its axes in the order of `labels`.
#[track_caller]
fn ordered(term: &Term, labels: &[Label]) -> Tensor {
    let position = |label: &Label| term.labels.iter().position(|other| other == label);
    term.tensor.permute(labels.iter().filter_map(position).collect::<Vec<_>>())
}

/// Two terms as one: labels in both that nobody else wants are summed by a matrix product over the others.
#[track_caller]
fn contract(a: Term, b: Term, wanted: &dyn Fn(&Label) -> bool) -> Term {
    let a_labels = a.labels.clone();
    let b_labels = b.labels.clone();
    let a = sum_unwanted(a, &|label| wanted(label) || b_labels.contains(label));
    let b = sum_unwanted(b, &|label| wanted(label) || a_labels.contains(label));
    let both = |label: &&Label| b.labels.contains(label);
    let batch: Vec<Label> = a.labels.iter().filter(both).filter(|label| wanted(label)).copied().collect();
    let inner: Vec<Label> = a.labels.iter().filter(both).filter(|label| !wanted(label)).copied().collect();
    let rows: Vec<Label> = a.labels.iter().filter(|label| !b.labels.contains(label)).copied().collect();
    let columns: Vec<Label> = b.labels.iter().filter(|label| !a.labels.contains(label)).copied().collect();

    let left = ordered(&a, &[&batch[..], &rows, &inner].concat());
    let right = ordered(&b, &[&batch[..], &inner, &columns].concat());
    let (left_sizes, right_sizes) = (left.shape(), right.shape());
    let batch_sizes = &left_sizes[..batch.len()];
    let row_sizes = &left_sizes[batch.len()..batch.len() + rows.len()];
    let column_sizes = &right_sizes[batch.len() + inner.len()..];
    let tensor = if inner.is_empty() {
        let spread = [batch_sizes, row_sizes, &vec![1; columns.len()]].concat();
        let across = [batch_sizes, &vec![1; rows.len()], column_sizes].concat();
        left.reshape(spread) * right.reshape(across)
    } else {
        let product = |sizes: &[usize]| sizes.iter().product::<usize>();
        let summed = product(&right_sizes[batch.len()..batch.len() + inner.len()]);
        let left = left.reshape([batch_sizes, &[product(row_sizes), summed]].concat());
        let right = right.reshape([batch_sizes, &[summed, product(column_sizes)]].concat());
        left.matmul(&right).reshape([batch_sizes, row_sizes, column_sizes].concat())
    };
    Term { tensor, labels: [batch, rows, columns].concat() }
}
