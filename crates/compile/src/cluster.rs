//! Which nodes share a kernel.
//!
//! `relu(x·w + b)` → one unit: the matmul with a tail of add and relu. `softmax(x)` → one unit: max, subtract, exp, sum,
//! divide over one loop nest. A unit is a contraction with a tail, or fused pointwise and reduce work, or a single
//! other operation. Nodes join the unit of an operand where their values lie on the same loops and no path leads
//! out of the unit and back into it.

use std::collections::{HashMap, HashSet};

use kiln_ir::Op;
use kiln_ir::graph::{Graph, Id};

use crate::align::{Align, LoopId, Loops};
use crate::bindings::Bindings;
use crate::kind::{Kind, computes, moves, reduces, root};
use crate::order::Order;
use crate::steady::steady;
use crate::target::{Fusion, Target};

/// The position of a unit in [`Clusters::units`].
pub type UnitId = usize;

/// Nodes that become one kernel.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its nodes, inputs before users.
    pub members: Vec<Id>,
    /// The product the other members follow, where there is one.
    pub contraction: Option<Id>,
    /// Whether pointwise members may join.
    pub open: bool,
    /// Whether its values stay the same from run to run; see [`steady`](mod@crate::steady).
    pub steady: bool,
}

/// All units of a graph.
#[derive(Debug, Default)]
pub struct Clusters {
    /// The units; one without members has been merged into another.
    pub units: Vec<Unit>,
    /// The unit of each node that computes something.
    pub unit_of: HashMap<Id, UnitId>,
    /// The units in an order in which each comes behind those it needs.
    pub(crate) order: Order,
    limits: Fusion,
    bindings: Option<Bindings>,
}

/// The loops of a unit and how its members lie on them.
#[derive(Clone, Debug)]
pub struct Nest {
    /// The loops made on the way.
    pub loops: Loops,
    /// All loops, in the order of the seed's axes.
    pub all: Vec<LoopId>,
    /// Those that are reduced.
    pub reduced: Vec<LoopId>,
    /// How each member lies on the loops.
    pub align: HashMap<Id, Align>,
}

/// Puts every computing node into a unit.
pub fn cluster(graph: &Graph, target: &Target) -> Clusters {
    let bindings = Bindings::new(graph, target.most_bindings);
    let mut clusters = Clusters { limits: target.fusion, bindings, ..Clusters::default() };
    let steady = steady(graph);
    for id in 0..graph.nodes.len() {
        if computes(graph, id) {
            clusters.place(graph, id, steady[id]);
        }
    }
    clusters.merge_siblings(graph);
    clusters
}

impl Clusters {
    fn place(&mut self, graph: &Graph, id: Id, steady: bool) {
        let this = graph.nodes[id].kind();
        let fusable = matches!(this, Kind::Pointwise(_) | Kind::Reduce(..));
        let mut candidates: Vec<UnitId> = Vec::new();
        if fusable {
            let mut roots: Vec<Id> =
                graph.nodes[id].operands().iter().map(|&operand| root(graph, operand)).collect();
            roots.sort_unstable_by(|a, b| b.cmp(a));
            for origin in roots {
                if let Some(&unit) = self.unit_of.get(&origin)
                    && !candidates.contains(&unit)
                {
                    candidates.push(unit);
                }
            }
        }
        let needed = self.needed(graph, &[id]);
        let home = candidates
            .iter()
            .copied()
            .find(|&unit| self.units[unit].steady == steady && self.may_join(graph, unit, id, &needed));
        match home {
            Some(unit) => {
                let others: Vec<UnitId> = needed.into_iter().filter(|&other| other != unit).collect();
                self.order.link(&others, unit);
                self.units[unit].members.push(id);
                self.unit_of.insert(id, unit);
                for other in candidates {
                    if other != unit {
                        self.merge(graph, unit, other);
                    }
                }
            }
            None => {
                self.unit_of.insert(id, self.order.add(&needed));
                let contraction = matches!(this, Kind::Contraction(_)).then_some(id);
                let open = !matches!(this, Kind::Opaque(_));
                self.units.push(Unit { members: vec![id], contraction, open, steady });
            }
        }
    }

    /// Whether a node that needs these units may become a member of one.
    fn may_join(&mut self, graph: &Graph, unit: UnitId, id: Id, needed: &[UnitId]) -> bool {
        let Unit { members, contraction, open, .. } = &self.units[unit];
        if !open || members.len() >= self.limits.most_members {
            return false;
        }
        if contraction.is_some() && reduces(graph, id) {
            return false;
        }
        let others: Vec<UnitId> = needed.iter().copied().filter(|&other| other != unit).collect();
        if self.order.reaches(unit, &others) {
            return false;
        }
        if self.bindings.is_some() && !self.fit(graph, &[&members[..], &[id]].concat()) {
            return false;
        }
        // A pointwise node directly on members lies where they lie.
        let direct = matches!(graph.nodes[id].kind(), Kind::Pointwise(_))
            && graph.nodes[id].operands().iter().all(|&operand| {
                computes(graph, operand) || self.unit_of.get(&root(graph, operand)) != Some(&unit)
            });
        let inside: Vec<Id> = graph.nodes[id]
            .operands()
            .iter()
            .copied()
            .filter(|o| self.unit_of.get(o) == Some(&unit))
            .collect();
        if direct && inside.len() == 1 {
            return true;
        }
        let mut members = members.clone();
        members.push(id);
        nest(graph, &members, *contraction).is_some()
    }

    /// Whether a kernel of these members touches no more buffers than the target allows.
    fn fit(&self, graph: &Graph, members: &[Id]) -> bool {
        self.bindings.as_ref().is_none_or(|bindings| bindings.fit(graph, members))
    }

    /// Merges `other` into `unit` where both lie on the same loops and nothing outside stands between them.
    fn merge(&mut self, graph: &Graph, unit: UnitId, other: UnitId) -> bool {
        let (a, b) = (&self.units[unit], &self.units[other]);
        let contraction = a.contraction.or(b.contraction);
        let folds = |unit: &Unit| unit.members.iter().any(|&id| reduces(graph, id));
        if !a.open
            || !b.open
            || a.steady != b.steady
            || a.members.is_empty()
            || b.members.is_empty()
            || a.members.len() + b.members.len() > self.limits.most_members
            || (a.contraction.is_some() && b.contraction.is_some())
            || (contraction.is_some() && (folds(a) || folds(b)))
        {
            return false;
        }
        if !self.order.may_merge(unit, other) {
            return false;
        }
        let mut members = [a.members.as_slice(), b.members.as_slice()].concat();
        members.sort_unstable();
        if !self.fit(graph, &members) {
            return false;
        }
        // What a product reads must be there before it starts.
        let feeds = |&operand: &Id| members.binary_search(&root(graph, operand)).is_ok();
        if contraction.is_some_and(|id| graph.nodes[id].inputs.iter().any(feeds)) {
            return false;
        }
        if nest(graph, &members, contraction).is_none() {
            return false;
        }
        self.order.merge(unit, other);
        for &id in &self.units[other].members {
            self.unit_of.insert(id, unit);
        }
        self.units[other].members.clear();
        self.units[unit].members = members;
        self.units[unit].contraction = contraction;
        true
    }

    /// Units that read the same large value over the same loops become one, so that it is read once: the two sums of a
    /// batch norm's gradient, or both moments of an optimizer.
    fn merge_siblings(&mut self, graph: &Graph) {
        let mut readers: HashMap<Id, Vec<UnitId>> = HashMap::new();
        for (unit, Unit { members, contraction, open, .. }) in self.units.iter().enumerate() {
            if !open || contraction.is_some() {
                continue;
            }
            let mut seen = HashSet::new();
            for &member in members {
                for &operand in graph.nodes[member].operands() {
                    let origin = root(graph, operand);
                    let large = graph.nodes[origin].shape.elements() >= self.limits.worth_sharing;
                    if large
                        && !matches!(graph.nodes[origin].kind(), Kind::Generator(_))
                        && seen.insert(origin)
                    {
                        readers.entry(origin).or_default().push(unit);
                    }
                }
            }
        }
        let mut shared: Vec<_> = readers.into_iter().filter(|(_, units)| units.len() > 1).collect();
        shared.sort_unstable();
        for (_, units) in shared {
            let most = self.limits.most_siblings;
            for (position, &first) in units.iter().enumerate().take(most) {
                for &second in units[position + 1..].iter().take(most) {
                    if !self.units[first].members.is_empty() && !self.units[second].members.is_empty() {
                        self.merge(graph, first, second);
                    }
                }
            }
        }
    }

    /// Says which node is in no unit, or in one that doesn't have it.
    pub fn check(&self, graph: &Graph) -> Result<(), String> {
        for (unit, Unit { members, .. }) in self.units.iter().enumerate() {
            if !members.is_sorted_by(|a, b| a < b) {
                return Err(format!("the members of unit {unit} aren't in order: {members:?}"));
            }
            if let Some(id) = members.iter().find(|id| self.unit_of.get(id) != Some(&unit)) {
                return Err(format!("%{id} is in unit {unit}, and said to be in {:?}", self.unit_of.get(id)));
            }
        }
        for id in (0..graph.nodes.len()).filter(|&id| computes(graph, id)) {
            let unit = self.unit_of.get(&id).and_then(|&unit| self.units.get(unit));
            if unit.is_none_or(|unit| unit.members.binary_search(&id).is_err()) {
                return Err(format!("%{id} {} is in no unit", graph.nodes[id].op.name()));
            }
        }
        Ok(())
    }

    /// The units whose results `unit` reads or waits for.
    pub fn needs(&self, graph: &Graph, unit: UnitId) -> Vec<UnitId> {
        let mut needed = self.needed(graph, &self.units[unit].members);
        needed.retain(|&other| other != unit);
        needed
    }

    /// The units whose results these nodes read or wait for, each once.
    fn needed(&self, graph: &Graph, nodes: &[Id]) -> Vec<UnitId> {
        let inputs = nodes.iter().flat_map(|&node| &graph.nodes[node].inputs);
        let units = inputs.filter_map(|&input| self.unit_of.get(&root(graph, input)).copied());
        let mut seen = HashSet::new();
        units.filter(|&unit| seen.insert(unit)).collect()
    }
}

/// Lays the members on common loops, or finds that they don't fit.
pub fn nest(graph: &Graph, members: &[Id], contraction: Option<Id>) -> Option<Nest> {
    Layer { graph, members, loops: Loops::default(), reduced: Vec::new(), align: HashMap::new() }
        .lay(contraction)
}

/// The state of laying a unit's members on loops.
struct Layer<'a> {
    graph: &'a Graph,
    members: &'a [Id],
    loops: Loops,
    reduced: Vec<LoopId>,
    align: HashMap<Id, Align>,
}

impl Layer<'_> {
    fn lay(mut self, contraction: Option<Id>) -> Option<Nest> {
        let reduce = self.members.iter().copied().find(|&id| reduces(self.graph, id));
        let (full_shape, full) = match (contraction, reduce) {
            (None, Some(id)) => {
                let Op::Reduce(_, axes) = &self.graph.nodes[id].op else {
                    return None;
                };
                let operand = self.graph.nodes[id].inputs[0];
                let shape = self.graph.nodes[operand].shape.clone();
                let full = self.loops.over(&shape);
                self.reduced = axes.iter().flat_map(|&axis| full[axis].clone()).collect();
                self.set(id, kept(&full, axes));
                self.push_up(operand, full.clone());
                (shape, full)
            }
            (Some(id), _) => {
                let shape = self.graph.nodes[id].shape.clone();
                let full = self.loops.over(&shape);
                self.set(id, full.clone());
                (shape, full)
            }
            (None, None) => {
                let id = self
                    .members
                    .iter()
                    .copied()
                    .max_by_key(|&id| (self.graph.nodes[id].shape.elements(), id))?;
                let shape = self.graph.nodes[id].shape.clone();
                let full = self.loops.over(&shape);
                self.set(id, full.clone());
                (shape, full)
            }
        };
        self.spread();
        // Siblings that only share what they read: of equal shape, so on the same loops.
        for &id in self.members.iter().rev() {
            if !self.align.contains_key(&id) && self.graph.nodes[id].shape == full_shape {
                self.set(id, full.clone());
                self.spread();
            }
            if let Op::Reduce(_, axes) = &self.graph.nodes[id].op
                && !self.align.contains_key(&id)
                && self.graph.nodes[self.graph.nodes[id].inputs[0]].shape == full_shape
            {
                self.set(id, kept(&full, axes));
                self.spread();
            }
        }
        self.verify(&full)
    }

    fn set(&mut self, id: Id, align: Align) {
        self.align.insert(id, align);
    }

    /// Passes an operand's alignment up through movements to the member it shows, if it is one.
    fn push_up(&mut self, mut id: Id, mut align: Align) -> bool {
        while moves(self.graph, id) {
            match self.loops.back(self.graph, id, &align) {
                Some(operand) => align = operand,
                None => return false,
            }
            id = self.graph.nodes[id].inputs[0];
        }
        let new = self.members.binary_search(&id).is_ok() && !self.align.contains_key(&id);
        if new {
            self.set(id, align);
        }
        new
    }

    /// Passes alignments on between members, users to operands and back, until nothing new is learned.
    fn spread(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for &id in self.members.iter().rev() {
                if let Some(align) = self.align.get(&id).cloned() {
                    for &operand in self.graph.nodes[id].operands() {
                        if let Some(align) = self.operand_align(id, &align) {
                            changed |= self.push_up(operand, align);
                        }
                    }
                }
            }
            for &id in self.members {
                if !self.align.contains_key(&id) {
                    let found =
                        self.graph.nodes[id].operands().iter().find_map(|&operand| self.pull_down(operand));
                    if let Some(align) = found {
                        let align = if let Op::Reduce(_, axes) = &self.graph.nodes[id].op {
                            kept(&align, axes)
                        } else {
                            align
                        };
                        self.set(id, align);
                        changed = true;
                    }
                }
            }
        }
    }

    /// The alignment of an operand, from that of the member it shows.
    fn pull_down(&mut self, operand: Id) -> Option<Align> {
        let mut path = Vec::new();
        let mut id = operand;
        while moves(self.graph, id) {
            path.push(id);
            id = self.graph.nodes[id].inputs[0];
        }
        let mut align = self.align.get(&id)?.clone();
        for movement in path.into_iter().rev() {
            align = self.loops.forth(self.graph, movement, &align)?;
        }
        Some(align)
    }

    /// How a member's operands lie: like the member, but for a reduction's folded axes.
    fn operand_align(&mut self, id: Id, align: &Align) -> Option<Align> {
        let Op::Reduce(_, axes) = &self.graph.nodes[id].op else {
            return Some(align.clone());
        };
        let shape = &self.graph.nodes[self.graph.nodes[id].inputs[0]].shape;
        let sizes: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
        let folded = self.loops.deal(&self.reduced.clone(), &sizes)?;
        let mut align = align.clone();
        for (list, &axis) in folded.into_iter().zip(axes) {
            align[axis] = list;
        }
        Some(align)
    }

    /// Every member must lie on all loops or on all that aren't reduced, each once, and every operand inside of the
    /// unit must lie as its user needs it.
    fn verify(mut self, full: &Align) -> Option<Nest> {
        for &id in self.members {
            let align = self.align.get(&id)?.clone();
            let wanted = self.operand_align(id, &align)?;
            for &operand in self.graph.nodes[id].operands() {
                let (mut at, mut align) = (operand, wanted.clone());
                if self.members.binary_search(&root(self.graph, operand)).is_err() {
                    continue;
                }
                while moves(self.graph, at) {
                    align = self.loops.back(self.graph, at, &align)?;
                    at = self.graph.nodes[at].inputs[0];
                }
                let own = self.align.get(&at)?;
                if self.loops.resolve(own) != self.loops.resolve(&align) {
                    return None;
                }
            }
        }
        let all = self.loops.resolve_list(&full.concat());
        let reduced: Vec<LoopId> = self.loops.resolve_list(&self.reduced);
        for &id in self.members {
            let align = self.loops.resolve(&self.align[&id]);
            let mut on: Vec<LoopId> = align.concat();
            let count = on.len();
            on.sort_unstable();
            on.dedup();
            let whole = count == on.len() && (count == all.len() || count == all.len() - reduced.len());
            let folded = on.iter().any(|id| reduced.contains(id));
            let lengths = align
                .iter()
                .zip(self.graph.nodes[id].shape.iter())
                .all(|(list, &size)| list.iter().map(|&id| self.loops.size(id)).product::<usize>() == size);
            if !whole || !lengths || (folded && count != all.len()) {
                return None;
            }
            self.align.insert(id, align);
        }
        Some(Nest { loops: self.loops, all, reduced, align: self.align })
    }
}

/// The alignment of a reduction's result: nothing along the folded axes.
fn kept(align: &Align, axes: &[usize]) -> Align {
    let mut align = align.clone();
    for &axis in axes {
        align[axis] = Vec::new();
    }
    align
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
