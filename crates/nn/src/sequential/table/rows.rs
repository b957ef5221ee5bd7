//! The words that hold rows of layers in brackets.

use super::Takes::{Images, Rows, Sequences, Volumes};
use super::{Begins, Word};
use crate::sequential::{Join, Kind, Sequential};

pub(super) const ROWS: &[Word] = &[
    Word {
        word: "residual",
        aliases: &[],
        about: "What comes in is added to what its layers make of it: as it is or, where the sizes differ, through a 1×1 convolution or a dense layer.",
        examples: &[
            (Rows, "residual(dense 5)"),
            (Rows, "residual(dense 4, residual(relu))"),
            (Sequences, "residual(conv 6 3 stride 2 padding 1)"),
            (Images, "residual(conv 6 3 stride 2 padding 1 no-bias, batch-norm, relu) as block"),
            (Images, "residual(conv2d 4 3 padding 1)"),
            (Volumes, "residual(conv 6 1)"),
        ],
        methods: &["residual"],
        begins: Begins::Residual,
    },
    Word {
        word: "parallel",
        aliases: &[],
        about: "Several rows get the same input, and their results stand side by side: along the channels, or the last axis of plain rows.",
        examples: &[
            (Rows, "parallel(dense 3; dense 2 no-bias, relu)"),
            (Images, "parallel(conv 3 1; conv 2 3 padding 1, batch-norm) as both"),
        ],
        methods: &["parallel"],
        begins: Begins::Parallel(Join::Concat),
    },
    Word {
        word: "sum",
        aliases: &[],
        about: "Several rows get the same input, and their results are added up.",
        examples: &[(Rows, "sum(dense 3; dense 3, relu)"), (Images, "sum(conv 3 1; conv 3 3 padding 1)")],
        methods: &["sum"],
        begins: Begins::Parallel(Join::Sum),
    },
    Word {
        word: "blend",
        aliases: &[],
        about: "Several rows get the same input, and their results are averaged with weights that the model keeps: as numbers; with `classes` as probabilities; with `targets` each of several targets, of one output or of so many classes, as it is.",
        examples: &[
            (Rows, "blend(dense 3; dense 3, relu)"),
            (Rows, "blend(dense 3; dense 4, relu, dense 3; dense 3 no-bias) classes"),
            (Rows, "blend(dense 4; dense 4) targets 3 1 as both"),
            (Rows, "blend(dense 1; dense 1) classes"),
            (Sequences, "blend(conv 3 1; conv 3 3 padding 1) classes"),
        ],
        methods: &["blend"],
        begins: Begins::Blend,
    },
];

impl Sequential {
    /// A row whose input is added to its result: as it is, or (where the sizes differ) through a 1×1 convolution or a dense layer.
    pub fn residual(self, body: Sequential) -> Sequential {
        self.add(Kind::Residual(body, Default::default()))
    }

    /// Several rows from the same input, and how their results are joined.
    pub fn parallel(self, rows: impl IntoIterator<Item = Sequential>, join: Join) -> Sequential {
        self.add(Kind::Parallel(rows.into_iter().collect(), join))
    }

    /// Several rows from the same input, whose results are added up.
    pub fn sum(self, rows: impl IntoIterator<Item = Sequential>) -> Sequential {
        self.parallel(rows, Join::Sum)
    }
}
