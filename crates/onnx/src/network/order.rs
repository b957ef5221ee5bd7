//! What nodes take of each other, and their topological order.

use std::collections::{HashMap, HashSet};

use crate::call::title;
use crate::error::{Error, Result};
use crate::proto::{GraphProto, NodeProto};

/// The names of what an operator's nodes take at some places.
pub(super) fn inputs_of(
    graph: &GraphProto,
    operator: &str,
    places: std::ops::Range<usize>,
) -> HashSet<String> {
    let nodes = graph.node.iter().filter(|node| node.op_type() == operator);
    nodes.flat_map(|node| node.input.iter().skip(places.start).take(places.len()).cloned()).collect()
}

/// The names of what a node takes, also in its subgraphs.
pub(super) fn names_taken(node: &NodeProto) -> impl Iterator<Item = &String> {
    let mut nodes = vec![node];
    let mut names = Vec::new();
    while let Some(node) = nodes.pop() {
        names.extend(&node.input);
        for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
            names.extend(graph.output.iter().filter_map(|port| port.name.as_ref()));
            nodes.extend(&graph.node);
        }
    }
    names.into_iter()
}

/// Nodes in topological order: each behind those it needs.
pub(super) fn sort(graph: &mut GraphProto) -> Result<()> {
    let mut maker: HashMap<String, usize> = HashMap::new();
    for (at, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if let Some(other) = maker.insert(output.clone(), at) {
                let (first, second) = (title(&graph.node[other]), title(node));
                return Err(Error::network(format!("{first} and {second} both give {output}")));
            }
        }
    }
    let needs =
        |node: &NodeProto| names_taken(node).filter_map(|name| maker.get(name).copied()).collect::<Vec<_>>();
    let waiting: Vec<Vec<usize>> = graph.node.iter().map(needs).collect();
    let mut open: Vec<usize> = waiting.iter().map(Vec::len).collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); open.len()];
    for (at, needs) in waiting.iter().enumerate() {
        needs.iter().for_each(|&need| users[need].push(at));
    }
    let mut ready: std::collections::BinaryHeap<std::cmp::Reverse<usize>> =
        (0..open.len()).filter(|&at| open[at] == 0).map(std::cmp::Reverse).collect();
    let mut order = Vec::with_capacity(open.len());
    while let Some(std::cmp::Reverse(at)) = ready.pop() {
        order.push(at);
        for &user in &users[at] {
            open[user] -= 1;
            if open[user] == 0 {
                ready.push(std::cmp::Reverse(user));
            }
        }
    }
    if order.len() < open.len() {
        let stuck = open.iter().position(|open| *open > 0).unwrap_or(0);
        return Err(Error::network(format!(
            "{}: its inputs depend on its own output",
            title(&graph.node[stuck])
        )));
    }
    let mut nodes: Vec<Option<NodeProto>> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
    graph.node = order.into_iter().filter_map(|at| nodes[at].take()).collect();
    Ok(())
}
