//! How many bytes of temporaries are alive at each kernel, so that recomputing one value doesn't keep a larger one.

use std::collections::HashMap;

use kiln_ir::graph::NodeId;

/// The first and the last place where a value is needed, and its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) bytes: i64,
}

/// The bytes alive at each place of the order, and what they are of.
#[derive(Debug)]
pub(super) struct Lives {
    alive: Vec<i64>,
    most: i64,
    of: HashMap<NodeId, Life>,
}

impl Lives {
    /// Of an order of so many kernels.
    pub(super) fn new(places: usize) -> Lives {
        Lives { alive: vec![0; places], most: 0, of: HashMap::new() }
    }

    pub(super) fn places(&self) -> usize {
        self.alive.len()
    }

    /// Lets these values live from a place to another, or not at all, unless there would be a place where more is alive than
    /// anywhere before.
    pub(super) fn change(&mut self, lives: &[(NodeId, Option<Life>)]) -> bool {
        let before: Vec<_> = lives.iter().map(|&(id, life)| (id, self.set(id, life))).collect();
        let most = self.alive.iter().copied().max().unwrap_or(0);
        if most > self.most {
            before.into_iter().for_each(|(id, life)| {
                self.set(id, life);
            });
            return false;
        }
        true
    }

    /// A value's life from the start.
    pub(super) fn add(&mut self, id: NodeId, life: Life) {
        self.set(id, Some(life));
        self.most = self.most.max(self.alive[life.first..=life.last].iter().copied().max().unwrap_or(0));
    }

    /// Gives what it was.
    fn set(&mut self, id: NodeId, life: Option<Life>) -> Option<Life> {
        let before = self.of.remove(&id);
        if let Some(Life { first, last, bytes }) = before {
            self.alive[first..=last].iter_mut().for_each(|alive| *alive -= bytes);
        }
        if let Some(Life { first, last, bytes }) = life {
            self.alive[first..=last].iter_mut().for_each(|alive| *alive += bytes);
            self.of.insert(id, Life { first, last, bytes });
        }
        before
    }
}
