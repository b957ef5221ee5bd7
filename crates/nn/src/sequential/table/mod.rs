//! The layers that have words: one table (`layers.rs`), of which the descriptions of layers, what their texts mean, the methods of a row, the help and
//! the tests of every layer are made. A new layer is an entry there; nothing else lists them.

mod arguments;
mod incoming;
mod rank;
mod text;
mod usage;
mod value;

use kiln_ir::{Result, Shape};

use crate::layers::Layer;
use crate::random::Key;
use crate::tensor::window::SpatialRank;
pub(super) use arguments::{ArgumentKind, ArgumentVisitor, LayerArgument, Mistake};
use incoming::Incoming;

/// A word that layers begin with.
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// Others for the same.
    pub aliases: &'static [&'static str],
    about: &'static str,
    /// Layers that it begins, each with what such a layer takes. Every argument is in one of them.
    pub examples: &'static [(Takes, &'static str)],
    /// The methods of [`Sequential`](crate::Sequential) that put one in a row; first the one of the word's own name.
    pub methods: &'static [&'static str],
    pub(super) begins: Begins,
}

/// What goes into a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Takes {
    /// `[batch, features]`.
    Rows,
    /// `[batch, features]`, the last two of which are codes below 4.
    Columns,
    /// `[batch, time, features]`, or `[batch, channels, length]`: of at least 4 each, and an even number.
    Sequences,
    /// `[batch, channels, height, width]`, as large.
    Images,
    /// `[batch, channels, depth, height, width]`, as large.
    Volumes,
    /// `[batch, time]`, of codes below 4.
    Codes,
}

/// What a word begins.
#[derive(Clone, Copy)]
pub(super) enum Begins {
    /// A layer, which is this one before its arguments are read.
    Layer(fn() -> Spec),
    /// One row of layers in brackets.
    Residual,
    /// Rows of layers in brackets.
    Parallel(super::Join),
    /// Rows of layers in brackets, and behind them what is averaged.
    Blend,
}

/// Makes of each entry: a variant of `Spec` with its arguments as fields; the `Word`; the visit to the arguments, which is the text form both ways;
/// the layer for what comes in; and the methods of a row. Ranked methods come in threes, for one, two and three spatial axes.
macro_rules! layers {
    ($(
        #[doc = $about:literal]
        $name:ident $word:literal $(or $alias:literal)*
        $({ $( $(#[$note:meta])* $field:ident: $type:ty = $default:expr => $kind:ident $($argument:literal)?, )* })?
        examples $examples:expr,
        $(methods { $($method:ident($($taken:ident: $taking:ty),*) = $spec:expr;)* })?
        $(ranked methods |$rank:ident| {
            $([$one:ident $two:ident $three:ident]($($given:ident: $giving:ty),*) = $ranked:expr;)*
        })?
        make |$incoming:pat_param| $make:expr;
    )*) => {
        /// A layer that is yet to be made.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Spec {
            $( #[doc = $about] $name $({ $( $(#[$note])* $field: $type, )* })?, )*
        }

        pub(super) const LAYERS: &[Word] = &[$(Word {
            word: $word,
            aliases: &[$($alias),*],
            about: $about,
            examples: $examples,
            methods: &[
                $($(stringify!($method),)*)?
                $($(stringify!($one), stringify!($two), stringify!($three),)*)?
            ],
            begins: Begins::Layer(|| Spec::$name $({ $($field: $default),* })?),
        }),*];

        impl Spec {
            /// The word it begins with.
            pub(in crate::sequential) fn word(&self) -> &'static str {
                match self {
                    $(Spec::$name { .. } => $word,)*
                }
            }

            /// Takes somebody along its arguments.
            pub(in crate::sequential) fn visit(&mut self, visitor: &mut dyn ArgumentVisitor) -> Result<(), Mistake> {
                match self {
                    $(Spec::$name $({ $($field),* })? => {
                        $($(arguments::$kind(visitor, $($argument,)? $field, &$default)?;)*)?
                    })*
                }
                Ok(())
            }

            #[track_caller]
            pub(super) fn make(&self, incoming: Incoming) -> Result<Box<dyn Layer>> {
                Ok(match self {
                    $(Spec::$name $({ $($field),* })? => {
                        $($(let _ = $field;)*)?
                        let $incoming = incoming;
                        $make
                    })*
                })
            }
        }

        impl Sequential {$(
            $($(
                #[doc = $about]
                pub fn $method(self, $($taken: $taking),*) -> Sequential {
                    self.push($spec)
                }
            )*)?
            $($(
                #[doc = concat!($about, " For inputs `[batch, channels, length]`.")]
                pub fn $one(self, $($given: $giving),*) -> Sequential {
                    let $rank = Some(SpatialRank::One);
                    self.push($ranked)
                }

                #[doc = concat!($about, " For inputs `[batch, channels, height, width]`.")]
                pub fn $two(self, $($given: $giving),*) -> Sequential {
                    let $rank = Some(SpatialRank::Two);
                    self.push($ranked)
                }

                #[doc = concat!($about, " For inputs `[batch, channels, depth, height, width]`.")]
                pub fn $three(self, $($given: $giving),*) -> Sequential {
                    let $rank = Some(SpatialRank::Three);
                    self.push($ranked)
                }
            )*)?
        )*}
    };
}

mod layers;
mod rows;

pub use layers::Spec;

/// Every word, in the order in which messages and pages list them.
pub fn words() -> impl Iterator<Item = &'static Word> + Clone {
    layers::LAYERS.iter().chain(rows::ROWS)
}

/// Every word with its arguments and what it does, one a line.
pub fn listing() -> String {
    words().fold(String::new(), |text, word| format!("{text}  {}\n      {}\n", word.usage(), word.line()))
}

impl Word {
    /// What it and its other names are, with a rank at the end where it can have one: `conv`, `conv1d`, `conv2d`, `conv3d`.
    pub fn names(&self) -> Vec<String> {
        let own = std::iter::once(&self.word).chain(self.aliases);
        let ranks: &[SpatialRank] = if self.is_ranked() { &SpatialRank::ALL } else { &[] };
        own.flat_map(|name| {
            std::iter::once(name.to_string()).chain(ranks.iter().map(move |rank| format!("{name}{rank}")))
        })
        .collect()
    }

    /// What the layer does, and its other words, in a line.
    pub fn line(&self) -> String {
        let or = |alias: &&str| format!(" Or `{alias}`.");
        self.about.trim().to_string() + &self.aliases.iter().map(or).collect::<String>()
    }
}

/// What a word begins, and the rank it has said.
pub(super) fn found(word: &str) -> Option<(&'static Word, Option<SpatialRank>)> {
    let known = |name: &str| words().find(|known| known.word == name || known.aliases.contains(&name));
    let ranked = || {
        let mut ranks = SpatialRank::ALL.into_iter();
        ranks.find_map(|rank| Some((known(word.strip_suffix(&rank.to_string())?)?, Some(rank))))
    };
    known(word).map(|found| (found, None)).or_else(|| ranked().filter(|(word, _)| word.is_ranked()))
}

impl Spec {
    /// How many outputs it has, where it is a layer that scores what comes before it.
    pub(super) fn scores(&mut self) -> Option<&mut Option<usize>> {
        match self {
            Spec::Dense { outputs, .. } | Spec::MembersDense { outputs } => Some(outputs),
            _ => None,
        }
    }

    /// The layer for inputs of this shape, and what it is there: a rank that was left open is the input's.
    ///
    /// # Errors
    /// Where no such layer fits the shape.
    #[track_caller]
    pub fn build(&self, input: &Shape, key: &Key) -> Result<(Spec, Box<dyn Layer>)> {
        let spec = self.ranked(input)?;
        let layer = spec.make(Incoming { spec: &spec, shape: input, key: key.clone() })?;
        Ok((spec, layer))
    }
}
