//! Attention, one row of scores at a time.

use super::OperandValue;
use super::values::EvalValues;
use crate::attention::{AttentionOperand, AttentionSpec, AttentionValue};

pub fn attention(spec: &AttentionSpec, value: AttentionValue, x: &[OperandValue]) -> EvalValues {
    AttentionOperands::new(spec, x).value(value, x)
}

/// The operands, and how many there are of everything.
struct AttentionOperands<'a> {
    spec: &'a AttentionSpec,
    q: &'a [f64],
    k: &'a [f64],
    v: &'a [f64],
    mask: Option<&'a EvalValues>,
    places: Option<&'a [i64]>,
    /// The key of what is dropped.
    dropped: Option<i64>,
    heads: usize,
    /// Heads of keys.
    shared: usize,
    queries: usize,
    keys: usize,
    width: usize,
    value_width: usize,
}

/// One query: of a batch, of a head, and its number there.
#[derive(Clone, Copy)]
struct AttentionRow {
    batch: usize,
    head: usize,
    query: usize,
}

fn floats<'a>(x: &OperandValue<'a>) -> &'a [f64] {
    match x.values {
        EvalValues::Float(v) => v,
        EvalValues::Int(_) => unreachable!("the graph is typed: attention takes floats"),
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], by: f64, from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += by * from);
}

impl<'a> AttentionOperands<'a> {
    fn new(spec: &'a AttentionSpec, x: &[OperandValue<'a>]) -> AttentionOperands<'a> {
        let (q, k, v) = (x[0].shape(), x[1].shape(), x[2].shape());
        AttentionOperands {
            spec,
            q: floats(&x[0]),
            k: floats(&x[1]),
            v: floats(&x[2]),
            mask: spec.mask().map(|position| x[position].values),
            places: spec.places().map(|position| x[position].values.ints()),
            dropped: spec.dropped().and_then(|position| x[position].values.ints().first().copied()),
            heads: q[1],
            shared: k[1],
            queries: q[2],
            keys: k[2],
            width: q[3],
            value_width: v[3],
        }
    }

    fn rows(&self) -> impl Iterator<Item = AttentionRow> + use<> {
        let (heads, queries) = (self.heads, self.queries);
        let count = self.q.len() / self.width;
        (0..count).map(move |row| AttentionRow {
            batch: row / (heads * queries),
            head: row / queries % heads,
            query: row % queries,
        })
    }

    fn number(&self, AttentionRow { batch, head, query }: AttentionRow) -> usize {
        (batch * self.heads + head) * self.queries + query
    }

    /// The number of a key among all that are in memory.
    fn key(&self, AttentionRow { batch, head, .. }: AttentionRow, key: usize) -> usize {
        (batch * self.shared + head / (self.heads / self.shared)) * self.keys + key
    }

    /// What the weight of a key is multiplied by.
    fn kept(&self, row: AttentionRow, key: usize) -> f64 {
        let place = (self.number(row) * self.keys + key) as i64;
        match self.dropped {
            None => 1.0,
            Some(dropped) if self.spec.kept(dropped, place) => self.spec.kept_factor(),
            Some(_) => 0.0,
        }
    }

    /// The keys that a query sees, with their scores.
    fn scores(&self, row: AttentionRow) -> Vec<(usize, f64)> {
        let place = self.places.map_or(0, |places| places[row.batch]);
        let place = place.saturating_add(self.spec.offset).saturating_add(row.query as i64);
        let number = self.number(row);
        let query = &self.q[number * self.width..][..self.width];
        let score = |key: usize| {
            let at = self.key(row, key) * self.width;
            let product = dot(query, &self.k[at..at + self.width]) * self.spec.scale.as_f64();
            match self.mask {
                None => Some(product),
                Some(EvalValues::Float(mask)) => Some(product + mask[number * self.keys + key]),
                Some(EvalValues::Int(mask)) => (mask[number * self.keys + key] != 0).then_some(product),
            }
        };
        self.spec.seen(place, self.keys).filter_map(|key| Some((key, score(key)?))).collect()
    }

    fn value(&self, value: AttentionValue, x: &[OperandValue]) -> EvalValues {
        EvalValues::Float(match value {
            AttentionValue::Result => self.rows().flat_map(|row| self.result(row)).collect(),
            AttentionValue::LogSum => self.rows().map(|row| self.log_sum(row)).collect(),
            AttentionValue::Gradient(operand) => {
                let [log_sums, delta, g] = [0, 1, 2].map(|more| floats(&x[self.spec.forward() + more]));
                self.gradient(operand, log_sums, delta, g)
            }
        })
    }

    fn log_sum(&self, row: AttentionRow) -> f64 {
        let scores = self.scores(row);
        let most = scores.iter().map(|(_, score)| *score).fold(f64::NEG_INFINITY, f64::max);
        match most == f64::NEG_INFINITY {
            true => most,
            false => libm::log(scores.iter().map(|(_, score)| libm::exp(score - most)).sum::<f64>()) + most,
        }
    }

    fn result(&self, row: AttentionRow) -> Vec<f64> {
        let mut result = vec![0.0; self.value_width];
        let log_sum = self.log_sum(row);
        for (key, score) in self.scores(row).into_iter().filter(|_| log_sum != f64::NEG_INFINITY) {
            let at = self.key(row, key) * self.value_width;
            let weight = libm::exp(score - log_sum) * self.kept(row, key);
            add(&mut result, weight, &self.v[at..at + self.value_width]);
        }
        result
    }

    fn gradient(&self, operand: AttentionOperand, log_sums: &[f64], delta: &[f64], g: &[f64]) -> Vec<f64> {
        let len = match operand {
            AttentionOperand::Query => self.q.len(),
            AttentionOperand::Key => self.k.len(),
            AttentionOperand::Value => self.v.len(),
            AttentionOperand::Mask => self.q.len() / self.width * self.keys,
        };
        let mut gradient = vec![0.0; len];
        let scale = self.spec.scale.as_f64();
        for row in self.rows() {
            let number = self.number(row);
            let query = &self.q[number * self.width..][..self.width];
            let g = &g[number * self.value_width..][..self.value_width];
            if log_sums[number] == f64::NEG_INFINITY {
                continue;
            }
            for (key, score) in self.scores(row) {
                let at = self.key(row, key);
                let weight = libm::exp(score - log_sums[number]);
                let value = &self.v[at * self.value_width..][..self.value_width];
                let kept = self.kept(row, key);
                let slope = weight * (kept * dot(g, value) - delta[number]);
                let (to, width) = (&mut gradient, self.width);
                match operand {
                    AttentionOperand::Query => {
                        let to = &mut to[number * width..][..width];
                        add(to, slope * scale, &self.k[at * width..][..width]);
                    }
                    AttentionOperand::Key => add(&mut to[at * width..][..width], slope * scale, query),
                    AttentionOperand::Value => {
                        add(&mut to[at * self.value_width..][..self.value_width], weight * kept, g)
                    }
                    AttentionOperand::Mask => to[number * self.keys + key] = slope,
                }
            }
        }
        gradient
    }
}
