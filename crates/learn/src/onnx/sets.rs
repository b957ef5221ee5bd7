//! Sets of classes that hold the truth as often as was asked, as part of a graph.

use kiln_nn::Data;
use kiln_onnx::export::{Attribute, Builder};

use crate::model::{ClassSets, SetKind};

/// Whether each class is in the set of a row, `[batch, classes]`.
pub(super) fn is_in(builder: &mut Builder, probabilities: &str, sets: &ClassSets) -> String {
    let ClassSets { kind, thresholds, .. } = sets;
    let thresholds = builder.constant("thresholds", &[thresholds.len()], &Data::F32(thresholds.clone()));
    match kind {
        SetKind::Lac | SetKind::PerClass => {
            builder.node("GreaterOrEqual", &[probabilities, &thresholds], Vec::new())
        }
        SetKind::Aps => {
            // [batch, 1, classes] beside [batch, classes, 1].
            let [first, second] = [1, 2].map(|axis| builder.constant("axis", &[1], &Data::I64(vec![axis])));
            let others = builder.node("Unsqueeze", &[probabilities, &first], Vec::new());
            let own = builder.node("Unsqueeze", &[probabilities, &second], Vec::new());
            let likelier = builder.node("Greater", &[&others, &own], Vec::new());
            let nothing = builder.scalar(&Data::F32(vec![0.0]));
            let counted = builder.node("Where", &[&likelier, &others, &nothing], Vec::new());
            let flat = vec![("keepdims", Attribute::Int(0))];
            let sum = builder.node("ReduceSum", &[&counted, &second], flat);
            builder.node("LessOrEqual", &[&sum, &thresholds], Vec::new())
        }
    }
}
