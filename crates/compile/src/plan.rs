//! The memory plan: every temporary gets its place in one arena, and temporaries whose lives don't overlap share.

use std::collections::{BTreeMap, BTreeSet};

use crate::program::{Buffer, BufferId, BufferPlace, Program, Repeat, View};

/// The kernels between which a temporary is alive, and whose place it takes over.
#[derive(Clone, Debug)]
struct LiveInterval {
    buffer: BufferId,
    first: usize,
    last: usize,
    bytes: usize,
}

/// More temporaries than this are placed in the order of time.
const MANY: usize = 2048;

/// Gives every arena buffer its offset: in place of an operand that dies where it is made if the kernel allows it, else
/// where nothing else is during its whole life. Offsets are multiples of `alignment` bytes. Gives how many places there are.
pub fn plan(program: &mut Program, alignment: usize) -> usize {
    let mut lives = lives(program, alignment);
    let owner = take_over(program, &mut lives);
    let mut offsets = vec![0; program.buffers.len()];
    program.arena = match lives.len() {
        0..=MANY => by_size(&mut lives, &mut offsets),
        _ => by_time(&mut lives, &mut offsets),
    };
    for id in 0..program.buffers.len() {
        if let BufferPlace::Arena(offset) = &mut program.buffers[id].place {
            *offset = offsets[resolve(&owner, id)];
        }
    }
    lives.len()
}

/// The largest first, each in the first gap that is free for its whole life. Tighter than the order of time (by a fifth
/// for a small convolutional network), but looks at every pair.
fn by_size(lives: &mut [LiveInterval], offsets: &mut [usize]) -> usize {
    lives.sort_by_key(|life| (std::cmp::Reverse(life.bytes), life.first));
    let mut arena = 0;
    for (position, life) in lives.iter().enumerate() {
        let mut taken: Vec<(usize, usize)> = lives[..position]
            .iter()
            .filter(|other| other.first <= life.last && life.first <= other.last)
            .map(|other| (offsets[other.buffer], offsets[other.buffer] + other.bytes))
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
        offsets[life.buffer] = offset;
    }
    arena
}

/// Kernel by kernel, each in the smallest gap that it fits at that time.
fn by_time(lives: &mut [LiveInterval], offsets: &mut [usize]) -> usize {
    // Of those made at once the largest first: they find a gap less easily.
    lives.sort_by_key(|life| (life.first, std::cmp::Reverse(life.bytes)));
    let mut ends: Vec<usize> = (0..lives.len()).collect();
    ends.sort_by_key(|&life| lives[life].last);
    let mut ended = ends.into_iter().peekable();
    let mut arena = Arena::default();
    for life in lives.iter() {
        while let Some(dead) = ended.next_if(|&dead| lives[dead].last < life.first) {
            arena.free(offsets[lives[dead].buffer], lives[dead].bytes);
        }
        offsets[life.buffer] = arena.take(life.bytes);
    }
    arena.end
}

/// The gaps of the arena at one time.
#[derive(Debug, Default)]
struct Arena {
    end: usize,
    /// Their sizes by offset; no two touch.
    gaps: BTreeMap<usize, usize>,
    /// The same as sizes and offsets.
    by_size: BTreeSet<(usize, usize)>,
}

impl Arena {
    /// The offset of so many bytes from now on: in the smallest gap that has them, else at the end.
    fn take(&mut self, bytes: usize) -> usize {
        if let Some(&(size, offset)) = self.by_size.range((bytes, 0)..).next() {
            self.remove(offset, size);
            self.insert(offset + bytes, size - bytes);
            return offset;
        }
        let last = self.gaps.last_key_value().map(|(&offset, &size)| (offset, size));
        let offset = match last {
            // A gap at the end grows.
            Some((offset, size)) if offset + size == self.end => {
                self.remove(offset, size);
                offset
            }
            _ => self.end,
        };
        self.end = offset + bytes;
        offset
    }

    /// Gives bytes back; gaps that touch become one.
    fn free(&mut self, mut offset: usize, mut bytes: usize) {
        if let Some((&before, &size)) = self.gaps.range(..offset).next_back()
            && before + size == offset
        {
            self.remove(before, size);
            (offset, bytes) = (before, size + bytes);
        }
        if let Some(&size) = self.gaps.get(&(offset + bytes)) {
            self.remove(offset + bytes, size);
            bytes += size;
        }
        self.insert(offset, bytes);
    }

    fn insert(&mut self, offset: usize, bytes: usize) {
        if bytes > 0 {
            self.gaps.insert(offset, bytes);
            self.by_size.insert((bytes, offset));
        }
    }

    fn remove(&mut self, offset: usize, bytes: usize) {
        self.gaps.remove(&offset);
        self.by_size.remove(&(bytes, offset));
    }
}

/// From the first kernel that touches each buffer to the last in which it is alive, by buffer.
pub(crate) fn spans(program: &Program) -> Vec<Option<(usize, usize)>> {
    let mut span: Vec<Option<(usize, usize)>> = vec![None; program.buffers.len()];
    let mut parts = vec![false; program.buffers.len()];
    for (position, kernel) in program.kernels.iter().enumerate() {
        for view in kernel.work.reads().into_iter().chain(kernel.work.writes()) {
            let buffer = program.root(view.buffer);
            parts[buffer] |= buffer != view.buffer;
            let (_, last) = span[buffer].get_or_insert((position, position));
            *last = position;
        }
    }
    for (buffer, span) in span.iter_mut().enumerate() {
        let Some((first, last)) = span else { continue };
        // What a step leaves for the next, or finds from before all of them, lives through every step.
        for Repeat { kernels, .. } in program.repeats.iter().rev() {
            let touched = *first < kernels.end && kernels.start <= *last;
            let within = kernels.contains(first) && kernels.contains(last);
            if touched && (parts[buffer] || !within) {
                (*first, *last) = ((*first).min(kernels.start), (*last).max(kernels.end - 1));
            }
        }
        if *first < program.hoisted && *last >= program.hoisted {
            // It is read at every run, and stored once.
            *last = program.kernels.len();
        }
    }
    span
}

fn lives(program: &Program, alignment: usize) -> Vec<LiveInterval> {
    let spans = spans(program);
    let bytes = |buffer: &Buffer| (buffer.elements * buffer.dtype.size()).next_multiple_of(alignment);
    let arena = |id: &BufferId| matches!(program.buffers[*id].place, BufferPlace::Arena(_));
    let life = |buffer: BufferId| {
        let (first, last) = spans[buffer]?;
        Some(LiveInterval { buffer, first, last, bytes: bytes(&program.buffers[buffer]) })
    };
    (0..program.buffers.len()).filter(arena).filter_map(life).collect()
}

/// Lets a fused store take the place of a load that dies in the same kernel, where both go through memory in the same
/// way. The merged lives stay under the first owner; the result maps each buffer to the one whose place it has.
///
/// `b = relu(a)`, `a` used nowhere else → `b` lies where `a` lay.
fn take_over(program: &Program, lives: &mut Vec<LiveInterval>) -> Vec<BufferId> {
    let mut owner: Vec<BufferId> = (0..program.buffers.len()).collect();
    let mut life_of: Vec<Option<usize>> = vec![None; program.buffers.len()];
    for (position, life) in lives.iter().enumerate() {
        life_of[life.buffer] = Some(position);
    }
    let mut born: Vec<usize> = (0..lives.len()).collect();
    born.sort_by_key(|&position| lives[position].first);
    let mut gone = vec![false; lives.len()];
    for position in born {
        let LiveInterval { buffer, first, .. } = lives[position];
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
    let work = &program.kernels[kernel].work;
    let (fused, contracted) = (work.body()?, work.contracted());
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
        matches!(program.buffers[id].place, BufferPlace::Arena(_))
            && program.buffers[id].dtype == program.buffers[buffer].dtype
            && load.offset == store.view.offset
            && load.strides == store.view.strides
            && fused.loads.iter().filter(|other| other.buffer == id).count() == 1
            && fused.stores.iter().all(|other| other.view.buffer != id)
            && contracted.iter().flatten().all(|other| other.buffer != id)
    };
    fused.loads.iter().find(twin).map(|load| load.buffer)
}

fn resolve(owner: &[BufferId], mut id: BufferId) -> BufferId {
    while owner[id] != id {
        id = owner[id];
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the lives, nothing that lives at the same time overlaps.
    #[test]
    fn both_ways_keep_the_living_apart() {
        let mut state = 1u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for _ in 0..200 {
            let lives: Vec<LiveInterval> = (0..next(60) as usize)
                .map(|buffer| {
                    let first = next(40) as usize;
                    let last = first + next(12) as usize;
                    LiveInterval { buffer, first, last, bytes: (next(5) as usize + 1) * 64 }
                })
                .collect();
            for place in [by_size, by_time] {
                let mut offsets = vec![usize::MAX; lives.len()];
                let arena = place(&mut lives.clone(), &mut offsets);
                for (position, a) in lives.iter().enumerate() {
                    assert!(offsets[position] + a.bytes <= arena);
                    for b in &lives[..position] {
                        let meet = a.first <= b.last && b.first <= a.last;
                        let (x, y) = (offsets[a.buffer], offsets[b.buffer]);
                        assert!(!meet || x + a.bytes <= y || y + b.bytes <= x, "{a:?} at {x}, {b:?} at {y}");
                    }
                }
            }
        }
    }
}
