//! Writes a graph and its clusters anew, with what each cluster computes again among its members.

use std::collections::{BTreeSet, HashMap};

use kiln_ir::graph::{Graph, GraphNode, NodeId};
use kiln_ir::op::Op;

use super::Copies;
use crate::bindings::Bindings;
use crate::cluster::{Cluster, ClusterId, Clustering, nest};
use crate::kind::{OpKind, moves, root};
use crate::target::Target;

/// The nodes so far. What a cluster computes anew stands right before its first user there.
struct Writer<'a> {
    graph: &'a Graph,
    nodes: Vec<GraphNode>,
    /// The cluster of each node that is a member of one.
    cluster_of: Vec<Option<ClusterId>>,
    /// Where a node went, and where the copy that a cluster has of it.
    place_of: HashMap<(Option<ClusterId>, NodeId), NodeId>,
}

impl Writer<'_> {
    fn new(graph: &Graph) -> Writer<'_> {
        Writer { graph, nodes: Vec::new(), cluster_of: Vec::new(), place_of: HashMap::new() }
    }

    fn push(&mut self, node: GraphNode, cluster: Option<ClusterId>) -> NodeId {
        self.nodes.push(node);
        self.cluster_of.push(cluster);
        self.nodes.len() - 1
    }

    /// A node that is there for all.
    fn shared(&mut self, id: NodeId) -> NodeId {
        if let Some(&place) = self.place_of.get(&(None, id)) {
            return place;
        }
        // Nobody looks at what isn't placed yet, but through movements at its shape.
        let node = self.graph.nodes[id].clone();
        let node = match moves(self.graph, id) {
            true => GraphNode { inputs: vec![self.shared(node.inputs[0])], ..node },
            false => GraphNode { op: Op::Input(0), inputs: Vec::new(), ..node },
        };
        let place = self.push(node, None);
        self.place_of.insert((None, id), place);
        place
    }

    /// A node as a cluster reads it that computes these values anew.
    fn operand(&mut self, id: NodeId, cluster: ClusterId, copies: &BTreeSet<NodeId>) -> NodeId {
        if !copies.contains(&root(self.graph, id)) {
            return self.shared(id);
        }
        if let Some(&place) = self.place_of.get(&(Some(cluster), id)) {
            return place;
        }
        let mut node = self.graph.nodes[id].clone();
        node.inputs.iter_mut().for_each(|input| *input = self.operand(*input, cluster, copies));
        let member = (!moves(self.graph, id)).then_some(cluster);
        let place = self.push(node, member);
        self.place_of.insert((Some(cluster), id), place);
        place
    }

    /// Places a member of a cluster.
    fn member(&mut self, id: NodeId, cluster: ClusterId, copies: &BTreeSet<NodeId>) -> NodeId {
        let mut node = self.graph.nodes[id].clone();
        let fused = matches!(node.kind(), OpKind::Pointwise(_) | OpKind::Reduce(..));
        let operands = if fused { node.operands().len() } else { 0 };
        for (position, input) in node.inputs.iter_mut().enumerate() {
            *input = match position < operands {
                true => self.operand(*input, cluster, copies),
                false => self.shared(*input),
            };
        }
        let place = self.push(node, Some(cluster));
        self.place_of.insert((None, id), place);
        place
    }
}

/// Whether these members of a cluster and what it computes anew are one kernel that the target can run.
pub(super) fn is_kernel(
    graph: &Graph,
    clusters: &Clustering,
    (cluster, members, copies): (ClusterId, &[NodeId], &BTreeSet<NodeId>),
    stored: &BTreeSet<NodeId>,
    target: &Target,
) -> bool {
    let mut writer = Writer::new(graph);
    let mut contraction = None;
    let mut outputs = Vec::new();
    for &id in members {
        let place = writer.member(id, cluster, copies);
        if clusters.clusters[cluster].contraction == Some(id) {
            contraction = Some(place);
        }
        if stored.contains(&id) {
            outputs.push(place);
        }
    }
    let members: Vec<NodeId> =
        (0..writer.nodes.len()).filter(|&place| writer.cluster_of[place].is_some()).collect();
    let alone = Graph { nodes: writer.nodes, outputs, ..Graph::default() };
    Bindings::new(&alone, target.most_bindings).is_none_or(|bindings| bindings.fit(&alone, &members))
        && nest(&alone, &members, contraction).is_some()
}

/// Writes all of it, without what nobody needs any more. The clusters come in the order that is given.
pub(super) fn rewrite(
    graph: &mut Graph,
    clusters: &mut Clustering,
    (order, copies): (&[ClusterId], &Copies),
    target: &Target,
) {
    let none = BTreeSet::new();
    let mut writer = Writer::new(graph);
    for id in 0..graph.nodes.len() {
        match clusters.cluster_of.get(&id) {
            Some(cluster) => writer.member(id, *cluster, copies.get(cluster).unwrap_or(&none)),
            None => {
                let mut node = graph.nodes[id].clone();
                node.inputs.iter_mut().for_each(|input| *input = writer.shared(*input));
                let place = writer.push(node, None);
                writer.place_of.insert((None, id), place);
                place
            }
        };
    }
    let Writer { nodes, cluster_of, place_of, .. } = writer;
    let place = |id: NodeId| place_of[&(None, id)];
    let mut needed = vec![false; nodes.len()];
    graph.outputs.iter_mut().for_each(|id| *id = place(*id));
    graph.updates.iter_mut().for_each(|(_, id)| *id = place(*id));
    graph.outputs.iter().chain(graph.updates.iter().map(|(_, id)| id)).for_each(|&id| needed[id] = true);
    for id in (0..nodes.len()).rev() {
        if needed[id] {
            nodes[id].inputs.iter().for_each(|&input| needed[input] = true);
        }
    }
    let mut lists: HashMap<ClusterId, Vec<NodeId>> = HashMap::new();
    let mut now = vec![NodeId::MAX; nodes.len()];
    graph.nodes = Vec::with_capacity(nodes.len());
    for (id, mut node) in nodes.into_iter().enumerate().filter(|(id, _)| needed[*id]) {
        now[id] = graph.nodes.len();
        node.inputs.iter_mut().for_each(|input| *input = now[*input]);
        if let Some(cluster) = cluster_of[id] {
            lists.entry(cluster).or_default().push(now[id]);
        }
        graph.nodes.push(node);
    }
    graph.outputs.iter_mut().for_each(|id| *id = now[*id]);
    graph.updates.iter_mut().for_each(|(_, id)| *id = now[*id]);
    let rest = order.iter().filter_map(|cluster| {
        let Cluster { contraction, open, hoisted, .. } = clusters.clusters[*cluster];
        let contraction = contraction.map(|id| now[place(id)]).filter(|&id| id != NodeId::MAX);
        Some(Cluster { members: lists.remove(cluster)?, contraction, open, hoisted })
    });
    *clusters = Clustering::of(graph, rest.collect(), target);
}
