//! What a layer's arguments can be, as text: numbers, sizes by axis, padding, lists.

use crate::layers::Places;
use crate::tensor::window::{Padding, PerAxis};

/// An argument's value.
pub(in crate::sequential) trait ArgumentValue {
    /// What a text of it is, behind "should be".
    fn expected(&self) -> &'static str;

    /// Takes the value of a text; not where the text is none.
    fn read(&mut self, text: &str) -> bool;

    /// The text that is read as this; none at all where nothing needs to be said.
    fn text(&self) -> String;

    /// For how many spatial axes it has a number each, where it has.
    fn axes(&self) -> Option<usize> {
        None
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl ArgumentValue for $number {
            fn expected(&self) -> &'static str {
                "a number"
            }

            fn read(&mut self, text: &str) -> bool {
                text.parse().map(|number| *self = number).is_ok()
            }

            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

numbers!(usize f64);

/// A value that may be left open.
impl<V: ArgumentValue + From<usize>> ArgumentValue for Option<V> {
    fn expected(&self) -> &'static str {
        V::from(0).expected()
    }

    fn read(&mut self, text: &str) -> bool {
        let mut value = V::from(0);
        let is_read = value.read(text);
        if is_read {
            *self = Some(value);
        }
        is_read
    }

    fn text(&self) -> String {
        self.as_ref().map_or(String::new(), V::text)
    }

    fn axes(&self) -> Option<usize> {
        self.as_ref().and_then(V::axes)
    }
}

/// Something happens so often.
pub(super) struct Probability(pub(super) f64);

impl ArgumentValue for Probability {
    fn expected(&self) -> &'static str {
        "a number from 0 to below 1"
    }

    fn read(&mut self, text: &str) -> bool {
        self.0.read(text) && (0.0..1.0).contains(&self.0)
    }

    fn text(&self) -> String {
        self.0.text()
    }
}

/// `3`, or `3x5`.
impl ArgumentValue for PerAxis {
    fn expected(&self) -> &'static str {
        "a number or `3x5`"
    }

    fn read(&mut self, text: &str) -> bool {
        let Ok(numbers) = text.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>() else {
            return false;
        };
        *self = match numbers[..] {
            [same] => PerAxis::Same(same),
            _ => PerAxis::Each(numbers),
        };
        true
    }

    fn text(&self) -> String {
        match self {
            PerAxis::Same(size) => size.to_string(),
            PerAxis::Each(sizes) => joined(sizes.iter().map(usize::to_string), "x"),
        }
    }

    fn axes(&self) -> Option<usize> {
        match self {
            PerAxis::Same(_) => None,
            PerAxis::Each(sizes) => Some(sizes.len()),
        }
    }
}

/// `1`, `1x2`, `0:1x2:2` or `same`.
impl ArgumentValue for Padding {
    fn expected(&self) -> &'static str {
        "`1`, `1x2`, `0:1x2:2` or `same`"
    }

    fn read(&mut self, text: &str) -> bool {
        let padding = match text {
            "same" => Some(Padding::Same),
            text if text.contains(':') => {
                text.split('x').map(pair).collect::<Option<_>>().map(Padding::Sides)
            }
            text => {
                let mut each = PerAxis::Same(0);
                each.read(text).then_some(Padding::Both(each))
            }
        };
        padding.map(|padding| *self = padding).is_some()
    }

    fn text(&self) -> String {
        match self {
            Padding::Both(each) => each.text(),
            Padding::Same => "same".to_string(),
            Padding::Sides(sides) => joined(sides.iter().map(colon), "x"),
        }
    }

    fn axes(&self) -> Option<usize> {
        match self {
            Padding::Both(each) => each.axes(),
            Padding::Same => None,
            Padding::Sides(sides) => Some(sides.len()),
        }
    }
}

/// `2 -1`.
impl ArgumentValue for Vec<isize> {
    fn expected(&self) -> &'static str {
        "numbers such as `2 -1`"
    }

    fn read(&mut self, text: &str) -> bool {
        text.split_whitespace().map(str::parse).collect::<Result<_, _>>().map(|list| *self = list).is_ok()
    }

    fn text(&self) -> String {
        joined(self.iter().map(isize::to_string), " ")
    }
}

/// `12:8 5:4`, of numbers above zero.
impl ArgumentValue for Vec<(usize, usize)> {
    fn expected(&self) -> &'static str {
        "count:size for each column, such as `12:8 5:4`"
    }

    fn read(&mut self, text: &str) -> bool {
        let sound = |word| pair(word).filter(|&(count, size)| count > 0 && size > 0);
        text.split_whitespace().map(sound).collect::<Option<_>>().map(|list| *self = list).is_some()
    }

    fn text(&self) -> String {
        joined(self.iter().map(colon), " ")
    }
}

/// `1-4+7`, counted from 1.
impl ArgumentValue for Places {
    fn expected(&self) -> &'static str {
        "places from 1 on, such as `1-4+7`"
    }

    fn read(&mut self, text: &str) -> bool {
        Places::of(text).map(|places| *self = places).is_some()
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

fn pair(text: &str) -> Option<(usize, usize)> {
    let (a, b) = text.split_once(':')?;
    Some((a.parse().ok()?, b.parse().ok()?))
}

fn colon((a, b): &(usize, usize)) -> String {
    format!("{a}:{b}")
}

fn joined(texts: impl Iterator<Item = String>, with: &str) -> String {
    texts.collect::<Vec<_>>().join(with)
}
