//! The cheapest way to part a network in two.

use std::collections::VecDeque;

/// More than anything costs.
pub(super) const UNBOUNDED: u64 = u64::MAX / 4;

/// Nodes by number, and edges between them that cost something to cut.
#[derive(Debug)]
pub(super) struct FlowNetwork {
    /// Where each edge leads, and what is left of its capacity; the edge back of edge `i` is `i ^ 1`.
    edges: Vec<(usize, u64)>,
    from: Vec<Vec<usize>>,
}

impl FlowNetwork {
    pub(super) fn new(nodes: usize) -> FlowNetwork {
        FlowNetwork { edges: Vec::new(), from: vec![Vec::new(); nodes] }
    }

    pub(super) fn edge(&mut self, from: usize, to: usize, capacity: u64) {
        for (from, to, capacity) in [(from, to, capacity), (to, from, 0)] {
            self.from[from].push(self.edges.len());
            self.edges.push((to, capacity));
        }
    }

    /// Cuts the edges that cost least in all so that no way leads from `source` to `sink`, of equal choices those nearest to
    /// the sink. Says for each node whether it is on the side of the sink.
    pub(super) fn cut(mut self, source: usize, sink: usize) -> Vec<bool> {
        // Each shortest way with something left on it, until there is none.
        loop {
            let mut by: Vec<Option<usize>> = vec![None; self.from.len()];
            let mut ahead = VecDeque::from([source]);
            while let Some(node) = ahead.pop_front() {
                for &edge in &self.from[node] {
                    let (to, left) = self.edges[edge];
                    if left > 0 && to != source && by[to].is_none() {
                        by[to] = Some(edge);
                        ahead.push_back(to);
                    }
                }
            }
            let mut way = Vec::new();
            let mut at = sink;
            while let Some(edge) = by[at] {
                way.push(edge);
                at = self.edges[edge ^ 1].0;
            }
            let Some(least) = way.iter().map(|&edge| self.edges[edge].1).min() else { break };
            for edge in way {
                self.edges[edge].1 -= least;
                self.edges[edge ^ 1].1 += least;
            }
        }
        let mut side = vec![false; self.from.len()];
        side[sink] = true;
        let mut ahead = vec![sink];
        while let Some(node) = ahead.pop() {
            for &edge in &self.from[node] {
                let (before, left) = (self.edges[edge].0, self.edges[edge ^ 1].1);
                if left > 0 && !std::mem::replace(&mut side[before], true) {
                    ahead.push(before);
                }
            }
        }
        side
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of all ways to part a small random network none costs less, and none that costs as little keeps fewer nodes with the sink.
    #[test]
    fn no_cut_is_cheaper() {
        for seed in 0..200 {
            let mut rng = kiln_testkit::Rng::new(seed);
            let nodes = 2 + rng.below(6);
            let mut edges = Vec::new();
            for _ in 0..rng.below(16) {
                let [from, to] = [(); 2].map(|()| rng.below(nodes));
                edges.push((from, to, rng.below(5) as u64));
            }
            let mut network = FlowNetwork::new(nodes);
            edges.iter().for_each(|&(from, to, capacity)| network.edge(from, to, capacity));
            let side = network.cut(0, 1);
            assert!(side[1] && !side[0]);
            let cost = |side: &dyn Fn(usize) -> bool| -> u64 {
                edges.iter().filter(|(from, to, _)| !side(*from) && side(*to)).map(|edge| edge.2).sum()
            };
            let (found, count) = (cost(&|node| side[node]), side.iter().filter(|&&sink| sink).count() as u32);
            for mask in (0..1u32 << nodes).filter(|mask| mask & 3 == 2) {
                let other = cost(&|node| mask >> node & 1 == 1);
                assert!(
                    other > found || (other == found && mask.count_ones() >= count),
                    "{edges:?} {mask:b}"
                );
            }
        }
    }
}
