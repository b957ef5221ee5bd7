//! Where a computation can be cut that is done again and again: behind what comes out the same each time for the same input. Fine-tuning
//! computes what lies before the cut once for each row, and goes on from there.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::expr::{Expr, GradientRule};
use crate::kind::{Leaf, Movement, OpKind, Pointwise};
use crate::node::{Node, topological};
use crate::op::{Op, Shared, VariableHandle};

/// Where a computation can be cut: numbers of values among those that follow from the input and from what is kept alone. The same computation
/// built of any other number of rows is cut there too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    places: Vec<usize>,
    known: usize,
}

/// Tells variables that nobody changes.
pub type IsKept<'k> = dyn Fn(&Shared<dyn VariableHandle>) -> bool + 'k;

/// The nodes of a computation, and of those the ones that follow from an input and from what is kept alone, in order.
struct Fixed {
    nodes: Vec<Arc<Node>>,
    following: Vec<Arc<Node>>,
}

impl Fixed {
    fn of(roots: &[Expr], input: usize, is_kept: &IsKept) -> Result<Fixed> {
        let nodes = topological(&found(roots)?);
        let (mut after, mut fixed, mut following) = (HashSet::new(), HashSet::new(), Vec::new());
        for node in &nodes {
            let is_fixed = match node.op.kind() {
                OpKind::Leaf(Leaf::Input(position)) => position == input,
                OpKind::Leaf(Leaf::Var(variable)) => is_kept(variable),
                OpKind::Leaf(Leaf::Const(_))
                | OpKind::Generator(_)
                | OpKind::Pointwise(_)
                | OpKind::Reduce(..)
                | OpKind::Movement(_)
                | OpKind::Contraction(_)
                | OpKind::Opaque(_) => node.inputs.iter().all(|operand| fixed.contains(&operand.id)),
            };
            let is_input = matches!(node.op, Op::Input(position) if position == input);
            if is_input || node.inputs.iter().any(|operand| after.contains(&operand.id)) {
                after.insert(node.id);
            }
            if is_fixed {
                fixed.insert(node.id);
                if after.contains(&node.id) {
                    following.push(node.clone());
                }
            }
        }
        Ok(Fixed { nodes, following })
    }
}

/// The values of `input` that everything else follows from which isn't the same each time: those that are computed of `input` and of kept
/// variables alone, and are used by what isn't. None of them is a mere view of something as small. `input` has `rows` rows, a prime number that no other
/// axis is a multiple of: a value without it is of several rows together, and none of each. All of them are computed on the way to `others` too, which
/// are built of the same input.
///
/// # Errors
/// The first error that a root carries.
pub fn frontier(
    roots: &[Expr],
    others: &[Expr],
    (input, rows): (usize, usize),
    is_kept: &IsKept,
) -> Result<Frontier> {
    let Fixed { nodes, following } = Fixed::of(roots, input, is_kept)?;
    let hasher = RandomState::new();
    let structure = structures(&nodes, &hasher);
    let of_others = structures(&topological(&found(others)?), &hasher);
    let shared: HashSet<u64> = of_others.into_values().collect();
    let mut by_row = HashSet::new();
    for node in following.iter().filter(|node| shared.contains(&structure[&node.id])) {
        // What follows from several rows together is none of each either.
        let own = node.inputs.iter().all(|operand| {
            by_row.contains(&operand.id)
                || following.binary_search_by_key(&operand.id, |known| known.id).is_err()
        });
        if own && node.shape.elements() % rows.max(1) == 0 {
            by_row.insert(node.id);
        }
    }
    let users = nodes.iter().filter(|node| !by_row.contains(&node.id));
    let used = users.flat_map(|node| &node.inputs).filter(|node| by_row.contains(&node.id));
    let edge: HashSet<u64> = used.cloned().map(|node| looked_at(node).id).collect();
    let places = (0..following.len()).filter(|&place| edge.contains(&following[place].id)).collect();
    Ok(Frontier { places, known: following.len() })
}

impl Frontier {
    /// The values there, of the same computation built of any number of rows.
    ///
    /// # Errors
    /// The first error that a root carries, and where it is another computation.
    pub fn values(&self, roots: &[Expr], input: usize, is_kept: &IsKept) -> Result<Vec<Expr>> {
        let Fixed { following, .. } = Fixed::of(roots, input, is_kept)?;
        if following.len() != self.known {
            let message =
                format!("{} values are the same each time, and {} were", following.len(), self.known);
            return Err(Error::new(ErrorKind::Value, "frontier", message));
        }
        let own = self.places.iter().filter_map(|&place| following.get(place).cloned());
        Ok(own.map(Expr::from).collect())
    }
}

/// What a value is a view of, as far as that is no larger.
fn looked_at(mut node: Arc<Node>) -> Arc<Node> {
    loop {
        let is_view = match node.op.kind() {
            OpKind::Movement(Movement::Reshape | Movement::Permute(_) | Movement::Expand)
            | OpKind::Pointwise(Pointwise::Identity) => true,
            OpKind::Movement(Movement::Slice(_))
            | OpKind::Pointwise(
                Pointwise::Unary(_) | Pointwise::Binary(_) | Pointwise::Select | Pointwise::Cast(_),
            )
            | OpKind::Leaf(_)
            | OpKind::Generator(_)
            | OpKind::Reduce(..)
            | OpKind::Contraction(_)
            | OpKind::Opaque(_) => false,
        };
        match node.inputs.first() {
            Some(of) if is_view => node = of.clone(),
            _ => return node,
        }
    }
}

/// The roots computed from `values` in the place of `known`. What is replaced is found by how it is computed: the roots may have been built anew
/// since `known` was.
///
/// # Errors
/// The first error that one of them carries.
pub fn replaced(roots: &[Expr], known: &[Expr], values: &[Expr]) -> Result<Vec<Expr>> {
    let instead = Instead { known: known.to_vec(), values: values.to_vec() };
    instead.apply(roots)
}

/// Values that stand in the place of others.
#[derive(Clone, Debug)]
struct Instead {
    known: Vec<Expr>,
    values: Vec<Expr>,
}

impl Instead {
    fn apply(&self, roots: &[Expr]) -> Result<Vec<Expr>> {
        let (known, values, own) = (found(&self.known)?, found(&self.values)?, found(roots)?);
        let hasher = RandomState::new();
        let of_known = structures(&topological(&known), &hasher);
        let mut instead: HashMap<u64, &Arc<Node>> = HashMap::new();
        for (node, value) in known.iter().zip(&values) {
            instead.insert(of_known[&node.id], value);
        }
        let nodes = topological(&own);
        let structure = structures(&nodes, &hasher);
        let mut new: HashMap<u64, Arc<Node>> = HashMap::with_capacity(nodes.len());
        for node in &nodes {
            let made = match instead.get(&structure[&node.id]) {
                Some(value) => Arc::clone(value),
                None => {
                    let inputs: Vec<_> = node.inputs.iter().map(|operand| new[&operand.id].clone()).collect();
                    match inputs.iter().zip(&node.inputs).all(|(new, old)| new.id == old.id) {
                        true => node.clone(),
                        false => {
                            let mut op = node.op.clone();
                            if let Op::Rule(rule) = &node.op {
                                // What a rule holds of the values before is replaced in what it gives.
                                let (rule, instead) = (rule.0.clone(), self.clone());
                                op = Op::Rule(Shared(Arc::new(RuleInstead { rule, instead })));
                            }
                            Node::new(op, inputs, node.shape.clone(), node.dtype, node.at)
                        }
                    }
                }
            };
            new.insert(node.id, made);
        }
        Ok(own.iter().map(|node| Expr::from(new[&node.id].clone())).collect())
    }
}

/// A rule for a gradient that was written for values in whose place others stand.
#[derive(Debug)]
struct RuleInstead {
    rule: Arc<dyn GradientRule>,
    instead: Instead,
}

impl GradientRule for RuleInstead {
    fn gradient(&self, arguments: &[Expr], value: &Expr, upstream: &Expr) -> Vec<Option<Expr>> {
        let given = self.rule.gradient(arguments, value, upstream).into_iter();
        let put = |given: Expr| match self.instead.apply(std::slice::from_ref(&given)) {
            Ok(mut made) => made.pop().unwrap_or(given),
            Err(error) => Expr::poisoned(error),
        };
        given.map(|given| given.map(put)).collect()
    }
}

/// Whether a value is computed from the argument of this number.
///
/// # Errors
/// The first error that a root carries.
pub fn reads(roots: &[Expr], input: usize) -> Result<bool> {
    let nodes = topological(&found(roots)?);
    Ok(nodes.iter().any(|node| matches!(node.op, Op::Input(position) if position == input)))
}

fn found(values: &[Expr]) -> Result<Vec<Arc<Node>>> {
    values.iter().map(|value| value.node().cloned().map_err(|error| error.as_ref().clone())).collect()
}

/// A number for each node that says how it is computed: equal work, equal numbers. What matters to gradients alone is what it is of.
fn structures(nodes: &[Arc<Node>], hasher: &RandomState) -> HashMap<u64, u64> {
    let mut of: HashMap<u64, u64> = HashMap::with_capacity(nodes.len());
    for node in nodes {
        let operands: Vec<u64> = node.inputs.iter().map(|operand| of[&operand.id]).collect();
        let sized = (&operands, &node.shape, node.dtype);
        let number = if let Op::StopGradient | Op::Barrier(_) | Op::Rule(_) = node.op {
            operands.first().copied().unwrap_or(0)
        } else if let Op::Const(data) = &node.op {
            // Numbers that a pass makes anew are other ones each time.
            hasher.hash_one((data.to_le_bytes(), sized))
        } else {
            hasher.hash_one((&node.op, sized))
        };
        of.insert(node.id, number);
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Data;
    use crate::dtype::DType;
    use crate::op::{BinaryOp, ReduceOp, UnaryOp};

    fn input(position: usize) -> Expr {
        Expr::input(position, [2, 3], DType::F32)
    }

    fn edge_of(whole: &Expr) -> Vec<Expr> {
        let roots = std::slice::from_ref(whole);
        frontier(roots, roots, (0, 2), &|_| true).unwrap().values(roots, 0, &|_| true).unwrap()
    }

    #[test]
    fn it_is_cut_behind_what_follows_from_the_input_alone() {
        // exp(x) is the same each time; what another argument joins isn't.
        let body = || {
            let fixed = input(0).unary(UnaryOp::Exp);
            let viewed = fixed.reshape([3, 2]).reshape([2, 3]);
            let noisy = viewed.binary(BinaryOp::Add, &input(1));
            (fixed, noisy.binary(BinaryOp::Mul, &Expr::full([2, 3], 2.0, DType::F32)))
        };
        let (fixed, whole) = body();
        let edge = edge_of(&whole);
        let ids = |all: &[Expr]| all.iter().map(|one| one.node().unwrap().id).collect::<Vec<_>>();
        assert_eq!(ids(&edge), ids(&[fixed]), "the view of it is no value of its own");

        // The same work built again is cut at the same place.
        let (_, again) = body();
        let kept = Expr::constant(Data::F32(vec![1.0; 6]), [2, 3]);
        let rest = replaced(std::slice::from_ref(&again), &edge, &[kept]).unwrap();
        assert!(reads(&[again], 0).unwrap());
        assert!(!reads(&rest, 0).unwrap() && reads(&rest, 1).unwrap());
    }

    #[test]
    fn what_is_of_several_rows_together_is_none_of_each() {
        let own = input(0).unary(UnaryOp::Exp);
        let mean = own.reduce(ReduceOp::Sum, &[0]);
        let whole = own.binary(BinaryOp::Sub, &mean).binary(BinaryOp::Mul, &input(1));
        let edge = edge_of(&whole);
        assert_eq!(edge.len(), 1);
        assert!(matches!(edge[0].node().unwrap().op, Op::Unary(UnaryOp::Exp)));
    }

    #[test]
    fn nothing_is_before_what_all_of_it_differs_from_time_to_time() {
        let whole = input(0).binary(BinaryOp::Add, &input(1)).unary(UnaryOp::Exp);
        let edge = edge_of(&whole);
        assert_eq!(edge.len(), 1);
        assert!(matches!(edge[0].node().unwrap().op, Op::Input(0)));
    }
}
