//! The memory plan: every temporary gets its place in one arena, and temporaries whose lives don't overlap share.

use crate::program::{Buffer, BufferId, Place, Program, View, Work};

/// Arena places are multiples of this many bytes: a cache line, and a vector.
const ALIGNMENT: usize = 64;

/// The kernels between which a temporary is alive, and whose place it takes over.
#[derive(Clone, Debug)]
struct Life {
    buffer: BufferId,
    first: usize,
    last: usize,
    bytes: usize,
}

/// Gives every arena buffer its offset: in place of an operand that dies where it is made if the kernel allows it, else
/// in the first gap that is free for its whole life, largest buffers first.
pub fn plan(program: &mut Program) {
    let mut lives = lives(program);
    let owner = take_over(program, &mut lives);
    lives.sort_by_key(|life| (std::cmp::Reverse(life.bytes), life.first));
    let mut placed: Vec<(Life, usize)> = Vec::with_capacity(lives.len());
    let mut arena = 0;
    for life in lives {
        let mut taken: Vec<(usize, usize)> = placed
            .iter()
            .filter(|(other, _)| other.first <= life.last && life.first <= other.last)
            .map(|(other, offset)| (*offset, offset + other.bytes))
            .collect();
        taken.sort_unstable();
        let mut offset = 0;
        for (start, end) in taken {
            if offset + life.bytes <= start {
                break;
            }
            offset = offset.max(end);
        }
        arena = arena.max(offset + life.bytes);
        placed.push((life, offset));
    }
    let mut offsets = vec![0; program.buffers.len()];
    for (life, offset) in &placed {
        offsets[life.buffer] = *offset;
    }
    for id in 0..program.buffers.len() {
        if let Place::Arena(offset) = &mut program.buffers[id].place {
            *offset = offsets[resolve(&owner, id)];
        }
    }
    program.arena = arena;
}

fn lives(program: &Program) -> Vec<Life> {
    let mut span: Vec<Option<(usize, usize)>> = vec![None; program.buffers.len()];
    for (position, kernel) in program.kernels.iter().enumerate() {
        for view in kernel.work.reads().into_iter().chain(kernel.work.writes()) {
            let (_, last) = span[view.buffer].get_or_insert((position, position));
            *last = position;
        }
    }
    let bytes = |buffer: &Buffer| (buffer.elements * buffer.dtype.size()).next_multiple_of(ALIGNMENT);
    let arena = |id: &BufferId| matches!(program.buffers[*id].place, Place::Arena(_));
    (0..program.buffers.len())
        .filter(arena)
        .filter_map(|buffer| {
            let (first, last) = span[buffer]?;
            Some(Life { buffer, first, last, bytes: bytes(&program.buffers[buffer]) })
        })
        .collect()
}

/// Lets a fused store take the place of a load that dies in the same kernel, where both go through memory in the same
/// way. The merged lives stay under the first owner; the result maps each buffer to the one whose place it has.
///
/// `b = relu(a)`, `a` used nowhere else → `b` lies where `a` lay.
fn take_over(program: &Program, lives: &mut Vec<Life>) -> Vec<BufferId> {
    let mut owner: Vec<BufferId> = (0..program.buffers.len()).collect();
    let mut life_of: Vec<Option<usize>> = vec![None; program.buffers.len()];
    for (position, life) in lives.iter().enumerate() {
        life_of[life.buffer] = Some(position);
    }
    let mut born: Vec<usize> = (0..lives.len()).collect();
    born.sort_by_key(|&position| lives[position].first);
    let mut gone = vec![false; lives.len()];
    for position in born {
        let Life { buffer, first, .. } = lives[position];
        let Some(source) = dying_twin(program, buffer, first) else {
            continue;
        };
        let source = resolve(&owner, source);
        let Some(other) = life_of[source] else { continue };
        if gone[other] || lives[other].last != first || lives[other].bytes != lives[position].bytes {
            continue;
        }
        lives[other].last = lives[position].last;
        gone[position] = true;
        owner[buffer] = source;
    }
    let mut keep = gone.iter().map(|gone| !gone);
    lives.retain(|_| keep.next().unwrap_or(true));
    owner
}

/// The arena buffer that the kernel making `buffer` reads only through a load with the very strides of the store.
fn dying_twin(program: &Program, buffer: BufferId, kernel: usize) -> Option<BufferId> {
    let (fused, contracted): (_, Vec<&View>) = match &program.kernels[kernel].work {
        Work::Fused(fused) => (fused, vec![]),
        Work::Matmul(matmul) => (&matmul.tail, vec![&matmul.a, &matmul.b]),
        Work::Conv(conv) => (&conv.tail, vec![&conv.a, &conv.b]),
        _ => return None,
    };
    // With reductions, loads are read again after the first stores.
    if fused.reduced.contains(&true) {
        return None;
    }
    let mut stores = fused.stores.iter().filter(|store| store.view.buffer == buffer);
    let store = stores.next()?;
    if stores.next().is_some() {
        return None;
    }
    let twin = |load: &&View| {
        let id = load.buffer;
        matches!(program.buffers[id].place, Place::Arena(_))
            && program.buffers[id].dtype == program.buffers[buffer].dtype
            && load.offset == store.view.offset
            && load.strides == store.view.strides
            && fused.loads.iter().filter(|other| other.buffer == id).count() == 1
            && fused.stores.iter().all(|other| other.view.buffer != id)
            && contracted.iter().all(|other| other.buffer != id)
    };
    fused.loads.iter().find(twin).map(|load| load.buffer)
}

fn resolve(owner: &[BufferId], mut id: BufferId) -> BufferId {
    while owner[id] != id {
        id = owner[id];
    }
    id
}
