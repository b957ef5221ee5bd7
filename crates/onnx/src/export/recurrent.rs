//! Recurrent cells: weights in ONNX's order of gates, time as the first axis.

use kiln_ir::Data;
use kiln_nn::composite::{Recurrent, RecurrentCell};

use super::trace::Pair;
use super::{Attribute, GraphWriter};
use crate::error::Result;

impl GraphWriter<'_> {
    /// One result of a cell, whose node is written when the first of its results is asked for.
    pub(super) fn recurrent(&mut self, how: Recurrent, inputs: &[Pair]) -> Result<String> {
        let key = (inputs[0].a.id, inputs[1].a.id, how.reverse);
        let results = match self.recurrent_results.get(&key) {
            Some(results) => results.clone(),
            None => {
                let results = self.write_recurrent(how, inputs)?;
                self.recurrent_results.insert(key, results.clone());
                results
            }
        };
        let result = &results[how.result];
        let first = self.builder.ints(&[if how.result == 0 { 1 } else { 0 }]);
        // One direction: [time, 1, batch, hidden] and [1, batch, hidden].
        let one = self.builder.node("Squeeze", &[result, &first], Vec::new());
        if how.result > 0 {
            return Ok(one);
        }
        Ok(self.builder.node("Transpose", &[&one], vec![("perm", Attribute::Ints(vec![1, 0, 2]))]))
    }

    fn write_recurrent(&mut self, how: Recurrent, inputs: &[Pair]) -> Result<Vec<String>> {
        // Where kiln's gates stand among ONNX's: of i o f c, of z r h.
        let (operator, order): (&str, &[usize]) = match how.cell {
            RecurrentCell::Lstm => ("LSTM", &[0, 3, 1, 2]),
            RecurrentCell::Gru(_) => ("GRU", &[1, 0, 2]),
            RecurrentCell::Rnn(_) => ("RNN", &[0]),
        };
        let x = self.value(&inputs[0])?;
        let x = self.builder.node("Transpose", &[&x], vec![("perm", Attribute::Ints(vec![1, 0, 2]))]);
        let mut names = vec![x];
        let mut bias = Vec::new();
        for (position, name) in ["W", "R", "B", "B"].into_iter().enumerate() {
            if position >= 2 && !how.biased {
                break;
            }
            let pair = &inputs[position + 1];
            let shape = pair.a.shape.to_vec();
            let Data::F32(numbers) = self.numbers(pair)?.cast(kiln_ir::DType::F32) else { continue };
            let gate = numbers.len() / order.len();
            let ordered: Vec<f32> = order
                .iter()
                .flat_map(|&from| numbers[from * gate..(from + 1) * gate].iter().copied())
                .collect();
            if position >= 2 {
                bias.extend(ordered);
                continue;
            }
            let start = if self.builder.layer.is_empty() {
                String::new()
            } else {
                format!("{}/", self.builder.layer)
            };
            let side = if how.reverse { "reverse" } else { "forward" };
            let name = format!("{start}{operator}.{name}.{side}");
            names.push(self.builder.weight(&name, &[&[1], &shape[..]].concat(), &Data::F32(ordered)));
        }
        names.push(match bias.len() {
            0 => String::new(),
            count => self.builder.weight("B", &[1, count], &Data::F32(bias)),
        });
        let start = if how.biased { 5 } else { 3 };
        names.push(String::new());
        for pair in &inputs[start..] {
            let state = self.value(pair)?;
            let first = self.builder.ints(&[0]);
            names.push(self.builder.node("Unsqueeze", &[&state, &first], Vec::new()));
        }
        let hidden = inputs[2].a.shape[1];
        let direction = if how.reverse { "reverse" } else { "forward" };
        let mut attributes = vec![
            ("hidden_size", Attribute::Int(hidden as i64)),
            ("direction", Attribute::Text(direction.to_string())),
        ];
        match how.cell {
            RecurrentCell::Gru(reset_first) => {
                attributes.push(("linear_before_reset", Attribute::Int(i64::from(!reset_first))));
            }
            RecurrentCell::Rnn(true) => {
                attributes.push(("activations", Attribute::Texts(vec!["Relu".to_string()])));
            }
            RecurrentCell::Lstm | RecurrentCell::Rnn(false) => {}
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let count = if how.cell == RecurrentCell::Lstm { 3 } else { 2 };
        Ok(self.builder.node_of("", operator, &names, attributes, count))
    }
}
