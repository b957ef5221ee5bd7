//! What a row is put together of, for whoever looks into a model instead of running it.

use std::ops::Range;
use std::panic::Location;

use kiln_ir::{Error, ErrorKind, line};

use super::{Blend, Blended, Kind, Part, Sequential, Spec};
use crate::composite;
use crate::module::Context;
use crate::random::Key;
use crate::tensor::Tensor;
use crate::variable::Variable;

/// What stands at a place of a row.
pub enum PartView<'r> {
    /// A layer that has a description; its weights go by the place's path.
    Described(&'r Spec),
    /// Rows whose results are averaged by these weights.
    Blend {
        /// The rows.
        rows: &'r [Sequential],
        /// `[rows]`, of sum 1.
        weights: &'r Variable,
        /// What is averaged.
        of: &'r Blended,
    },
    /// Rows whose results are joined or added.
    Rows(&'r [Sequential]),
    /// A closure or a layer of somebody's own.
    Own,
}

impl Sequential {
    /// What stands at a place, and its path; nothing behind the last.
    ///
    /// ```
    /// use kiln_nn::Sequential;
    /// use kiln_nn::sequential::{PartView, Spec};
    ///
    /// let row: Sequential = "dense 3, relu".parse()?;
    /// let (path, part) = row.part(0).unwrap();
    /// assert!(path == "0" && matches!(part, PartView::Described(Spec::Dense { .. })));
    /// # Ok::<(), kiln_nn::Error>(())
    /// ```
    pub fn part(&self, place: usize) -> Option<(String, PartView<'_>)> {
        let part = self.parts.get(place)?;
        let view = match &part.kind {
            Kind::Described(spec, made) => PartView::Described(made.get().map_or(spec, |made| &made.spec)),
            Kind::Residual(body, _) => PartView::Rows(std::slice::from_ref(body)),
            Kind::Parallel(rows, _) => PartView::Rows(rows),
            Kind::Blend(Blend { rows, of, weights: Ok(weights) }) => PartView::Blend { rows, weights, of },
            Kind::Blend(_) | Kind::Lambda(_) | Kind::Own(_) => PartView::Own,
        };
        Some((part.path(place), view))
    }

    /// What some of the layers make of `x`, which stands before the first of them: all of them in pieces are the row.
    #[track_caller]
    pub fn span(&self, places: Range<usize>, x: &Tensor, context: &Context) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || {
            self.between(places, x, context, &Key::new(self.seed))
        })
    }

    /// What the layers of these places make of `x`.
    pub(super) fn between(&self, places: Range<usize>, x: &Tensor, context: &Context, key: &Key) -> Tensor {
        let parts = self.parts.iter().enumerate().take(places.end).skip(places.start);
        parts.fold(x.clone(), |x, (position, part)| {
            // What members said is no more what comes out behind another layer, or joined with other rows.
            context.set_members(None);
            let y = composite::layer(|| part.path(position), || part.run(&x, context, &key.derive(position)));
            if !matches!(part.kind, Kind::Described(..) | Kind::Own(_)) {
                context.set_members(None);
            }
            y
        })
    }

    /// What goes into the last dense layer of the row: what the model makes of `x` before it scores classes or pieces. Where there is none, what
    /// goes into the last convolution over steps, as `[rows, steps, channels]`. An error without either.
    #[track_caller]
    pub fn features(&self, x: &Tensor, context: &Context) -> Tensor {
        let is_dense = |part: &Part| {
            matches!(part.kind, Kind::Described(Spec::Dense { .. } | Spec::MembersDense { .. }, _))
        };
        let is_conv = |part: &Part| matches!(part.kind, Kind::Described(Spec::Conv { .. }, _));
        let (dense, conv) = (self.parts.iter().rposition(is_dense), self.parts.iter().rposition(is_conv));
        let Some(last) = dense.or(conv) else {
            let message = "the row has no layer that scores what comes before it".to_string();
            return Error::new(ErrorKind::Value, "features", message).into();
        };
        let key = Key::new(self.seed);
        line::on_behalf_of(line::of(Location::caller()), || {
            let features = self.between(0..last, x, context, &key);
            match self.parts[last].kind {
                // All that the members make of it.
                Kind::Described(Spec::MembersDense { .. }, _) => features.flatten(1..),
                _ if dense.is_none() && features.rank() == 3 => features.permute([0, 2, 1]),
                _ => features,
            }
        })
    }
}
