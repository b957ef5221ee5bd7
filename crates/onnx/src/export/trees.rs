//! Forests, whose nodes and leaves are attributes of one operator.

use kiln_ir::{DType, Data};
use kiln_nn::layers::check_trees;

use super::builder::ML;
use super::trace::Pair;
use super::{Attribute, GraphWriter};
use crate::error::{Error, Result};

impl GraphWriter<'_> {
    /// The sum over trees of what their leaves say, for each output.
    pub(super) fn forest(&mut self, inputs: &[Pair]) -> Result<String> {
        let name = self.value(&inputs[0])?;
        let x = if inputs[0].a.dtype == DType::F32 { name } else { self.cast(&name, DType::F32) };
        let ints = |pair: &Pair| -> Result<Vec<i32>> {
            let Data::I32(list) = self.numbers(pair)?.cast(DType::I32) else { return Ok(Vec::new()) };
            Ok(list)
        };
        let floats = |pair: &Pair| -> Result<Vec<f32>> {
            let Data::F32(list) = self.numbers(pair)?.cast(DType::F32) else { return Ok(Vec::new()) };
            Ok(list)
        };
        let (roots, columns, children) = (ints(&inputs[1])?, ints(&inputs[2])?, ints(&inputs[4])?);
        let (thresholds, values) = (floats(&inputs[3])?, floats(&inputs[5])?);
        let (targets, base) = (ints(&inputs[6])?, floats(&inputs[7])?);
        check_trees(&roots, &children, &targets, base.len())?;
        let mut nodes = Lists::default();
        for (tree, &root) in roots.iter().enumerate() {
            let end = roots.get(tree + 1).map_or(columns.len(), |&end| end as usize);
            let within = |node: i32| i64::from(node - root);
            for node in root as usize..end {
                let Some(&[less, equal, more, none]) = children[node * 4..].first_chunk() else { continue };
                let is_leaf = less == node as i32;
                if (equal != less && equal != more) || (none != less && none != more) {
                    return Err(Error::network(format!(
                        "node {node} leads three ways, which ONNX has no word for"
                    )));
                }
                nodes.trees.push(tree as i64);
                nodes.ids.push(within(node as i32));
                nodes.columns.push(if is_leaf { 0 } else { columns[node].into() });
                nodes.thresholds.push(if is_leaf { 0.0 } else { thresholds[node] });
                nodes.modes.push(mode(is_leaf, less == equal).to_string());
                nodes.yes.push(if is_leaf { 0 } else { within(less) });
                nodes.no.push(if is_leaf { 0 } else { within(more) });
                nodes.missing.push(i64::from(!is_leaf && none == less));
                if is_leaf {
                    nodes.leaves.push((tree as i64, within(node as i32), targets[tree].into(), values[node]));
                }
            }
        }
        let mut attributes = nodes.attributes();
        attributes.push(("n_targets", Attribute::Int(base.len() as i64)));
        attributes.push(("base_values", Attribute::Floats(base)));
        Ok(self.builder.node_of(ML, "TreeEnsembleRegressor", &[&x], attributes, 1).remove(0))
    }
}

/// What a node asks: whether a number is at most its threshold, or less where an equal one goes the other way.
fn mode(is_leaf: bool, equal_is_yes: bool) -> &'static str {
    match (is_leaf, equal_is_yes) {
        (true, _) => "LEAF",
        (false, true) => "BRANCH_LEQ",
        (false, false) => "BRANCH_LT",
    }
}

/// The operator's lists, an entry for each node; of leaves tree, node, output and value.
#[derive(Default)]
struct Lists {
    trees: Vec<i64>,
    ids: Vec<i64>,
    columns: Vec<i64>,
    thresholds: Vec<f32>,
    modes: Vec<String>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing: Vec<i64>,
    leaves: Vec<(i64, i64, i64, f32)>,
}

impl Lists {
    fn attributes(self) -> Vec<(&'static str, Attribute)> {
        let leaf =
            |part: fn(&(i64, i64, i64, f32)) -> i64| Attribute::Ints(self.leaves.iter().map(part).collect());
        vec![
            ("target_treeids", leaf(|leaf| leaf.0)),
            ("target_nodeids", leaf(|leaf| leaf.1)),
            ("target_ids", leaf(|leaf| leaf.2)),
            ("target_weights", Attribute::Floats(self.leaves.iter().map(|leaf| leaf.3).collect())),
            ("nodes_treeids", Attribute::Ints(self.trees)),
            ("nodes_nodeids", Attribute::Ints(self.ids)),
            ("nodes_featureids", Attribute::Ints(self.columns)),
            ("nodes_values", Attribute::Floats(self.thresholds)),
            ("nodes_modes", Attribute::Texts(self.modes)),
            ("nodes_truenodeids", Attribute::Ints(self.yes)),
            ("nodes_falsenodeids", Attribute::Ints(self.no)),
            ("nodes_missing_value_tracks_true", Attribute::Ints(self.missing)),
        ]
    }
}
