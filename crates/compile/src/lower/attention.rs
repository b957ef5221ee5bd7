//! Attention: one kernel for all of its values that are wanted of the same operands.

use kiln_ir::attention::{AttentionOperand, AttentionSpec, AttentionValue};
use kiln_ir::graph::NodeId;

use crate::kind::{OpKind, Opaque};
use crate::layout::StridedBuffer;
use crate::program::{Attention, AttentionPass, AttentionSizes, View, Work};

use super::Lowering;

/// Positions outside of heads, as a projection leaves them and the following one reads them.
const POSITIONS_FIRST: [usize; 4] = [0, 2, 1, 3];

impl Lowering<'_> {
    /// Writes the kernel of these values of attention.
    pub(crate) fn attention(&mut self, members: &[NodeId], spec: &AttentionSpec) {
        let graph = self.graph;
        let inputs = &graph.nodes[members[0]].inputs;
        let shape = |position: usize| &graph.nodes[inputs[position]].shape;
        let (q, k, v) = (shape(0), shape(1), shape(2));
        let sizes = AttentionSizes {
            batch: q[0],
            heads: q[1],
            shared: k[1],
            queries: q[2],
            keys: k[2],
            width: q[3],
            value_width: v[3],
        };
        let mut operands: Vec<View> = Vec::with_capacity(inputs.len());
        let mut orders: Vec<Vec<usize>> = Vec::with_capacity(inputs.len());
        for &input in inputs {
            let located = self.locate(input);
            operands.push(self.view(&located, located.strides.clone()));
            orders.push(located.axis_order());
        }
        let mut results: Vec<(AttentionValue, View)> = Vec::with_capacity(members.len());
        for &id in members {
            let OpKind::Opaque(Opaque::Attention(_, value)) = graph.nodes[id].kind() else { continue };
            let order: &[usize] = match value {
                AttentionValue::Result => &POSITIONS_FIRST,
                AttentionValue::LogSum => &[0, 1, 2],
                // Where its operand lies, its gradient is asked for.
                AttentionValue::Gradient(AttentionOperand::Query) => &orders[0],
                AttentionValue::Gradient(AttentionOperand::Key) => &orders[1],
                AttentionValue::Gradient(AttentionOperand::Value) => &orders[2],
                AttentionValue::Gradient(AttentionOperand::Mask) => &[0, 1, 2, 3],
            };
            let out: StridedBuffer = self.temporary(id, order);
            results.push((value, self.view(&out, out.strides.clone())));
            self.settle(id, out);
        }
        let result = |wanted: AttentionValue| {
            results.iter().find(|(value, _)| *value == wanted).map(|(_, view)| view.clone())
        };
        let forward = spec.forward();
        let products = match operands.len() - forward {
            0 => 2,
            _ => 5, // scores, weights' gradients, and what comes of them for three operands
        };
        let pass = match &operands[forward..] {
            [log_sum, delta, gradient] => AttentionPass::Backward {
                log_sum: log_sum.clone(),
                delta: delta.clone(),
                gradient: gradient.clone(),
                of: Box::new(
                    [
                        AttentionOperand::Query,
                        AttentionOperand::Key,
                        AttentionOperand::Value,
                        AttentionOperand::Mask,
                    ]
                    .map(|operand| result(AttentionValue::Gradient(operand))),
                ),
            },
            _ => AttentionPass::Forward {
                result: result(AttentionValue::Result),
                log_sum: result(AttentionValue::LogSum),
            },
        };
        let work = Attention {
            spec: *spec,
            sizes,
            query: operands[0].clone(),
            key: operands[1].clone(),
            value: operands[2].clone(),
            mask: spec.mask().map(|position| operands[position].clone()),
            places: spec.places().map(|position| operands[position].clone()),
            dropped: spec.dropped().map(|position| operands[position].clone()),
            pass,
        };
        let seen = |query: usize| spec.seen(spec.offset.saturating_add(query as i64), sizes.keys).len();
        let pairs = sizes.batch * sizes.heads * (0..sizes.queries).map(seen).sum::<usize>();
        let operations = products * (pairs * (sizes.width + sizes.value_width)) as u64;
        self.push(
            Work::Attention(Box::new(work)),
            graph.nodes[members[0]].op.name().to_string(),
            members[0],
            operations,
        );
    }
}
