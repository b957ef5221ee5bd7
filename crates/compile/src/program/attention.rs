//! Attention as a kernel does it: any of its values for the same operands at once.

use kiln_ir::attention::AttentionSpec;

use super::View;

/// Attention. Views of queries, keys, values and what is like them have strides for `[batch, heads, positions, width]`, the mask for
/// `[batch, heads, queries, keys]`, places for `[batch]`, the key of what is dropped for `[1]`, what there is one of for each row for `[batch, heads, queries]`.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Which keys are seen, and how sharply.
    pub spec: AttentionSpec,
    /// How many there are of everything.
    pub sizes: AttentionSizes,
    /// The queries.
    pub query: View,
    /// The keys.
    pub key: View,
    /// The values.
    pub value: View,
    /// What is added to the scores, or says which keys are seen.
    pub mask: Option<View>,
    /// The places of the first queries.
    pub places: Option<View>,
    /// The key of what is dropped.
    pub dropped: Option<View>,
    /// What is computed.
    pub pass: AttentionPass,
}

/// How many there are of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionSizes {
    /// Sequences.
    pub batch: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, which heads of queries share.
    pub shared: usize,
    /// Queries of a head.
    pub queries: usize,
    /// Keys of a head.
    pub keys: usize,
    /// Numbers of a query or key.
    pub width: usize,
    /// Numbers of a value.
    pub value_width: usize,
}

/// What is computed of attention.
#[derive(Clone, Debug)]
pub enum AttentionPass {
    /// The result, and the logarithms of the rows' sums.
    Forward {
        /// The result.
        result: Option<View>,
        /// The logarithms of the rows' sums.
        log_sum: Option<View>,
    },
    /// Gradients.
    Backward {
        /// The logarithms of the rows' sums.
        log_sum: View,
        /// What is taken from each score's gradient.
        delta: View,
        /// The result's gradient.
        gradient: View,
        /// Gradients in query, key, value and mask.
        of: Box<[Option<View>; 4]>,
    },
}

impl Attention {
    /// The views that are read.
    pub fn reads(&self) -> Vec<&View> {
        let more = match &self.pass {
            AttentionPass::Forward { .. } => [None; 3],
            AttentionPass::Backward { log_sum, delta, gradient, .. } => {
                [Some(log_sum), Some(delta), Some(gradient)]
            }
        };
        let operands = [Some(&self.query), Some(&self.key), Some(&self.value)];
        let settings = [self.mask.as_ref(), self.places.as_ref(), self.dropped.as_ref()];
        operands.into_iter().chain(settings).chain(more).flatten().collect()
    }

    /// The views that are written.
    pub fn writes(&self) -> Vec<&View> {
        match &self.pass {
            AttentionPass::Forward { result, log_sum } => result.iter().chain(log_sum).collect(),
            AttentionPass::Backward { of, .. } => of.iter().flatten().collect(),
        }
    }

    /// Calls `visit` with every view.
    pub fn each_view(&mut self, visit: &mut impl FnMut(&mut View)) {
        [&mut self.query, &mut self.key, &mut self.value].into_iter().for_each(&mut *visit);
        self.mask.iter_mut().chain(&mut self.places).chain(&mut self.dropped).for_each(&mut *visit);
        match &mut self.pass {
            AttentionPass::Forward { result, log_sum } => result.iter_mut().chain(log_sum).for_each(visit),
            AttentionPass::Backward { log_sum, delta, gradient, of } => {
                [log_sum, delta, gradient].into_iter().for_each(&mut *visit);
                of.iter_mut().flatten().for_each(visit);
            }
        }
    }
}

impl AttentionSizes {
    /// Of queries, and what is like them.
    pub fn query(&self) -> Vec<usize> {
        vec![self.batch, self.heads, self.queries, self.width]
    }

    /// Of keys.
    pub fn key(&self) -> Vec<usize> {
        vec![self.batch, self.shared, self.keys, self.width]
    }

    /// Of values.
    pub fn value(&self) -> Vec<usize> {
        vec![self.batch, self.shared, self.keys, self.value_width]
    }

    /// Of scores, and so of a mask.
    pub fn scores(&self) -> Vec<usize> {
        vec![self.batch, self.heads, self.queries, self.keys]
    }

    /// Of what there is one of for each row.
    pub fn rows(&self) -> Vec<usize> {
        vec![self.batch, self.heads, self.queries]
    }

    /// Of the result.
    pub fn result(&self) -> Vec<usize> {
        vec![self.batch, self.heads, self.queries, self.value_width]
    }
}
