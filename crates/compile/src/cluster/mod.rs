//! Which nodes share a kernel.
//!
//! `relu(x·w + b)` → one cluster: the matmul with an epilogue of add and relu. `softmax(x)` → one cluster: max, subtract, exp, sum,
//! divide over one loop nest. A cluster is a contraction with an epilogue, or fused pointwise and reduce work, or a single
//! other operation. Nodes join the cluster of an operand where their values lie on the same loops and no path leads
//! out of the cluster and back into it.

mod nest;

use std::collections::{HashMap, HashSet};

use kiln_ir::Op;
use kiln_ir::attention::AttentionSpec;
use kiln_ir::graph::{Graph, NodeId};

use crate::bindings::Bindings;
use crate::invariant::hoisted;
use crate::kind::{OpKind, Opaque, computes, reduces, root};
use crate::target::{Fusion, Target};
use crate::topological_order::TopologicalOrder;
pub use nest::{LoopNest, nest};

/// The position of a cluster in [`Clustering::clusters`].
pub type ClusterId = usize;

/// Nodes that become one kernel.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its nodes, inputs before users.
    pub members: Vec<NodeId>,
    /// The product the other members follow, where there is one.
    pub contraction: Option<NodeId>,
    /// Whether pointwise members may join.
    pub open: bool,
    /// Whether its values stay the same from run to run; see [`hoisted`](mod@crate::invariant).
    pub hoisted: bool,
}

/// All clusters of a graph.
#[derive(Debug, Default)]
pub struct Clustering {
    /// The clusters; one without members has been merged into another.
    pub clusters: Vec<Cluster>,
    /// The cluster of each node that computes something.
    pub cluster_of: HashMap<NodeId, ClusterId>,
    /// The clusters in an order in which each comes behind those it needs.
    pub(crate) order: TopologicalOrder,
    /// The cluster of each attention, by its settings and operands.
    attentions: HashMap<(AttentionSpec, Vec<NodeId>), ClusterId>,
    /// Those that are scans.
    walks: Vec<ClusterId>,
    limits: Fusion,
    bindings: Option<Bindings>,
}

/// Puts every computing node into a cluster.
pub fn cluster(graph: &Graph, target: &Target) -> Clustering {
    let bindings = Bindings::new(graph, target.most_bindings);
    let mut clusters = Clustering { limits: target.fusion, bindings, ..Clustering::default() };
    let hoisted = hoisted(graph);
    for id in 0..graph.nodes.len() {
        if computes(graph, id) {
            clusters.place(graph, id, hoisted[id]);
        }
    }
    clusters.merge_siblings(graph);
    clusters
}

impl Clustering {
    /// These clusters, each behind those it needs.
    pub(crate) fn of(graph: &Graph, clusters: Vec<Cluster>, target: &Target) -> Clustering {
        let bindings = Bindings::new(graph, target.most_bindings);
        let mut all = Clustering { limits: target.fusion, bindings, ..Clustering::default() };
        for cluster in clusters {
            all.order.add(&all.needed(graph, &cluster.members));
            all.cluster_of.extend(cluster.members.iter().map(|&id| (id, all.clusters.len())));
            all.clusters.push(cluster);
        }
        all
    }

    fn place(&mut self, graph: &Graph, id: NodeId, hoisted: bool) {
        let this = graph.nodes[id].kind();
        if matches!(this, OpKind::Opaque(Opaque::Scan(..))) && self.join_walk(graph, id) {
            return;
        }
        let fusable = matches!(this, OpKind::Pointwise(_) | OpKind::Reduce(..));
        let mut candidates: Vec<ClusterId> = Vec::new();
        if fusable {
            let mut roots: Vec<NodeId> =
                graph.nodes[id].operands().iter().map(|&operand| root(graph, operand)).collect();
            roots.sort_unstable_by(|a, b| b.cmp(a));
            for origin in roots {
                if let Some(&cluster) = self.cluster_of.get(&origin)
                    && !candidates.contains(&cluster)
                {
                    candidates.push(cluster);
                }
            }
        }
        // Result and sums of one attention, or its gradients, are one kernel.
        let attention = if let OpKind::Opaque(Opaque::Attention(spec, _)) = this {
            Some((*spec, graph.nodes[id].inputs.clone()))
        } else {
            None
        };
        if let Some(&cluster) = attention.as_ref().and_then(|attention| self.attentions.get(attention)) {
            self.clusters[cluster].members.push(id);
            self.cluster_of.insert(id, cluster);
            return;
        }
        let needed = self.needed(graph, &[id]);
        let home = candidates.iter().copied().find(|&cluster| {
            self.clusters[cluster].hoisted == hoisted && self.may_join(graph, cluster, id, &needed)
        });
        match home {
            Some(cluster) => {
                let others: Vec<ClusterId> = needed.into_iter().filter(|&other| other != cluster).collect();
                self.order.link(&others, cluster);
                self.clusters[cluster].members.push(id);
                self.cluster_of.insert(id, cluster);
                for other in candidates {
                    if other != cluster {
                        self.merge(graph, cluster, other);
                    }
                }
            }
            None => {
                self.cluster_of.insert(id, self.order.add(&needed));
                let contraction = matches!(this, OpKind::Contraction(_)).then_some(id);
                let open = !matches!(this, OpKind::Opaque(_));
                self.attentions.extend(attention.map(|attention| (attention, self.clusters.len())));
                self.clusters.push(Cluster { members: vec![id], contraction, open, hoisted });
            }
        }
    }

    /// Makes a value of a scan a member where others of the same walk are.
    fn join_walk(&mut self, graph: &Graph, id: NodeId) -> bool {
        let node = &graph.nodes[id];
        let same = |op: &Op| matches!((op, &node.op), (Op::Scan(a, _), Op::Scan(b, _)) if a == b);
        let known = self.walks.iter().copied().find(|&cluster| {
            let other = &graph.nodes[self.clusters[cluster].members[0]];
            other.inputs == node.inputs && same(&other.op)
        });
        match known {
            Some(cluster) => {
                self.clusters[cluster].members.push(id);
                self.cluster_of.insert(id, cluster);
            }
            // The one that is made next.
            None => self.walks.push(self.clusters.len()),
        }
        known.is_some()
    }

    /// Whether a node that needs these clusters may become a member of one.
    fn may_join(&mut self, graph: &Graph, cluster: ClusterId, id: NodeId, needed: &[ClusterId]) -> bool {
        let Cluster { members, contraction, open, .. } = &self.clusters[cluster];
        if !open || members.len() >= self.limits.most_members {
            return false;
        }
        if contraction.is_some() && reduces(graph, id) {
            return false;
        }
        let others: Vec<ClusterId> = needed.iter().copied().filter(|&other| other != cluster).collect();
        if self.order.reaches(cluster, &others) {
            return false;
        }
        if self.bindings.is_some() && !self.fit(graph, &[&members[..], &[id]].concat()) {
            return false;
        }
        // A pointwise node directly on members lies where they lie.
        let direct = matches!(graph.nodes[id].kind(), OpKind::Pointwise(_))
            && graph.nodes[id].operands().iter().all(|&operand| {
                computes(graph, operand) || self.cluster_of.get(&root(graph, operand)) != Some(&cluster)
            });
        let inside: Vec<NodeId> = graph.nodes[id]
            .operands()
            .iter()
            .copied()
            .filter(|o| self.cluster_of.get(o) == Some(&cluster))
            .collect();
        if direct && inside.len() == 1 {
            return true;
        }
        let mut members = members.clone();
        members.push(id);
        nest(graph, &members, *contraction).is_some()
    }

    /// Whether a kernel of these members touches no more buffers than the target allows.
    fn fit(&self, graph: &Graph, members: &[NodeId]) -> bool {
        self.bindings.as_ref().is_none_or(|bindings| bindings.fit(graph, members))
    }

    /// Merges `other` into `cluster` where both lie on the same loops and nothing outside stands between them.
    fn merge(&mut self, graph: &Graph, cluster: ClusterId, other: ClusterId) -> bool {
        let (a, b) = (&self.clusters[cluster], &self.clusters[other]);
        let contraction = a.contraction.or(b.contraction);
        let folds = |cluster: &Cluster| cluster.members.iter().any(|&id| reduces(graph, id));
        if !a.open
            || !b.open
            || a.hoisted != b.hoisted
            || a.members.is_empty()
            || b.members.is_empty()
            || a.members.len() + b.members.len() > self.limits.most_members
            || (a.contraction.is_some() && b.contraction.is_some())
            || (contraction.is_some() && (folds(a) || folds(b)))
        {
            return false;
        }
        if !self.order.may_merge(cluster, other) {
            return false;
        }
        let mut members = [a.members.as_slice(), b.members.as_slice()].concat();
        members.sort_unstable();
        if !self.fit(graph, &members) {
            return false;
        }
        // What a product reads must be there before it starts.
        let feeds = |&operand: &NodeId| members.binary_search(&root(graph, operand)).is_ok();
        if contraction.is_some_and(|id| graph.nodes[id].inputs.iter().any(feeds)) {
            return false;
        }
        if nest(graph, &members, contraction).is_none() {
            return false;
        }
        self.order.merge(cluster, other);
        for &id in &self.clusters[other].members {
            self.cluster_of.insert(id, cluster);
        }
        self.clusters[other].members.clear();
        self.clusters[cluster].members = members;
        self.clusters[cluster].contraction = contraction;
        true
    }

    /// Units that read the same large value over the same loops become one, so that it is read once: the two sums of a
    /// batch norm's gradient, or both moments of an optimizer.
    pub(crate) fn merge_siblings(&mut self, graph: &Graph) {
        let mut readers: HashMap<NodeId, Vec<ClusterId>> = HashMap::new();
        for (cluster, Cluster { members, contraction, open, .. }) in self.clusters.iter().enumerate() {
            if !open || contraction.is_some() {
                continue;
            }
            let mut seen = HashSet::new();
            for &member in members {
                for &operand in graph.nodes[member].operands() {
                    let origin = root(graph, operand);
                    let large = graph.nodes[origin].shape.elements() >= self.limits.worth_sharing;
                    if large
                        && !matches!(graph.nodes[origin].kind(), OpKind::Generator(_))
                        && seen.insert(origin)
                    {
                        readers.entry(origin).or_default().push(cluster);
                    }
                }
            }
        }
        let mut shared: Vec<_> = readers.into_iter().filter(|(_, clusters)| clusters.len() > 1).collect();
        shared.sort_unstable();
        for (_, clusters) in shared {
            let most = self.limits.most_siblings;
            for (position, &first) in clusters.iter().enumerate().take(most) {
                for &second in clusters[position + 1..].iter().take(most) {
                    if !self.clusters[first].members.is_empty() && !self.clusters[second].members.is_empty() {
                        self.merge(graph, first, second);
                    }
                }
            }
        }
    }

    /// Says which node is in no cluster, or in one that doesn't have it.
    pub fn check(&self, graph: &Graph) -> Result<(), String> {
        for (cluster, Cluster { members, .. }) in self.clusters.iter().enumerate() {
            if !members.is_sorted_by(|a, b| a < b) {
                return Err(format!("the members of cluster {cluster} aren't in order: {members:?}"));
            }
            if let Some(id) = members.iter().find(|id| self.cluster_of.get(id) != Some(&cluster)) {
                return Err(format!(
                    "%{id} is in cluster {cluster}, and said to be in {:?}",
                    self.cluster_of.get(id)
                ));
            }
        }
        for id in (0..graph.nodes.len()).filter(|&id| computes(graph, id)) {
            let cluster = self.cluster_of.get(&id).and_then(|&cluster| self.clusters.get(cluster));
            if cluster.is_none_or(|cluster| cluster.members.binary_search(&id).is_err()) {
                return Err(format!("%{id} {} is in no cluster", graph.nodes[id].op.name()));
            }
        }
        Ok(())
    }

    /// The clusters whose results `cluster` reads or waits for.
    pub fn needs(&self, graph: &Graph, cluster: ClusterId) -> Vec<ClusterId> {
        let mut needed = self.needed(graph, &self.clusters[cluster].members);
        needed.retain(|&other| other != cluster);
        needed
    }

    /// The clusters whose results these nodes read or wait for, each once.
    fn needed(&self, graph: &Graph, nodes: &[NodeId]) -> Vec<ClusterId> {
        let inputs = nodes.iter().flat_map(|&node| &graph.nodes[node].inputs);
        let clusters = inputs.filter_map(|&input| self.cluster_of.get(&root(graph, input)).copied());
        let mut seen = HashSet::new();
        clusters.filter(|&cluster| seen.insert(cluster)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::Compilation;
    use kiln_ir::op::UnaryOp;
    use kiln_ir::{DType, Expr, grad::gradients};

    /// A step of a network: its number, the input, and what the steps before it gave.
    type Next = fn(usize, &Expr, &Expr) -> Expr;

    /// The edges that searches follow while a network of so many steps and its gradient are cut into kernels, for each of its
    /// nodes.
    fn searched(steps: usize, step: Next) -> f64 {
        let x = Expr::input(0, [2, 2], DType::F32);
        let y = (0..steps).fold(x.clone(), |y, position| step(position, &x, &y)).sum(&[0, 1]);
        let slope = gradients(&y, std::slice::from_ref(&x), None).remove(0);
        let (graph, _) = Graph::trace(&[([2, 2].into(), DType::F32)], &[y, slope], &[]).unwrap();
        let target = Target::plain("test");
        let mut compiled = Compilation::new(&graph, &target);
        compiled.run().unwrap();
        assert!(compiled.schedule.order.len() > steps / target.fusion.most_members);
        compiled.clusters.order.steps() as f64 / compiled.graph.nodes.len() as f64
    }

    #[test]
    fn searches_cost_the_same_for_each_node_however_deep_a_network_is() {
        let steps: [(&str, Next); 5] = [
            ("pointwise", |_, x, y| y.unary(UnaryOp::Sin) + x),
            ("one value used by all", |i, x, y| y + &(x.unary(UnaryOp::Sin) * (i as f64 + 0.5))),
            ("products", |_, x, y| x.matmul(y).unary(UnaryOp::Relu)),
            ("means taken off", |_, _, y| (y - &y.sum(&[0]).broadcast_to(&y.shape())).unary(UnaryOp::Tanh)),
            ("scans", |_, x, y| y.cumsum(0).unary(UnaryOp::Tanh) * x),
        ];
        for (name, step) in steps {
            let [short, long] = [300, 2400].map(|steps| searched(steps, step));
            assert!(long < 1.5 * short + 1.0 && long < 30.0, "{name}: {short:.1} and {long:.1} edges a node");
        }
    }
}
