//! Forests in a model: how many trees, how deep, and which columns they gained by.

use std::fmt::Write as _;

use anyhow::Result;
use kiln_learn::prelude::*;
use kiln_learn::{Data, Model};

use crate::out::counted;

/// A line for each layer of trees; nothing of a model without any.
pub fn lines(model: &Model) -> Result<String> {
    let mut text = String::new();
    let states = model.layers().states();
    for (path, roots) in &states {
        let Some(layer) = path.strip_suffix(".roots") else { continue };
        let children = states.iter().find(|(other, _)| other.strip_suffix(".children") == Some(layer));
        let Some((_, children)) = children else { continue };
        if let Data::I32(list) = children.read()? {
            let trees = counted(roots.shape().elements(), "tree");
            writeln!(
                text,
                "forest    {layer}: {trees} of {}, {} deep",
                counted(list.len() / 4, "node"),
                depth(&list)
            )?;
        }
    }
    if let Some(gains) = model.about().training.get("gains").and_then(|gains| gains.as_object()) {
        let mut gains: Vec<(&String, f64)> =
            gains.iter().filter_map(|(name, share)| Some((name, share.as_f64()?))).collect();
        gains.sort_by(|a, b| b.1.total_cmp(&a.1));
        let said: Vec<String> =
            gains.iter().map(|(name, share)| format!("{name} {:.1} %", share * 100.0)).collect();
        writeln!(text, "gained by {}", said.join(", "))?;
    }
    Ok(text)
}

/// Steps from a root to the farthest leaf. A node stands before those it leads to.
fn depth(children: &[i32]) -> usize {
    let mut depths = vec![0usize; children.len() / 4];
    for node in 0..depths.len() {
        let below = depths[node] + 1;
        for &next in &children[node * 4..node * 4 + 4] {
            if next as usize > node
                && let Some(depth) = depths.get_mut(next as usize)
            {
                *depth = below.max(*depth);
            }
        }
    }
    depths.into_iter().max().unwrap_or(0)
}
