//! Trees out of a node's attributes: lists with an entry for each node, and lists with one for each weight of a leaf.

use std::collections::{HashMap, HashSet};

use kiln_ir::DType;

use super::forest::{Forest, Question};
use crate::call::Call;
use crate::error::Result;

/// Numbers of an attribute, or of the tensor that says the same in another type.
pub fn numbers(call: &Call, name: &str) -> Result<Vec<f64>> {
    match call.constant(&format!("{name}_as_tensor"))? {
        Some(value) => tensor(call, name, Some(value)),
        None => Ok(call.floats(name).unwrap_or_default().into_iter().map(f64::from).collect()),
    }
}

fn tensor(call: &Call, name: &str, value: Option<crate::value::Value>) -> Result<Vec<f64>> {
    let data = value.map(|value| call.now(&value)).transpose()?.flatten();
    let data = data.ok_or_else(|| call.fault(format!("{name} isn't set")))?;
    Ok(data.cast(DType::F64).scalars().into_iter().map(|number| number.as_f64()).collect())
}

/// A list that has as many entries as there should be.
fn sized<T>(call: &Call, name: &str, list: Vec<T>, count: usize) -> Result<Vec<T>> {
    match list.len() == count {
        true => Ok(list),
        false => Err(call.fault(format!("{name} has {} entries for {count}", list.len()))),
    }
}

/// Trees whose nodes are named by two numbers, those of the tree and of the node in it: the form up to version 3 of the operators.
/// Weights are in the attributes that start with `weighted`.
pub fn nodes(call: &Call, weighted: &str) -> Result<Forest> {
    let ints = |name: &str| call.ints(name).unwrap_or_default();
    let trees = ints("nodes_treeids");
    let count = trees.len();
    let of = |name: &str| sized(call, name, ints(name), count);
    let (ids, columns) = (of("nodes_nodeids")?, of("nodes_featureids")?);
    let (yes, no) = (of("nodes_truenodeids")?, of("nodes_falsenodeids")?);
    let modes = sized(call, "nodes_modes", call.texts("nodes_modes").unwrap_or_default(), count)?;
    let thresholds = sized(call, "nodes_values", numbers(call, "nodes_values")?, count)?;
    let missing = ints("nodes_missing_value_tracks_true");
    let mut forest = Forest::default();
    let mut places = HashMap::new();
    for (&tree, &id) in trees.iter().zip(&ids) {
        let node = forest.node();
        if places.insert((tree, id), node).is_some() {
            return Err(call.fault(format!("node {id} of tree {tree} comes twice")));
        }
    }
    let place = |tree: i64, id: i64| {
        places
            .get(&(tree, id))
            .copied()
            .ok_or_else(|| call.fault(format!("there is no node {id} in tree {tree}")))
    };
    let mut is_root = vec![true; count];
    for at in 0..count {
        let question = match modes[at].as_str() {
            "LEAF" => continue,
            "BRANCH_LEQ" => Question::AtMost,
            "BRANCH_LT" => Question::Less,
            "BRANCH_GTE" => Question::AtLeast,
            "BRANCH_GT" => Question::More,
            "BRANCH_EQ" => Question::Equal,
            "BRANCH_NEQ" => Question::Unequal,
            other => return Err(call.unknown(format!("a node of the kind {other}"))),
        };
        let ways = [place(trees[at], yes[at])?, place(trees[at], no[at])?];
        ways.iter().for_each(|&node| is_root[node] = false);
        let missing = missing.get(at).is_some_and(|&missing| missing != 0);
        forest.branch(at, columns[at], question, thresholds[at], ways, missing);
    }
    let mut rooted = HashSet::new();
    for node in (0..count).filter(|&node| is_root[node]) {
        if !rooted.insert(trees[node]) {
            return Err(call.fault(format!("tree {} has several roots", trees[node])));
        }
        forest.root(node);
    }
    if let Some(tree) = trees.iter().find(|tree| !rooted.contains(tree)) {
        return Err(call.fault(format!("tree {tree} has no root; its nodes lead in a circle")));
    }
    let of = |name: &str| format!("{weighted}_{name}");
    let weights = numbers(call, &of("weights"))?;
    let list = |name: &str| sized(call, &of(name), ints(&of(name)), weights.len());
    let (trees, ids, targets) = (list("treeids")?, list("nodeids")?, list("ids")?);
    for at in 0..weights.len() {
        let target =
            usize::try_from(targets[at]).map_err(|_| call.fault(format!("target {}", targets[at])))?;
        forest.weight(place(trees[at], ids[at])?, target, weights[at]);
    }
    Ok(forest)
}

/// Trees whose nodes and leaves stand in lists of their own: the form since version 5.
pub fn leaves(call: &Call) -> Result<Forest> {
    let ints = |name: &str| call.ints(name).unwrap_or_default();
    let columns = ints("nodes_featureids");
    let count = columns.len();
    let of = |name: &str| sized(call, name, ints(name), count);
    let (yes, no) = (of("nodes_truenodeids")?, of("nodes_falsenodeids")?);
    let (yes_is_leaf, no_is_leaf) = (of("nodes_trueleafs")?, of("nodes_falseleafs")?);
    let list = |name: &str| tensor(call, name, call.constant(name)?);
    let modes = sized(call, "nodes_modes", list("nodes_modes")?, count)?;
    let thresholds = sized(call, "nodes_splits", list("nodes_splits")?, count)?;
    let missing = ints("nodes_missing_value_tracks_true");
    let weights = list("leaf_weights")?;
    let targets = sized(call, "leaf_targetids", ints("leaf_targetids"), weights.len())?;
    let mut forest = Forest::default();
    (0..count + weights.len()).for_each(|_| {
        forest.node();
    });
    let place = |id: i64, leaf: i64| {
        let (first, most) = if leaf != 0 { (count, weights.len()) } else { (0, count) };
        let found = usize::try_from(id).ok().filter(|&id| id < most).map(|id| first + id);
        found.ok_or_else(|| call.fault(format!("there is no node {id} of {most}")))
    };
    // The members of each set stand behind one another, a NaN at the end of each.
    let members = if call.is_set("membership_values") { list("membership_values")? } else { Vec::new() };
    let mut members = members.split(|number| number.is_nan());
    for at in 0..count {
        let ways = [place(yes[at], yes_is_leaf[at])?, place(no[at], no_is_leaf[at])?];
        let missing = missing.get(at).is_some_and(|&missing| missing != 0);
        let question = match modes[at] as i64 {
            0 => Question::AtMost,
            1 => Question::Less,
            2 => Question::AtLeast,
            3 => Question::More,
            4 => Question::Equal,
            5 => Question::Unequal,
            6 => {
                let set =
                    members.next().ok_or_else(|| call.fault(format!("node {at} has no set of members")))?;
                member(&mut forest, at, columns[at], set, ways, missing);
                continue;
            }
            other => return Err(call.unknown(format!("a node of the kind {other}"))),
        };
        forest.branch(at, columns[at], question, thresholds[at], ways, missing);
    }
    for root in ints("tree_roots") {
        let root = place(root, 0)?;
        forest.root(root);
    }
    for (at, &weight) in weights.iter().enumerate() {
        let target =
            usize::try_from(targets[at]).map_err(|_| call.fault(format!("target {}", targets[at])))?;
        forest.weight(count + at, target, weight);
    }
    Ok(forest)
}

/// Whether a number is in a set: a question for each of its members.
fn member(forest: &mut Forest, node: usize, column: i64, set: &[f64], [yes, no]: [usize; 2], missing: bool) {
    let mut node = node;
    for (at, &number) in set.iter().enumerate() {
        let other = if at + 1 < set.len() { forest.node() } else { no };
        forest.branch(node, column, Question::Equal, number, [yes, other], missing);
        node = other;
    }
    if set.is_empty() {
        forest.branch(node, column, Question::Equal, f64::NAN, [no, no], false);
    }
}
