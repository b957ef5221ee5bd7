//! Printing as NumPy does: columns in line, nested brackets, the middle of large tensors left out. Printing computes;
//! a poisoned tensor prints its error.

use std::fmt;
use std::ops::Range;

use kiln_ir::{DType, Data, Scalar};

use super::Tensor;

/// Tensors of more elements are shown by their edges,
const MOST_ELEMENTS: usize = 1000;
/// so many elements at each.
const EDGE: usize = 3;
/// Rows are broken before this column.
const WIDTH: usize = 88;

impl fmt::Display for Tensor {
    /// The numbers; `{:.3}` gives floats three decimals.
    ///
    /// ```
    /// # use kiln_nn::Tensor;
    /// let x = Tensor::from([[1.0, 2.5], [-3.0, 40.0]]);
    /// assert_eq!(x.to_string(), "[[ 1.   2.5]\n [-3.  40. ]]");
    /// assert_eq!(format!("{:.2}", x.sum(..)), "40.50");
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_data() {
            Ok(data) => Page::new(self.shape().to_vec(), &data, f.precision()).write(f),
            Err(error) => write!(f, "error: {error}"),
        }
    }
}

impl fmt::Debug for Tensor {
    /// Dtype and shape, then the numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.error().is_none() {
            write!(f, "{}{}{}", self.dtype(), self.shape(), if self.rank() > 1 { '\n' } else { ' ' })?;
        }
        fmt::Display::fmt(self, f)
    }
}

/// What is shown of a tensor, each element already as text of one width.
struct Page {
    shape: Vec<usize>,
    elided: bool,
    /// The texts of the elements shown, in order.
    texts: std::vec::IntoIter<String>,
}

impl Page {
    fn new(shape: Vec<usize>, data: &Data, precision: Option<usize>) -> Page {
        let elided = data.len() > MOST_ELEMENTS;
        let mut shown = Vec::new();
        collect(&shape, elided, 0, &mut shown);
        let scalars: Vec<Scalar> = shown.iter().filter_map(|&element| data.get(element)).collect();
        let mut texts = match data.dtype().is_float() {
            true if shape.is_empty() => scalars.iter().map(|&x| alone(x, data.dtype(), precision)).collect(),
            true => floats(&scalars, data.dtype(), precision),
            false => scalars.iter().map(Scalar::to_string).collect(),
        };
        let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        for text in &mut texts {
            *text = format!("{text:>width$}");
        }
        Page { shape, elided, texts: texts.into_iter() }
    }

    fn write(mut self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shape.is_empty() {
            return f.write_str(&self.texts.next().unwrap_or_default());
        }
        self.axis(0, f)
    }

    fn axis(&mut self, axis: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        let innermost = axis + 1 == self.shape.len();
        let mut column = axis + 1;
        let (head, tail) = kept(self.shape[axis], self.elided);
        for position in head.clone().chain(tail.clone()) {
            if position > 0 && !innermost {
                self.between(axis, f)?;
            }
            if !tail.is_empty() && position == tail.start {
                f.write_str(if innermost { " ..." } else { "..." })?;
                column += 4;
                if !innermost {
                    self.between(axis, f)?;
                }
            }
            if !innermost {
                self.axis(axis + 1, f)?;
                continue;
            }
            let text = self.texts.next().unwrap_or_default();
            let width = text.chars().count() + 1;
            if position > 0 && column + width > WIDTH {
                write!(f, "\n{}", " ".repeat(axis + 1))?;
                column = axis + 1;
            } else if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&text)?;
            column += width;
        }
        f.write_str("]")
    }

    /// The line breaks between two parts: one more for each axis in between, as NumPy leaves blank lines.
    fn between(&self, axis: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let breaks = self.shape.len() - axis - 1;
        write!(f, "{}{}", "\n".repeat(breaks), " ".repeat(axis + 1))
    }
}

/// The positions shown at both ends of an axis.
fn kept(size: usize, elided: bool) -> (Range<usize>, Range<usize>) {
    match elided && size > 2 * EDGE {
        true => (0..EDGE, size - EDGE..size),
        false => (0..size, 0..0),
    }
}

/// The row-major positions of the elements that are shown.
fn collect(shape: &[usize], elided: bool, offset: usize, shown: &mut Vec<usize>) {
    let Some((&size, inner)) = shape.split_first() else {
        shown.push(offset);
        return;
    };
    let stride: usize = inner.iter().product();
    let (head, tail) = kept(size, elided);
    for position in head.chain(tail) {
        collect(inner, elided, offset + position * stride, shown);
    }
}

/// The fewest digits that read back as the same number of its dtype.
fn shortest(x: f64, dtype: DType) -> String {
    match dtype {
        DType::F64 => format!("{x}"),
        _ => format!("{}", x as f32),
    }
}

/// Decimals that tell numbers of a dtype apart, and no more than eight.
fn most_decimals(dtype: DType) -> usize {
    match dtype {
        DType::F16 => 4,
        DType::Bf16 => 3,
        _ => 8,
    }
}

/// A float that isn't in a column.
fn alone(x: Scalar, dtype: DType, precision: Option<usize>) -> String {
    let x = x.as_f64();
    match (precision, dtype) {
        (Some(precision), _) => format!("{x:.precision$}"),
        (None, DType::F64) => format!("{x:?}"),
        (None, _) => format!("{:?}", x as f32),
    }
}

/// The floats of a column: in fixed notation with their points in line, or all with exponents where they are of very
/// different sizes.
fn floats(scalars: &[Scalar], dtype: DType, precision: Option<usize>) -> Vec<String> {
    let numbers: Vec<f64> = scalars.iter().map(|scalar| scalar.as_f64()).collect();
    let sizes = numbers.iter().map(|x| x.abs()).filter(|x| x.is_finite() && *x > 0.0);
    let (smallest, largest) =
        sizes.fold((f64::INFINITY, 0.0f64), |(small, large), x| (small.min(x), large.max(x)));
    if let Some(precision) = precision {
        return numbers.iter().map(|x| format!("{x:.precision$}")).collect();
    }
    let most = most_decimals(dtype);
    if largest >= 1e8 || (largest > 0.0 && (smallest < 1e-4 || largest / smallest > 1e3 && smallest < 1e-2)) {
        let digits = numbers.iter().map(|&x| mantissa_digits(x, dtype)).max().unwrap_or(0).min(most);
        return numbers.iter().map(|x| format!("{x:.digits$e}")).collect();
    }
    let texts: Vec<String> = numbers.iter().map(|&x| fixed(x, dtype, most)).collect();
    let behind = |text: &String| text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let decimals = texts.iter().map(behind).max().unwrap_or(0);
    // `NaN` and infinities have no point to stand in line with; they go to the right.
    let padding = |text: &String| if text.contains('.') { decimals - behind(text) } else { 0 };
    texts.iter().map(|text| format!("{text}{}", " ".repeat(padding(text)))).collect()
}

fn mantissa_digits(x: f64, dtype: DType) -> usize {
    let text = match dtype {
        DType::F64 => format!("{x:e}"),
        _ => format!("{:e}", x as f32),
    };
    let mantissa = text.split('e').next().unwrap_or_default();
    mantissa.split_once('.').map_or(0, |(_, digits)| digits.len())
}

/// `2.5`, `3.`, `-0.12345679`: at most so many decimals, and no zeros at the end.
fn fixed(x: f64, dtype: DType, most: usize) -> String {
    if !x.is_finite() {
        return format!("{x}");
    }
    let mut text = shortest(x, dtype);
    if text.split_once('.').is_some_and(|(_, decimals)| decimals.len() > most) {
        text = format!("{x:.most$}");
        text.truncate(text.trim_end_matches('0').len());
    }
    if !text.contains('.') {
        text.push('.');
    }
    text
}
