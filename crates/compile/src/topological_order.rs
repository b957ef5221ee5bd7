//! A topological order that is kept while edges are added and nodes are joined.
//!
//! Whoever asks for a path from `a` to `b` mostly reads the answer off the order: there is none where `b` stands first.
//! Else the search stays between the two, walks from both ends at once, an edge each in turn, and has its answer as soon as
//! one of them is exhausted: it costs twice the smaller of both. What was walked through is what has to move then.

use std::collections::{BTreeMap, BinaryHeap};

/// Nodes by number, with what each needs and what uses it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopologicalOrder {
    needs: Vec<Vec<usize>>,
    users: Vec<Vec<usize>>,
    /// The node that stands for one that was joined to another; itself for all others.
    stands: Vec<usize>,
    /// Grows from what is needed to what needs it.
    label: Vec<u64>,
    /// The nodes by label.
    at: BTreeMap<u64, usize>,
    /// The search that last came by each node, from below and from above.
    marks: Vec<[u64; 2]>,
    search: u64,
    steps: u64,
}

/// The distance between neighbours at first, so that others find a place between them.
const GAP: u64 = 1 << 32;

/// Which direction edges are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// All that is reached in one direction between two places of the order, without where the walk began.
struct Reached(Direction, Vec<usize>);

/// One end of a search.
struct Traversal {
    direction: Direction,
    /// What is walked from next: what stands nearest to the other end.
    ahead: BinaryHeap<(u64, usize)>,
    /// The node whose edges are followed, and the next of them.
    from: Option<(usize, usize)>,
    reached: Vec<usize>,
}

/// What came of following an edge.
enum Followed {
    On,
    /// The other end was met.
    Met,
    /// There are no more edges.
    Exhausted,
}

impl TopologicalOrder {
    /// A new node, behind all others.
    pub(crate) fn add(&mut self, needs: &[usize]) -> usize {
        let node = self.label.len();
        let last = self.at.last_key_value().map_or(0, |(&label, _)| label);
        self.label.push(last + GAP);
        self.at.insert(last + GAP, node);
        needs.iter().for_each(|&need| self.users[need].push(node));
        self.needs.push(needs.to_vec());
        self.users.push(Vec::new());
        self.stands.push(node);
        self.marks.push([0; 2]);
        node
    }

    /// How many edges all searches have followed.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether one of `targets` is `from` or needs it, directly or through others.
    pub(crate) fn reaches(&mut self, from: usize, targets: &[usize]) -> bool {
        targets.contains(&from) || self.search(from, targets, true).is_none()
    }

    /// Lets `user` need each of `needs`. Does nothing and says `false` where one of them needs `user`.
    pub(crate) fn link(&mut self, needs: &[usize], user: usize) -> bool {
        if needs.contains(&user) {
            return false;
        }
        let Some(reached) = self.search(user, needs, true) else { return false };
        let last = needs.iter().copied().max_by_key(|&need| self.label[need]);
        if let Some(last) = last.filter(|&last| self.label[last] > self.label[user]) {
            match reached {
                Reached(Direction::Up, mut nodes) => {
                    nodes.push(user);
                    self.place(nodes, last, Direction::Up);
                }
                Reached(Direction::Down, mut nodes) => {
                    nodes.extend(needs.iter().filter(|&&need| self.label[need] > self.label[user]));
                    self.place(nodes, user, Direction::Down);
                }
            }
        }
        for &need in needs {
            self.users[need].push(user);
            self.needs[user].push(need);
        }
        true
    }

    /// Whether no path leads from one of the two to the other through a third.
    pub(crate) fn may_merge(&mut self, a: usize, b: usize) -> bool {
        let (low, high) = self.sorted(a, b);
        self.search(low, &[high], false).is_some()
    }

    /// Joins `gone` to `node`, unless a path leads from one to the other through a third.
    pub(crate) fn merge(&mut self, node: usize, gone: usize) -> bool {
        let (low, high) = self.sorted(node, gone);
        let Some(Reached(direction, reached)) = self.search(low, &[high], false) else { return false };
        let stays = match direction {
            Direction::Up => high,
            Direction::Down => low,
        };
        self.place(reached, stays, direction);
        let label = self.label[stays];
        self.at.remove(&self.label[node]);
        self.at.remove(&self.label[gone]);
        self.label[node] = label;
        self.at.insert(label, node);
        self.stands[gone] = node;
        let (needs, users) = (std::mem::take(&mut self.needs[gone]), std::mem::take(&mut self.users[gone]));
        self.needs[node].extend(needs);
        self.users[node].extend(users);
        true
    }

    fn sorted(&self, a: usize, b: usize) -> (usize, usize) {
        if self.label[a] < self.label[b] { (a, b) } else { (b, a) }
    }

    fn standing(&self, mut node: usize) -> usize {
        while self.stands[node] != node {
            node = self.stands[node];
        }
        node
    }

    /// Looks for a path from `low` to one of `highs`, of which those that stand before it are left out. `None`: there is one.
    /// Else what is reached from one of both ends. Edges from end to end count where they are `direct`.
    fn search(&mut self, low: usize, highs: &[usize], direct: bool) -> Option<Reached> {
        let floor = self.label[low];
        let highs: Vec<usize> = highs.iter().copied().filter(|&high| self.label[high] > floor).collect();
        let Some(limit) = highs.iter().map(|&high| self.label[high]).max() else {
            return Some(Reached(Direction::Down, Vec::new()));
        };
        self.search += 1;
        let mut walks = [(Direction::Up, vec![low]), (Direction::Down, highs)].map(|(direction, starts)| {
            starts.iter().for_each(|&start| self.marks[start][direction as usize] = self.search);
            let ahead = starts.into_iter().map(|start| (0, start)).collect();
            Traversal { direction, ahead, from: None, reached: Vec::new() }
        });
        loop {
            for walk in &mut walks {
                match self.step(walk, (floor, limit), direct) {
                    Followed::On => {}
                    Followed::Met => return None,
                    Followed::Exhausted => {
                        return Some(Reached(walk.direction, std::mem::take(&mut walk.reached)));
                    }
                }
            }
        }
    }

    /// Follows one edge.
    fn step(&mut self, walk: &mut Traversal, (floor, limit): (u64, u64), direct: bool) -> Followed {
        let Some((node, edge)) = walk.from.or_else(|| walk.ahead.pop().map(|(_, node)| (node, 0))) else {
            return Followed::Exhausted;
        };
        let edges = match walk.direction {
            Direction::Up => &self.users[node],
            Direction::Down => &self.needs[node],
        };
        walk.from = (edge + 1 < edges.len()).then_some((node, edge + 1));
        let Some(&next) = edges.get(edge) else { return Followed::On };
        self.steps += 1;
        let next = self.standing(next);
        let (label, here) = (self.label[next], self.label[node]);
        let ends = (here.min(label), here.max(label)) == (floor, limit);
        if next == node || (ends && !direct) {
            return Followed::On;
        }
        let (this, other) = (walk.direction as usize, 1 - walk.direction as usize);
        if self.marks[next][other] == self.search {
            return Followed::Met;
        }
        if self.marks[next][this] != self.search && floor < label && label < limit {
            self.marks[next][this] = self.search;
            walk.ahead.push((if walk.direction == Direction::Up { label } else { !label }, next));
            walk.reached.push(next);
        }
        Followed::On
    }

    /// Puts nodes right behind `beside` (up) or right before it (down), in the order that they have.
    fn place(&mut self, mut nodes: Vec<usize>, beside: usize, direction: Direction) {
        nodes.sort_unstable_by_key(|&node| self.label[node]);
        nodes.dedup();
        for &node in &nodes {
            self.at.remove(&self.label[node]);
        }
        let neighbours = |order: &TopologicalOrder| {
            let label = order.label[beside];
            match direction {
                Direction::Up => {
                    let next = order.at.range(label + 1..).next();
                    (label, next.map_or(label + GAP * (nodes.len() as u64 + 1), |(&next, _)| next))
                }
                Direction::Down => {
                    (order.at.range(..label).next_back().map_or(0, |(&label, _)| label), label)
                }
            }
        };
        let (mut low, mut high) = neighbours(self);
        if high - low <= nodes.len() as u64 {
            let all: Vec<usize> = self.at.values().copied().collect();
            self.at.clear();
            for (position, node) in all.into_iter().enumerate() {
                self.label[node] = (position as u64 + 1) * GAP;
                self.at.insert(self.label[node], node);
            }
            (low, high) = neighbours(self);
        }
        let gap = (high - low) / (nodes.len() as u64 + 1);
        for node in nodes {
            low += gap;
            self.label[node] = low;
            self.at.insert(low, node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The obvious direction: edges alone.
    fn path(order: &TopologicalOrder, from: usize, to: usize) -> bool {
        let mut stack = vec![from];
        let mut seen = vec![false; order.label.len()];
        while let Some(node) = stack.pop() {
            if node == to {
                return true;
            }
            if !std::mem::replace(&mut seen[node], true) {
                stack.extend(order.users[node].iter().map(|&user| order.standing(user)));
            }
        }
        false
    }

    fn through_a_third(order: &TopologicalOrder, a: usize, b: usize) -> bool {
        let third = |from: usize, to: usize| {
            let mut users = order.users[from].iter().map(|&user| order.standing(user));
            users.any(|user| user != to && user != from && path(order, user, to))
        };
        third(a, b) || third(b, a)
    }

    #[test]
    fn whatever_is_linked_and_joined_the_order_holds_and_answers_as_the_edges_do() {
        for seed in 0..300 {
            let mut rng = kiln_testkit::Rng::new(seed);
            let mut order = TopologicalOrder::default();
            let mut alive: Vec<usize> = Vec::new();
            for _ in 0..60 {
                let mut pick = |alive: &[usize]| *rng.pick(alive);
                match if alive.len() < 3 { 0 } else { pick(&[0, 0, 1, 2, 3]) } {
                    0 => {
                        let needs: Vec<usize> =
                            if alive.is_empty() { vec![] } else { vec![pick(&alive), pick(&alive)] };
                        alive.push(order.add(&needs));
                    }
                    1 => {
                        let (user, needs) = (pick(&alive), [pick(&alive), pick(&alive)]);
                        let circle = needs.iter().any(|&need| path(&order, user, need));
                        assert_eq!(order.reaches(user, &needs), circle);
                        assert_eq!(order.link(&needs, user), !circle);
                    }
                    2 => {
                        let (a, b) = (pick(&alive), pick(&alive));
                        if a != b {
                            let free = !through_a_third(&order, a, b);
                            assert_eq!(order.may_merge(a, b), free);
                            assert_eq!(order.merge(a, b), free);
                            alive.retain(|&node| node != b || !free);
                        }
                    }
                    _ => {
                        let (a, b) = (pick(&alive), pick(&alive));
                        assert_eq!(order.reaches(a, &[b]), path(&order, a, b));
                    }
                }
                assert_eq!(order.at.len(), alive.len());
                for &node in &alive {
                    assert_eq!(order.at[&order.label[node]], node);
                    for user in order.users[node].iter().map(|&user| order.standing(user)) {
                        assert!(user == node || order.label[node] < order.label[user]);
                    }
                }
            }
        }
    }

    #[test]
    fn many_places_are_found_between_two_neighbours() {
        let mut order = TopologicalOrder::default();
        let first = order.add(&[]);
        let last = order.add(&[]);
        for _ in 0..200 {
            // Comes last, and has to stand before what was first and after what is second.
            let node = order.add(&[]);
            assert!(order.link(&[first], node) && order.link(&[node], last));
        }
        assert!(order.reaches(first, &[last]) && !order.reaches(last, &[first]));
    }
}
