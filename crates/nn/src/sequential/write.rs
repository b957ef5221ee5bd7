//! A row of layers as text, which `read/` reads back.

use kiln_ir::{Error, ErrorKind, Result};

use super::{Join, Kind, Sequential, is_name};

impl Sequential {
    /// The row as text that [`str::parse`] reads back. A layer that is made says what it became: `conv 8 3` of images is `conv2d 8 3`.
    ///
    /// # Errors
    /// Where it holds a closure or a layer of one's own.
    pub fn to_text(&self) -> Result<String> {
        let mut texts = Vec::with_capacity(self.parts.len());
        for (position, part) in self.parts.iter().enumerate() {
            let rows = |rows: &[Sequential]| -> Result<String> {
                Ok(rows.iter().map(Sequential::to_text).collect::<Result<Vec<_>>>()?.join("; "))
            };
            let text = match &part.kind {
                Kind::Described(..) => part.kind.title(),
                Kind::Residual(body, _) => format!("residual({})", body.to_text()?),
                Kind::Parallel(list, Join::Concat) => format!("parallel({})", rows(list)?),
                Kind::Parallel(list, Join::Sum) => format!("sum({})", rows(list)?),
                Kind::Blend(blend) => format!("blend({}){}", rows(&blend.rows)?, blend.of.text()),
                Kind::Lambda(_) | Kind::Own(_) => {
                    let what = part.name.clone().unwrap_or_else(|| part.kind.title());
                    let message = format!("layer {position} ({what}) is code and has no text form");
                    return Err(Error::new(ErrorKind::Value, "to_text", message).nowhere());
                }
            };
            texts.push(match &part.name {
                None => text,
                Some(name) if is_name(name) => format!("{text} as {name}"),
                Some(name) => {
                    let message = format!("the name {name:?} of layer {position} has no text form; letters, digits, - and _ have");
                    return Err(Error::new(ErrorKind::Value, "to_text", message).nowhere());
                }
            });
        }
        Ok(texts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Begins, Spec, words};
    use super::*;
    use crate::tensor::window::SpatialRank;

    fn read(text: &str) -> Spec {
        let mut row: Sequential = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        match row.parts.pop().map(|part| part.kind) {
            Some(Kind::Described(spec, _)) => spec,
            _ => panic!("{text} is no described layer"),
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same_layer() {
        for word in words().filter(|word| matches!(word.begins, Begins::Layer(_))) {
            for &(_, example) in word.examples {
                let spec = read(example);
                assert_eq!(spec.word(), word.word, "{example}");
                let ranks: &[_] = if word.is_ranked() { &SpatialRank::ALL } else { &[] };
                let each = ranks
                    .iter()
                    .map(|&rank| spec.with_rank(Some(rank)))
                    .filter(|spec| spec.uneven().is_none());
                for spec in [spec.clone()].into_iter().chain(each) {
                    assert_eq!(read(&spec.to_string()), spec, "{example}");
                }
            }
        }
    }

    #[test]
    fn what_a_method_puts_in_a_row_is_read_as_the_same_layer() {
        let options =
            || crate::ConvOptions::new().stride([2, 1]).padding([(1, 0), (2, 2)]).dilation(2).groups(3);
        let row = Sequential::new()
            .conv2d_with(6, [3, 2], options())
            .depthwise_conv2d(3, crate::ConvOptions::new().padding(crate::Padding::Same))
            .conv_transpose2d(4, 3, options().output_padding([1, 0]))
            .avg_pool3d(
                crate::PoolOptions::new(3)
                    .stride(2)
                    .padding([1, 0, 1])
                    .ceil_mode(true)
                    .count_include_pad(false),
            )
            .adaptive_max_pool1d(3)
            .rnn_with(3, crate::RecurrentOptions::new().layers(2).without_bias())
            .causal_attention(4)
            .reshape(&[3, -1])
            .embed_columns(vec![(3, 2)])
            .leaky_relu(0.01)
            .leaky_relu(0.3);
        for part in &row.parts {
            let Kind::Described(spec, _) = &part.kind else { panic!("a described layer") };
            assert_eq!(&read(&spec.to_string()), spec);
        }
    }
}
