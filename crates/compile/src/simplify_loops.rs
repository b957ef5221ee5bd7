//! A fused kernel made smaller: fewer loops, and nothing in its body that no store needs.

use crate::program::{Fused, Instruction, Operation, View};

/// Puts the loops of a kernel in another order.
pub fn reorder(fused: &mut Fused, order: &[usize]) {
    fn pick<T: Copy>(order: &[usize], list: &mut Vec<T>) {
        *list = order.iter().map(|&position| list[position]).collect();
    }
    pick(order, &mut fused.loops);
    pick(order, &mut fused.reduced);
    for view in fused.loads.iter_mut().chain(fused.stores.iter_mut().map(|store| &mut store.view)) {
        pick(order, &mut view.strides);
    }
}

/// Joins neighbouring loops that every view walks as one, and drops loops of one, up to position `end`.
///
/// Loops `[64, 10]` over a dense `[64, 10]` → `[640]`.
pub fn collapse(fused: &mut Fused, end: usize) {
    collapse_range(fused, 0, end);
    if fused.loops.is_empty() {
        fused.loops.push(1);
        fused.reduced.push(false);
        for view in fused.loads.iter_mut().chain(fused.stores.iter_mut().map(|store| &mut store.view)) {
            view.strides.push(0);
        }
    }
}

/// Joins loops at positions `start..end`.
pub fn collapse_range(fused: &mut Fused, start: usize, end: usize) {
    let indexed = |fused: &Fused, position: usize| {
        fused.body.iter().any(|instruction| instruction.operation == Operation::Index(position))
    };
    let mut end = end.min(fused.loops.len());
    let mut position = start;
    while position < end {
        if fused.loops[position] == 1 && end - start > 1 && !indexed(fused, position) {
            remove(fused, position);
            end -= 1;
            continue;
        }
        let joins = position + 1 < end
            && fused.reduced[position] == fused.reduced[position + 1]
            && !indexed(fused, position)
            && !indexed(fused, position + 1)
            && views(fused).all(|view| {
                view.strides[position] == view.strides[position + 1] * fused.loops[position + 1] as isize
            });
        if joins {
            fused.loops[position + 1] *= fused.loops[position];
            remove(fused, position);
            end -= 1;
            continue;
        }
        position += 1;
    }
}

fn views(fused: &Fused) -> impl Iterator<Item = &View> {
    fused.loads.iter().chain(fused.stores.iter().map(|store| &store.view))
}

/// Removes a loop; indices of later loops move up.
fn remove(fused: &mut Fused, position: usize) {
    fused.loops.remove(position);
    fused.reduced.remove(position);
    for view in fused.loads.iter_mut().chain(fused.stores.iter_mut().map(|store| &mut store.view)) {
        view.strides.remove(position);
    }
    for instruction in &mut fused.body {
        if let Operation::Index(index) = &mut instruction.operation
            && *index > position
        {
            *index -= 1;
        }
    }
}

/// Keeps the values of loads that a store [overwrites](Fused::overwritten) while they are still needed.
///
/// `v0 = w  v1 = fold x·v0  w = v1  y = x·v0·v1` → `v0 = w  v1 = cast v0 (kept)  v2 = fold x·v1  w = v2  y = x·v1·v2`
pub fn keep_overwritten(fused: &mut Fused) {
    let overwritten = fused.overwritten();
    if overwritten.is_empty() {
        return;
    }
    let mut place: Vec<usize> = Vec::with_capacity(fused.body.len());
    let mut body: Vec<Instruction> = Vec::with_capacity(fused.body.len() + overwritten.len());
    for (position, instruction) in std::mem::take(&mut fused.body).into_iter().enumerate() {
        let operation = instruction.operation.with_operands(|value| place[value]);
        body.push(Instruction { operation, ..instruction });
        if overwritten.contains(&position) {
            body.push(Instruction { operation: Operation::Cast(body.len() - 1), ..instruction });
        }
        place.push(body.len() - 1);
    }
    fused.stores.iter_mut().for_each(|store| store.value = place[store.value]);
    fused.body = body;
}

/// Removes instructions and loads that no store needs, and merges loads of the same elements.
pub fn drop_unused(fused: &mut Fused) {
    let mut needed = vec![false; fused.body.len()];
    for store in &fused.stores {
        needed[store.value] = true;
    }
    for position in (0..fused.body.len()).rev() {
        if needed[position] {
            for operand in fused.body[position].operation.operands() {
                needed[operand] = true;
            }
        }
    }
    let mut new_position = vec![0; fused.body.len()];
    let mut loads: Vec<View> = Vec::new();
    let mut body: Vec<Instruction> = Vec::new();
    for (position, mut instruction) in std::mem::take(&mut fused.body).into_iter().enumerate() {
        if !needed[position] {
            continue;
        }
        if let Operation::Load(load) = &mut instruction.operation {
            let view = &fused.loads[*load];
            *load = loads.iter().position(|other| other == view).unwrap_or_else(|| {
                loads.push(view.clone());
                loads.len() - 1
            });
        }
        instruction.operation = instruction.operation.with_operands(|value| new_position[value]);
        new_position[position] = body.iter().position(|other| *other == instruction).unwrap_or_else(|| {
            body.push(instruction);
            body.len() - 1
        });
    }
    for store in &mut fused.stores {
        store.value = new_position[store.value];
    }
    fused.loads = loads;
    fused.body = body;
}
