//! Ensembles in one network (TabM, arXiv 2410.24210): members that share the layers between their first scale and their last dense layer.

use kiln_ir::Result;

use crate::init::{Fan, Init};
use crate::layers::{Layer, only_back};
use crate::module::{Context, TimeAxis};
use crate::random::Key;
use crate::tensor::Tensor;
use crate::variable::Param;

/// Each member of an ensemble sees what comes in by scales of its own: `[batch, features]` becomes `[batch, members, features]`, on which
/// the layers behind it work as on one.
#[derive(Clone, Debug)]
pub struct MemberScales {
    /// `[members, features]`.
    pub weight: Param,
}

crate::parameters!(MemberScales { weight });

impl MemberScales {
    /// So many members, whose scales begin as signs: no two see the same, and none sees less than another.
    #[track_caller]
    pub fn new(members: usize, features: usize, key: Key) -> MemberScales {
        let fan = Fan { inputs: 1, outputs: 1 };
        MemberScales { weight: Param::new(&Init::Signs.fill([members, features], fan, &key)) }
    }
}

impl Layer for MemberScales {
    #[track_caller]
    fn forward(&self, x: &Tensor, _: &Context) -> Tensor {
        x.unsqueeze(-2) * self.weight.tensor()
    }

    fn time_axis(&self, time: TimeAxis) -> Result<TimeAxis> {
        only_back::<Self>(time.before_last(1)).map(|time| TimeAxis { rank: time.rank + 1, ..time })
    }
}

/// The last layer of an ensemble: each member has a dense layer of its own, and what comes out is the mean of them. While training, the
/// context is told what each says ([`Context::members`]), so that a trainer lowers the mean of their losses: members that are only right
/// together learn less than members that are right each.
#[derive(Clone, Debug)]
pub struct MembersDense {
    /// `[members, features, outputs]`.
    pub weight: Param,
    /// `[members, outputs]`.
    pub bias: Param,
}

crate::parameters!(MembersDense { weight, bias });

impl MembersDense {
    /// For so many members, features of each, and outputs; each starts as [`Dense`](crate::Dense) does.
    #[track_caller]
    pub fn new(members: usize, features: usize, outputs: usize, key: Key) -> MembersDense {
        let fan = Fan { inputs: features, outputs };
        MembersDense {
            weight: Param::new(&Init::PYTORCH.fill([members, features, outputs], fan, &key.derive(0))),
            bias: Param::new(&Init::PYTORCH.fill([members, outputs], fan, &key.derive(1))),
        }
    }
}

impl Layer for MembersDense {
    /// `[batch, members, features]` to `[batch, outputs]`.
    #[track_caller]
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        let each = Tensor::einsum("bmf,mfo->bmo", &[x, &self.weight.tensor()]) + self.bias.tensor();
        if context.is_training() {
            context.set_members(Some(each.clone()));
        }
        each.mean(1)
    }
}
