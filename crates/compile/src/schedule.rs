//! The order of kernels, and which updates may write their variable in place.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use kiln_ir::Op;
use kiln_ir::graph::{Graph, NodeId};

use crate::cluster::{Cluster, ClusterId, Clustering};
use crate::kind::root;
use crate::packed::packed_columns;

/// Units in the order they run.
#[derive(Debug, Default)]
pub struct KernelSchedule {
    /// Every cluster, needs before users.
    pub order: Vec<ClusterId>,
    /// For each update of the graph, whether its cluster runs after everybody else who reads the old value.
    pub in_place: Vec<bool>,
}

impl KernelSchedule {
    /// Says which cluster runs before what it needs, or never; nothing where the order isn't decided yet.
    pub fn check(&self, graph: &Graph, clusters: &Clustering) -> Result<(), String> {
        if self.order.is_empty() {
            return Ok(());
        }
        let mut done = vec![false; clusters.clusters.len()];
        for &cluster in &self.order {
            if let Some(needed) = clusters.needs(graph, cluster).into_iter().find(|&needed| !done[needed]) {
                return Err(format!("cluster {cluster} runs before cluster {needed}, which it needs"));
            }
            done[cluster] = true;
        }
        match (0..done.len())
            .find(|&cluster| !done[cluster] && !clusters.clusters[cluster].members.is_empty())
        {
            Some(cluster) => Err(format!("cluster {cluster} never runs")),
            None => Ok(()),
        }
    }
}

/// Orders the clusters: what is hoisted comes before all else; what a cluster needs comes first; who reads a variable's
/// old value comes before the one that overwrites it; and of what is ready, the earliest in the graph, so that values are
/// used while they are warm.
pub fn schedule(graph: &Graph, clusters: &Clustering) -> KernelSchedule {
    let count = clusters.clusters.len();
    let mut needs: Vec<Vec<ClusterId>> = (0..count).map(|cluster| clusters.needs(graph, cluster)).collect();
    let mut users: Vec<Vec<ClusterId>> = vec![Vec::new(); count];
    for (cluster, needed) in needs.iter().enumerate() {
        for &other in needed {
            users[other].push(cluster);
        }
    }

    let readers = variable_readers(graph, clusters);
    let mut runs = clusters.order.clone();
    let mut in_place = Vec::with_capacity(graph.updates.len());
    for (variable, id) in &graph.updates {
        let writer = clusters.cluster_of[id];
        let before: Vec<ClusterId> = readers
            .get(&variable.address())
            .map(|clusters| clusters.iter().copied().filter(|&cluster| cluster != writer).collect())
            .unwrap_or_default();
        let free = runs.link(&before, writer);
        if free {
            for cluster in before {
                needs[writer].push(cluster);
                users[cluster].push(writer);
            }
        }
        in_place.push(free);
    }

    let mut waiting: Vec<usize> = needs.iter().map(Vec::len).collect();
    let key = |cluster: ClusterId| {
        let Cluster { members, hoisted, .. } = &clusters.clusters[cluster];
        Reverse((!hoisted, members.first().copied().unwrap_or(0), cluster))
    };
    let mut ready: BinaryHeap<_> = (0..count).filter(|&cluster| waiting[cluster] == 0).map(key).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(Reverse((.., cluster))) = ready.pop() {
        if !clusters.clusters[cluster].members.is_empty() {
            order.push(cluster);
        }
        for &user in &users[cluster] {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                ready.push(key(user));
            }
        }
    }
    KernelSchedule { order, in_place }
}

/// The clusters that read each variable, by the variable's address.
fn variable_readers(graph: &Graph, clusters: &Clustering) -> HashMap<usize, Vec<ClusterId>> {
    let mut readers: HashMap<usize, Vec<ClusterId>> = HashMap::new();
    for (cluster, members) in clusters.clusters.iter().map(|cluster| &cluster.members).enumerate() {
        for &member in members {
            let node = &graph.nodes[member];
            // A product of packed columns reads their bytes itself, not what would be unpacked before.
            let right = node.inputs.get(1).filter(|_| node.op == Op::Matmul);
            let blocks = right.and_then(|&right| packed_columns(graph, right)).map(|(blocks, _)| blocks);
            for &input in node.inputs.iter().chain(&blocks) {
                if let Some(address) = variable_address(graph, root(graph, input)) {
                    let clusters = readers.entry(address).or_default();
                    if clusters.last() != Some(&cluster) {
                        clusters.push(cluster);
                    }
                }
            }
        }
    }
    readers
}

fn variable_address(graph: &Graph, id: NodeId) -> Option<usize> {
    if let Op::Var(variable) = &graph.nodes[id].op { Some(variable.address()) } else { None }
}
