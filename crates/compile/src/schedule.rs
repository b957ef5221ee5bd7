//! The order of kernels, and which updates may write their variable in place.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use kiln_ir::Op;
use kiln_ir::graph::{Graph, Id};

use crate::cluster::{Clusters, Unit, UnitId};
use crate::kind::root;

/// Units in the order they run.
#[derive(Debug, Default)]
pub struct Schedule {
    /// Every unit, needs before users.
    pub order: Vec<UnitId>,
    /// For each update of the graph, whether its unit runs after everybody else who reads the old value.
    pub in_place: Vec<bool>,
}

impl Schedule {
    /// Says which unit runs before what it needs, or never; nothing where the order isn't decided yet.
    pub fn check(&self, graph: &Graph, clusters: &Clusters) -> Result<(), String> {
        if self.order.is_empty() {
            return Ok(());
        }
        let mut done = vec![false; clusters.units.len()];
        for &unit in &self.order {
            if let Some(needed) = clusters.needs(graph, unit).into_iter().find(|&needed| !done[needed]) {
                return Err(format!("unit {unit} runs before unit {needed}, which it needs"));
            }
            done[unit] = true;
        }
        match (0..done.len()).find(|&unit| !done[unit] && !clusters.units[unit].members.is_empty()) {
            Some(unit) => Err(format!("unit {unit} never runs")),
            None => Ok(()),
        }
    }
}

/// Orders the units: what is steady comes before all else; what a unit needs comes first; who reads a variable's old value comes before the one that
/// overwrites it; and of what is ready, the earliest in the graph, so that values are used while they are warm.
pub fn schedule(graph: &Graph, clusters: &Clusters) -> Schedule {
    let count = clusters.units.len();
    let mut needs: Vec<Vec<UnitId>> = (0..count).map(|unit| clusters.needs(graph, unit)).collect();
    let mut users: Vec<Vec<UnitId>> = vec![Vec::new(); count];
    for (unit, needed) in needs.iter().enumerate() {
        for &other in needed {
            users[other].push(unit);
        }
    }

    let readers = variable_readers(graph, clusters);
    let mut runs = clusters.order.clone();
    let mut in_place = Vec::with_capacity(graph.updates.len());
    for (variable, id) in &graph.updates {
        let writer = clusters.unit_of[id];
        let before: Vec<UnitId> = readers
            .get(&variable.address())
            .map(|units| units.iter().copied().filter(|&unit| unit != writer).collect())
            .unwrap_or_default();
        let free = runs.link(&before, writer);
        if free {
            for unit in before {
                needs[writer].push(unit);
                users[unit].push(writer);
            }
        }
        in_place.push(free);
    }

    let mut waiting: Vec<usize> = needs.iter().map(Vec::len).collect();
    let key = |unit: UnitId| {
        let Unit { members, steady, .. } = &clusters.units[unit];
        Reverse((!steady, members.first().copied().unwrap_or(0), unit))
    };
    let mut ready: BinaryHeap<_> = (0..count).filter(|&unit| waiting[unit] == 0).map(key).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(Reverse((.., unit))) = ready.pop() {
        if !clusters.units[unit].members.is_empty() {
            order.push(unit);
        }
        for &user in &users[unit] {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                ready.push(key(user));
            }
        }
    }
    Schedule { order, in_place }
}

/// The units that read each variable, by the variable's address.
fn variable_readers(graph: &Graph, clusters: &Clusters) -> HashMap<usize, Vec<UnitId>> {
    let mut readers: HashMap<usize, Vec<UnitId>> = HashMap::new();
    for (unit, members) in clusters.units.iter().map(|unit| &unit.members).enumerate() {
        for &member in members {
            for &input in &graph.nodes[member].inputs {
                if let Some(address) = variable_address(graph, root(graph, input)) {
                    let units = readers.entry(address).or_default();
                    if units.last() != Some(&unit) {
                        units.push(unit);
                    }
                }
            }
        }
    }
    readers
}

fn variable_address(graph: &Graph, id: Id) -> Option<usize> {
    if let Op::Var(variable) = &graph.nodes[id].op { Some(variable.address()) } else { None }
}
