//! Transformers of pictures: an encoder whose steps are patches of a picture (ViT).

use std::panic::Location;

use kiln_ir::line;

use super::decoder::{DEVIATION, dense};
use super::encoder_block::{EncoderBlock, EncoderBlockOptions, dropped};
use crate::init::{Fan, Init};
use crate::layers::{Conv2d, Dense, Layer, LayerNorm};
use crate::module::Context;
use crate::random::Key;
use crate::tensor::Tensor;
use crate::tensor::conv::ConvOptions;
use crate::variable::Param;

/// What a transformer of pictures is. Start from [`VisionConfig::vit`] and change what differs.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Channels, height and width of a picture.
    pub picture: [usize; 3],
    /// Height and width of a patch; what is left at the edges isn't seen.
    pub patch: [usize; 2],
    /// Features of a patch.
    pub width: usize,
    /// How many blocks stand on each other.
    pub blocks: usize,
    /// What each of them is.
    pub block: EncoderBlockOptions,
    /// What is made of the last block's steps.
    pub head: VisionHead,
}

/// What a transformer of pictures makes of the last block's steps, the first of which stands for the whole picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisionHead {
    /// Nothing more.
    Steps,
    /// Nothing more; a dense layer with a tanh over the first step is there for those who ask ([`VisionTransformer::pooled`]).
    Pooler,
    /// Logits of so many classes, by the first step.
    Classes(usize),
}

impl VisionConfig {
    /// As ViT: square patches, norms in front, a GELU, classes by the first step.
    pub fn vit(
        picture: [usize; 3],
        patch: usize,
        width: usize,
        blocks: usize,
        heads: usize,
        classes: usize,
    ) -> VisionConfig {
        let block =
            EncoderBlockOptions { pre_norm: true, epsilon: 1e-12, ..EncoderBlockOptions::new(width, heads) };
        VisionConfig { picture, patch: [patch; 2], width, blocks, block, head: VisionHead::Classes(classes) }
    }

    /// How many patches a picture has.
    pub fn patches(&self) -> usize {
        let [_, height, width] = self.picture;
        (height / self.patch[0].max(1)).saturating_mul(width / self.patch[1].max(1))
    }
}

/// A transformer of pictures: `[batch, channels, height, width]` in, logits of classes out.
///
/// ```
/// use kiln_nn::models::{VisionConfig, VisionTransformer};
/// use kiln_nn::{Context, Key, Layer, Tensor};
///
/// let model = VisionTransformer::new(&VisionConfig::vit([3, 16, 16], 4, 16, 2, 4, 10), Key::new(1));
/// let logits = model.forward(&Tensor::ones([2, 3, 16, 16]), &Context::inference());
/// assert_eq!(logits.shape().sizes(), [2, 10]);
/// ```
#[derive(Clone, Debug)]
pub struct VisionTransformer {
    patches: Conv2d,
    first: Param,
    positions: Param,
    blocks: Vec<EncoderBlock>,
    norm: LayerNorm,
    pooler: Option<Dense>,
    classes: Option<Dense>,
    config: VisionConfig,
}

crate::parameters!(VisionTransformer { patches, first, positions, blocks, norm, pooler, classes });

impl VisionTransformer {
    /// A transformer that starts normal with a deviation of 0.02, patches as convolutions do.
    #[track_caller]
    pub fn new(config: &VisionConfig, key: Key) -> VisionTransformer {
        let width = config.width;
        let [patches, first, positions, blocks, pooler, classes] = key.split();
        let vectors = |count: usize, key: &Key| {
            let fan = Fan { inputs: count, outputs: width };
            Param::new(&Init::Normal(0.0, DEVIATION).fill([1, count, width], fan, key))
        };
        let options = ConvOptions::new().stride(config.patch.to_vec());
        let count = match config.head {
            VisionHead::Classes(count) => Some(count),
            VisionHead::Steps | VisionHead::Pooler => None,
        };
        let has_pooler = config.head == VisionHead::Pooler;
        VisionTransformer {
            patches: Conv2d::new(config.picture[0], width, config.patch.to_vec(), options, patches),
            first: vectors(1, &first),
            positions: vectors(config.patches().saturating_add(1), &positions),
            blocks: EncoderBlock::row(config.blocks, width, &config.block, blocks),
            norm: LayerNorm { epsilon: config.block.epsilon, ..LayerNorm::new([width]) },
            pooler: has_pooler.then(|| dense(width, width, true, DEVIATION, pooler)),
            classes: count.map(|count| dense(width, count, true, DEVIATION, classes)),
            config: config.clone(),
        }
    }

    /// What it is.
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// What goes into the first block.
    #[track_caller]
    fn embedded(&self, x: &Tensor, context: &Context) -> Tensor {
        let (shape, picture) = (check!(x.sound()).shape(), self.config.picture);
        ensure!(
            shape.rank() == 4 && shape[1..] == picture,
            Shape,
            "vision transformer",
            "takes pictures [batch, {}, {}, {}], not {shape}",
            picture[0],
            picture[1],
            picture[2]
        );
        // [batch, width, rows, columns] → [batch, patches, width].
        let patches = self.patches.forward(x, context).flatten(2..).permute([0, 2, 1]);
        let first = self.first.tensor().broadcast_to([shape[0], 1, self.config.width]);
        let steps = Tensor::concat(&[&first, &patches], 1) + self.positions.tensor();
        dropped(steps, self.config.block.dropout, context)
    }

    /// What each step means, behind the last norm: `[batch, 1 + patches, width]`, the first of the whole picture.
    #[track_caller]
    pub fn steps(&self, x: &Tensor, context: &Context) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || {
            let x = self.embedded(x, context);
            let x = self.blocks.iter().fold(x, |x, block| block.forward(&x, context));
            self.norm.forward(&x, context)
        })
    }

    /// What the pooler makes of what each step means, by the first: `[batch, width]`; an error without one.
    #[track_caller]
    pub fn pooled(&self, steps: &Tensor, context: &Context) -> Tensor {
        let pooler = self.pooler.as_ref();
        ensure!(
            pooler.is_some(),
            Value,
            "vision transformer",
            "has no pooler: its head is {:?}",
            self.config.head
        );
        let first = steps.narrow(1, 0, 1).squeeze(1);
        pooler.map_or(first.clone(), |pooler| pooler.forward(&first, context).tanh())
    }

    #[track_caller]
    fn head(&self, steps: &Tensor, context: &Context) -> Tensor {
        match &self.classes {
            Some(classes) => classes.forward(&steps.narrow(1, 0, 1).squeeze(1), context),
            None => steps.clone(),
        }
    }
}

impl Layer for VisionTransformer {
    /// Logits of classes `[batch, classes]`, or what each step means where there are none.
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        line::on_behalf_of(line::of(Location::caller()), || self.head(&self.steps(x, context), context))
    }

    fn stages(&self, x: &Tensor) -> Vec<(String, String, Tensor)> {
        let context = Context::inference();
        let mut x = self.embedded(x, &context);
        let mut stages = vec![("patches".to_string(), "patches and positions".to_string(), x.clone())];
        for (place, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, &context);
            stages.push((format!("blocks.{place}"), "encoder block".to_string(), x.clone()));
        }
        x = self.norm.forward(&x, &context);
        stages.push(("norm".to_string(), "norm".to_string(), x.clone()));
        match self.config.head {
            VisionHead::Steps => {}
            VisionHead::Pooler => {
                let pooled = self.pooled(&x, &context);
                stages.push(("pooler".to_string(), "dense over the first step".to_string(), pooled));
            }
            VisionHead::Classes(_) => {
                let logits = self.head(&x, &context);
                stages.push(("classes".to_string(), "scores of classes".to_string(), logits));
            }
        }
        stages
    }
}
