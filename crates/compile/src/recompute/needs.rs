//! What consumers need of a producer, and how each comes by it.

use std::collections::{BTreeMap, BTreeSet};

use kiln_ir::graph::NodeId;

use crate::cluster::ClusterId;

/// What a consumer needs of a producer.
#[derive(Default)]
pub(super) struct ConsumerNeeds {
    /// What its pointwise work and folds read: whether this is in memory doesn't matter to them.
    pub(super) fused: BTreeSet<NodeId>,
    /// What must be in memory for it.
    pub(super) fixed: BTreeSet<NodeId>,
}

/// What one consumer reads and computes of a region.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) loads: BTreeSet<NodeId>,
    pub(super) copies: BTreeSet<NodeId>,
}

pub(super) type Consumers = BTreeMap<ClusterId, ConsumerNeeds>;
pub(super) type Plans = BTreeMap<ClusterId, Plan>;
