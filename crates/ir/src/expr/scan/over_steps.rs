//! What of a walk is done for all steps at once: before it, what follows from slices alone; behind it, what no state needs.
//!
//! `h = tanh(x·w + h·u)`, `y = h·v` → `z = x·w` for all steps in one product, a walk `h = tanh(z + h·u)` that stacks h, and
//! `y = h·v` in one product. In its gradient the sum over the steps of `hᵀ·g` is one product of what is stacked.

use std::collections::HashMap;
use std::sync::Arc;

use super::lift::{LiftCost, Lifted, cost, lift};
use crate::expr::Expr;
use crate::graph::{Graph, GraphNode, NodeId};
use crate::kind::OpKind;
use crate::op::{BinaryOp, ConvSpec, Op, ReduceOp, Scan, ScanResult, UnaryOp};

/// What is asked of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WantedValue {
    /// A state after the last step.
    Last(usize),
    /// A value in every step.
    Stacked(NodeId),
    /// A value's sum over all steps.
    Sum(NodeId),
}

/// What is wanted of a walk of one step at least, computed as it is best.
#[track_caller]
pub(crate) fn values(scan: Scan, operands: Vec<Expr>, wanted: &[WantedValue]) -> Vec<Expr> {
    let mut plan = StepsPlan::new(scan, operands);
    for &one in wanted {
        plan.ask(one);
    }
    let walk = plan.walk();
    wanted.iter().map(|&one| plan.value(&walk, one)).collect()
}

/// How a value for all steps comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StepsWay {
    /// It is the same in each.
    Same,
    /// From its operands' values for all steps.
    Lifted,
    /// The walk stacks it.
    Walked,
}

struct StepsPlan {
    scan: Scan,
    operands: Vec<Expr>,
    way: Vec<StepsWay>,
    /// What the walk reads as a sequence that was computed before it.
    before: Vec<bool>,
    /// What the walk is asked for.
    asked: Vec<ScanResult>,
    /// Values whose sums it keeps.
    summed: Vec<NodeId>,
}

/// The walk that is left, and its values.
struct WalkValues {
    values: HashMap<ScanResult, Expr>,
    sums: HashMap<NodeId, Expr>,
}

impl StepsPlan {
    fn new(scan: Scan, operands: Vec<Expr>) -> StepsPlan {
        let nodes = &scan.body.nodes;
        let count = nodes.len();
        let (mut varies, mut follows) = (vec![false; count], vec![false; count]);
        let (mut lifts, mut heavy) = (vec![false; count], vec![false; count]);
        for (id, node) in nodes.iter().enumerate() {
            if let Op::Input(position) = node.op {
                follows[id] = position < scan.states;
                varies[id] = position < scan.states + scan.sequences;
                lifts[id] = !follows[id];
                continue;
            }
            let moving: Vec<bool> = node.inputs.iter().map(|&input| varies[input]).collect();
            varies[id] = moving.contains(&true);
            follows[id] = node.inputs.iter().any(|&input| follows[input]);
            let cost = cost(&node.op, &moving);
            lifts[id] =
                cost != LiftCost::Alone && node.inputs.iter().all(|&input| lifts[input] || !varies[input]);
            heavy[id] = varies[id]
                && cost != LiftCost::Alone
                && (cost == LiftCost::Heavy || node.inputs.iter().any(|&input| heavy[input]));
        }
        let mut needed = vec![false; count];
        scan.body.outputs.iter().for_each(|&id| needed[id] = true);
        for id in (0..count).rev() {
            if needed[id] {
                nodes[id].inputs.iter().for_each(|&input| needed[input] = true);
            }
        }
        let eager = !scan.gradient.recompute;
        let way = |id: usize| {
            let behind = follows[id] && !needed[id] && heavy[id];
            match varies[id] {
                false => StepsWay::Same,
                true if !follows[id] && lifts[id] && (eager || matches!(nodes[id].op, Op::Input(_))) => {
                    StepsWay::Lifted
                }
                true if behind && eager => StepsWay::Lifted,
                true => StepsWay::Walked,
            }
        };
        let way: Vec<StepsWay> = (0..count).map(way).collect();
        let before = (0..count).map(|id| eager && !follows[id] && lifts[id] && heavy[id]).collect();
        StepsPlan { scan, operands, way, before, asked: Vec::new(), summed: Vec::new() }
    }

    fn node(&self, id: NodeId) -> &GraphNode {
        &self.scan.body.nodes[id]
    }

    /// Notes what the walk has to give.
    fn ask(&mut self, wanted: WantedValue) {
        let mut ahead = vec![wanted];
        while let Some(wanted) = ahead.pop() {
            match wanted {
                WantedValue::Last(state) => self.asked.push(ScanResult::Last(state)),
                WantedValue::Stacked(id) => match self.way[id] {
                    StepsWay::Same => {}
                    StepsWay::Lifted => {
                        ahead.extend(self.node(id).inputs.iter().map(|&id| WantedValue::Stacked(id)))
                    }
                    StepsWay::Walked => self.asked.push(ScanResult::Stacked(id)),
                },
                WantedValue::Sum(id) => match self.sum(id) {
                    SumOverSteps::Walked => self.summed.push(id),
                    SumOverSteps::Of(wanted) => ahead.extend(wanted),
                },
            }
        }
        self.asked.sort_unstable_by_key(|result| match *result {
            ScanResult::Last(state) => (0, state),
            ScanResult::Stacked(id) => (1, id),
        });
        self.asked.dedup();
        self.summed.sort_unstable();
        self.summed.dedup();
    }

    /// Makes the walk that is left, of what is asked for alone.
    fn walk(&self) -> WalkValues {
        let Scan { body, states, sequences, .. } = &self.scan;
        let mut taken = vec![false; body.nodes.len()];
        let mut live = vec![false; *states];
        let mut ahead: Vec<NodeId> = self.summed.clone();
        for &result in &self.asked {
            ahead.push(match result {
                ScanResult::Last(state) => {
                    live[state] = true;
                    body.outputs[state]
                }
                ScanResult::Stacked(id) => id,
            });
        }
        while let Some(id) = ahead.pop() {
            if std::mem::replace(&mut taken[id], true) || self.before[id] {
                continue;
            }
            ahead.extend(&body.nodes[id].inputs);
            if let Op::Input(position) = body.nodes[id].op
                && position < *states
            {
                live[position] = true;
                ahead.push(body.outputs[position]);
            }
        }
        let (mut values, mut sums) = (HashMap::new(), HashMap::new());
        if self.asked.is_empty() && self.summed.is_empty() {
            return WalkValues { values, sums };
        }
        let live: Vec<usize> = (0..*states).filter(|&state| live[state]).collect();
        let mut left = RemainingBody::default();
        for &state in &live {
            left.argument(&body.inputs[state].0, &self.operands[state]);
        }
        for &id in &self.summed {
            let node = self.node(id);
            left.argument(&node.shape, &Expr::full(node.shape.clone(), 0.0, node.dtype));
        }
        let arguments = |left: &mut RemainingBody, wanted: &dyn Fn(&GraphNode) -> bool| {
            for id in (0..body.nodes.len()).filter(|&id| taken[id] && !self.before[id]) {
                if let Op::Input(position) = body.nodes[id].op
                    && wanted(&body.nodes[id])
                {
                    let at = left.argument(&body.nodes[id].shape, &self.operands[position]);
                    left.place.insert(id, at);
                }
            }
        };
        let is_sequence = |position: usize| (*states..states + sequences).contains(&position);
        for id in (0..body.nodes.len()).filter(|&id| taken[id]) {
            if let Op::Input(position) = body.nodes[id].op
                && let Some(at) = live.iter().position(|&state| state == position)
            {
                left.place.insert(id, at);
            }
        }
        arguments(&mut left, &|node| matches!(node.op, Op::Input(position) if is_sequence(position)));
        for id in (0..body.nodes.len()).filter(|&id| taken[id] && self.before[id]) {
            let value = self.stacked(&HashMap::new(), id);
            let at = left.argument(&body.nodes[id].shape, &value);
            left.place.insert(id, at);
        }
        let slices = left.graph.inputs.len() - live.len() - self.summed.len();
        arguments(
            &mut left,
            &|node| matches!(node.op, Op::Input(position) if position >= states + sequences),
        );
        for id in (0..body.nodes.len()).filter(|&id| taken[id]) {
            if !left.place.contains_key(&id) {
                left.copy(id, &body.nodes[id]);
            }
        }
        left.graph.outputs = live.iter().map(|&state| left.place[&body.outputs[state]]).collect();
        for (number, id) in self.summed.iter().enumerate() {
            let sum = left.plus(live.len() + number, left.place[id]);
            left.graph.outputs.push(sum);
        }
        let scan = Arc::new(Scan {
            body: left.graph,
            states: live.len() + self.summed.len(),
            sequences: slices,
            ..self.scan.clone()
        });
        let operands: Vec<&Expr> = left.operands.iter().collect();
        let value = |result| Expr::apply(Op::Scan(scan.clone(), result), &operands, None);
        for &result in &self.asked {
            let now = match result {
                ScanResult::Last(state) => {
                    ScanResult::Last(live.iter().position(|&other| other == state).unwrap_or(0))
                }
                ScanResult::Stacked(id) => ScanResult::Stacked(left.place[&id]),
            };
            values.insert(result, value(now));
        }
        for (number, &id) in self.summed.iter().enumerate() {
            sums.insert(id, value(ScanResult::Last(live.len() + number)));
        }
        WalkValues { values, sums }
    }

    fn value(&self, walk: &WalkValues, wanted: WantedValue) -> Expr {
        match wanted {
            WantedValue::Last(state) => walk.values[&ScanResult::Last(state)].clone(),
            WantedValue::Stacked(id) => self.stacked(&walk.values, id),
            WantedValue::Sum(id) => self.summed(walk, id),
        }
    }

    /// A value in every step. Operands are lifted before their users.
    fn stacked(&self, walked: &HashMap<ScanResult, Expr>, id: NodeId) -> Expr {
        self.lifted(walked, id).in_all(self.scan.steps)
    }

    fn lifted(&self, walked: &HashMap<ScanResult, Expr>, root: NodeId) -> Lifted {
        let mut needed = vec![false; root + 1];
        needed[root] = true;
        for id in (0..=root).rev() {
            if needed[id] && self.way[id] != StepsWay::Walked {
                self.node(id).inputs.iter().for_each(|&input| needed[input] = true);
            }
        }
        let mut known: HashMap<NodeId, Lifted> = HashMap::new();
        for id in (0..=root).filter(|&id| needed[id]) {
            let node = self.node(id);
            let operands = || -> Vec<Lifted> {
                let copy = |x: &Lifted| Lifted { value: x.value.clone(), varies: x.varies };
                node.inputs.iter().map(|input| copy(&known[input])).collect()
            };
            let way = self.way[id];
            let value = if way == StepsWay::Walked {
                walked[&ScanResult::Stacked(id)].clone()
            } else if let Op::Input(position) = node.op {
                self.operands[position].clone()
            } else if way == StepsWay::Same {
                let operands = operands();
                let operands: Vec<&Expr> = operands.iter().map(|x| &x.value).collect();
                Expr::apply(node.op.clone(), &operands, Some((&node.shape, node.dtype)))
            } else {
                lift(&node.op, &operands(), self.scan.steps, &node.shape, node.dtype)
            };
            known.insert(id, Lifted { value, varies: way != StepsWay::Same });
        }
        known.remove(&root).unwrap_or_else(|| unreachable!("the root is needed"))
    }

    /// How a sum over all steps comes about.
    fn sum(&self, id: NodeId) -> SumOverSteps {
        let node = self.node(id);
        let stacked =
            |inputs: &[NodeId]| SumOverSteps::Of(inputs.iter().map(|&id| WantedValue::Stacked(id)).collect());
        if self.way[id] == StepsWay::Same {
            return stacked(&[id]);
        }
        if self.scan.gradient.recompute {
            return SumOverSteps::Walked;
        }
        if matches!(node.op, Op::Matmul | Op::ConvGradWeight(..) | Op::Reduce(ReduceOp::Sum, _)) {
            stacked(&node.inputs)
        } else if adds_up(&node.op) {
            SumOverSteps::Of(node.inputs.iter().map(|&id| WantedValue::Sum(id)).collect())
        } else if matches!(node.kind(), OpKind::Pointwise(_) | OpKind::Movement(_) | OpKind::Reduce(..)) {
            stacked(&[id])
        } else {
            SumOverSteps::Walked
        }
    }

    fn summed(&self, walk: &WalkValues, id: NodeId) -> Expr {
        let node = self.node(id);
        let steps = self.scan.steps;
        let all = |position: usize| self.stacked(&walk.values, node.inputs[position]);
        if self.way[id] == StepsWay::Same {
            return self.lifted(&walk.values, id).value * steps as f64;
        }
        if let Some(sum) = walk.sums.get(&id) {
            return sum.clone();
        }
        if node.op == Op::Matmul {
            one_product(&all(0), &all(1))
        } else if let Op::ConvGradWeight(spec, window) = &node.op {
            one_gradient(&all(0), &all(1), spec, window)
        } else if let Op::Reduce(ReduceOp::Sum, axes) = &node.op {
            let axes: Vec<usize> = [0].into_iter().chain(axes.iter().map(|axis| axis + 1)).collect();
            all(0).sum(&axes).reshape(node.shape.clone())
        } else if adds_up(&node.op) {
            let sums: Vec<Expr> = node.inputs.iter().map(|&id| self.summed(walk, id)).collect();
            Expr::apply(node.op.clone(), &sums.iter().collect::<Vec<_>>(), Some((&node.shape, node.dtype)))
        } else {
            self.stacked(&walk.values, id).sum(&[0]).reshape(node.shape.clone())
        }
    }
}

enum SumOverSteps {
    /// The walk adds it up.
    Walked,
    /// Of these.
    Of(Vec<WantedValue>),
}

/// Whether a sum of results is the result of sums.
fn adds_up(op: &Op) -> bool {
    matches!(op, Op::Binary(BinaryOp::Add) | Op::Unary(UnaryOp::Neg) | Op::Reshape | Op::Permute(_))
}

/// `a₀·b₀ + a₁·b₁ + …` → `[a₀ a₁ …]·[b₀; b₁; …]`.
fn one_product(a: &Expr, b: &Expr) -> Expr {
    let (shape, rank) = (a.shape(), a.rank());
    if rank < 3 {
        return a.matmul(b);
    }
    // [steps, batch…, m, k] → [batch…, m, steps·k], and [steps, batch…, k, n] → [batch…, steps·k, n].
    let batch: Vec<usize> = (1..rank - 2).collect();
    let (rows, length, columns) = (shape[rank - 2], shape[rank - 1], b.shape()[rank - 1]);
    let sizes = |more: [usize; 2]| [&shape[1..rank - 2], &more].concat();
    let left = a.permute(&[&batch[..], &[rank - 2, 0, rank - 1]].concat());
    let right = b.permute(&[&batch[..], &[0, rank - 2, rank - 1]].concat());
    let long = shape[0] * length;
    left.reshape(sizes([rows, long])).matmul(&right.reshape(sizes([long, columns])))
}

/// The gradients of all steps in one weight, as that of one larger batch.
fn one_gradient(image: &Expr, gradient: &Expr, spec: &ConvSpec, window: &[usize]) -> Expr {
    let joined = |x: &Expr| {
        let shape = x.shape();
        x.reshape([&[shape[0] * shape[1]], &shape[2..]].concat())
    };
    joined(image).conv_grad_weight(&joined(gradient), spec, window)
}

/// The body that is left, while it is written.
#[derive(Default)]
struct RemainingBody {
    graph: Graph,
    operands: Vec<Expr>,
    place: HashMap<NodeId, NodeId>,
}

impl RemainingBody {
    fn argument(&mut self, shape: &crate::shape::Shape, operand: &Expr) -> NodeId {
        let (dtype, at) = (operand.dtype(), operand.node().ok().map(|node| node.at));
        let op = Op::Input(self.graph.inputs.len());
        self.graph.inputs.push((shape.clone(), dtype));
        self.graph.nodes.push(GraphNode { op, inputs: Vec::new(), shape: shape.clone(), dtype, at });
        self.operands.push(operand.clone());
        self.graph.nodes.len() - 1
    }

    fn copy(&mut self, id: NodeId, node: &GraphNode) {
        let inputs = node.inputs.iter().map(|input| self.place[input]).collect();
        self.place.insert(id, self.graph.nodes.len());
        self.graph.nodes.push(GraphNode { inputs, ..node.clone() });
    }

    fn plus(&mut self, a: NodeId, b: NodeId) -> NodeId {
        let node = self.graph.nodes[b].clone();
        self.graph.nodes.push(GraphNode { op: Op::Binary(BinaryOp::Add), inputs: vec![a, b], ..node });
        self.graph.nodes.len() - 1
    }
}
