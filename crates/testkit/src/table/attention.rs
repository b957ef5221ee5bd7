//! Attention: every setting, with small operands whose derivatives can be looked for, and with operands of several blocks of keys.

use kiln_ir::grad::gradients;
use kiln_ir::op::{AttentionOperand, AttentionSpec, AttentionValue, BinaryOp};
use kiln_ir::{DType, Expr, Scalar};

use super::{FLOATS, Operand, SMALL, Table};
use crate::rng::Range;

/// Attention of one kind.
#[derive(Clone, Copy)]
struct Setting {
    name: &'static str,
    /// Queries, keys and values.
    shapes: [&'static [usize]; 3],
    spec: AttentionSpec,
    mask: Mask,
    /// The places of the first queries.
    places: Option<(&'static [usize], Range)>,
    /// The share of the weights that are dropped.
    dropout: Option<f64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mask {
    None,
    Bools,
    Floats,
    /// Floats of which some are −∞.
    Lowest,
}

fn settings(sizes: [usize; 2]) -> Vec<Setting> {
    let [large, few] = [sizes == [70, 150], sizes[0] == 5];
    let spec = AttentionSpec::new(0.4);
    let causal = AttentionSpec { right: Some(0), ..spec };
    let shapes: [&[usize]; 3] = match (large, few) {
        (true, _) => [&[2, 2, 70, 20], &[2, 2, 150, 20], &[2, 2, 150, 24]],
        (_, true) => [&[2, 2, 5, 3], &[2, 2, 7, 3], &[2, 2, 7, 4]],
        _ => [&[1, 6, 1, 64], &[1, 2, 130, 64], &[1, 2, 130, 64]],
    };
    let plain = Setting { name: "plain", shapes, spec, mask: Mask::None, places: None, dropout: None };
    let mut all = vec![
        plain,
        Setting { name: "causal", spec: causal, ..plain },
        Setting {
            name: "causal behind a cache",
            spec: AttentionSpec { offset: sizes[1] as i64 - sizes[0] as i64, ..causal },
            ..plain
        },
        Setting { name: "seeing nothing at first", spec: AttentionSpec { offset: -3, ..causal }, ..plain },
        Setting { name: "window", spec: AttentionSpec { left: Some(2), right: Some(1), ..spec }, ..plain },
        Setting {
            name: "window of the past",
            spec: AttentionSpec { left: Some(sizes[1] / 3), offset: 2, ..causal },
            ..plain
        },
        Setting { name: "masked by bools", mask: Mask::Bools, ..plain },
        Setting { name: "masked by floats", mask: Mask::Floats, ..plain },
        Setting { name: "masked by floats, causal", mask: Mask::Floats, spec: causal, ..plain },
        Setting { name: "masked by the lowest", mask: Mask::Lowest, ..plain },
        Setting { name: "dropped", dropout: Some(0.3), ..plain },
        Setting {
            name: "dropped, masked, causal",
            dropout: Some(0.5),
            mask: Mask::Floats,
            spec: causal,
            ..plain
        },
        Setting { name: "dropped whole", dropout: Some(1.0), ..plain },
        Setting { name: "placed", spec: causal, places: Some((&[2], Range::Whole(0, 4))), ..plain },
        Setting {
            name: "placed outside",
            spec: causal,
            places: Some((&[2], Range::Whole(-9, 300))),
            ..plain
        },
    ];
    all.retain(|setting| setting.places.is_none_or(|_| setting.shapes[0][0] == 2));
    if few {
        let shapes: [&[usize]; 3] = [&[2, 4, 3, 2], &[2, 2, 5, 2], &[2, 2, 5, 3]];
        all.push(Setting { name: "grouped", shapes, ..plain });
        all.push(Setting {
            name: "grouped, masked and causal",
            shapes,
            mask: Mask::Bools,
            spec: causal,
            ..plain
        });
        all.push(Setting { name: "grouped, dropped", shapes, dropout: Some(0.4), ..plain });
    }
    all
}

impl Setting {
    fn operands(&self, dtype: DType) -> Vec<Operand<'_>> {
        let mut operands: Vec<Operand> = self.shapes.map(|shape| (shape, dtype, SMALL)).to_vec();
        operands.extend(match self.mask {
            Mask::None => None,
            // Each key for all queries of a sequence, and each pair of a query and a key.
            Mask::Bools | Mask::Lowest => Some((mask_shape(self.shapes), DType::Bool, Range::Whole(0, 1))),
            Mask::Floats => Some((mask_shape(self.shapes), dtype, SMALL)),
        });
        operands.extend(self.places.map(|(shape, range)| (shape, DType::I64, range)));
        operands.extend(self.dropout.map(|_| (&[1][..], DType::I64, Range::Whole(-1000, 1000))));
        operands
    }

    /// The settings and operands of the operation.
    fn asked(&self, x: &[Expr]) -> (AttentionSpec, Vec<Expr>) {
        let (q, k) = (self.shapes[0], self.shapes[1]);
        let scores = [q[0], q[1], q[2], k[2]].into();
        let mut operands = x[..3].to_vec();
        if self.mask != Mask::None {
            let mask = &x[3];
            let mask = match self.mask {
                Mask::Lowest => {
                    let zero = Expr::full(mask.shape(), 0.5, x[0].dtype());
                    mask.select(&zero, &zero.full_like(f64::NEG_INFINITY))
                }
                Mask::None | Mask::Bools | Mask::Floats => mask.clone(),
            };
            operands.push(mask.broadcast_to(&scores));
        }
        // Places, and what says which weights are dropped, are the last operands.
        let more = usize::from(self.places.is_some()) + usize::from(self.dropout.is_some());
        operands.extend_from_slice(&x[x.len() - more..]);
        let masked = self.mask != Mask::None;
        let dropout = self.dropout.map(Scalar::Float);
        (AttentionSpec { masked, placed: self.places.is_some(), dropout, ..self.spec }, operands)
    }
}

/// One for all heads; of short sequences for each query, of others for all of them.
fn mask_shape(shapes: [&'static [usize]; 3]) -> &'static [usize] {
    match (shapes[0][2], shapes[1][2]) {
        (5, 7) => &[2, 1, 5, 7],
        (3, 5) => &[1, 1, 3, 5],
        (70, 150) => &[2, 1, 1, 150],
        _ => &[1, 1, 1, 130],
    }
}

fn value(spec: &AttentionSpec, value: AttentionValue, operands: &[Expr]) -> Expr {
    Expr::attention_value(spec, value, operands)
}

pub(super) fn add(table: &mut Table) {
    small(table, false);
    gradients_alone(table);
    layouts(table);
    several_blocks(table, false);
}

/// With weights that are dropped; the last cases of all, since operands are drawn one after the other.
pub(super) fn add_dropped(table: &mut Table) {
    small(table, true);
    several_blocks(table, true);
}

fn chosen(sizes: [usize; 2], dropped: bool) -> impl Iterator<Item = Setting> {
    settings(sizes).into_iter().filter(move |setting| setting.dropout.is_some() == dropped)
}

fn small(table: &mut Table, dropped: bool) {
    for dtype in FLOATS {
        for setting in chosen([5, 7], dropped) {
            let name = |what: &str| format!("{what} {dtype} {}", setting.name);
            table.smooth(name("attention"), &setting.operands(dtype), move |x| {
                let (spec, operands) = setting.asked(x);
                value(&spec, AttentionValue::Result, &operands)
            });
            table.loosened(8.0);
            // Where a row sees nothing its sum has no logarithm.
            if setting.mask != Mask::Bools
                && setting.mask != Mask::Lowest
                && setting.spec.offset >= 0
                && setting.name != "placed outside"
            {
                table.smooth(name("attention_log_sum"), &setting.operands(dtype), move |x| {
                    let (spec, operands) = setting.asked(x);
                    value(&spec, AttentionValue::LogSum, &operands)
                });
                table.loosened(8.0);
            }
        }
    }
}

fn several_blocks(table: &mut Table, dropped: bool) {
    for dtype in [DType::F32, DType::F64, DType::F16] {
        for sizes in [[70, 150], [1, 130]] {
            for setting in chosen(sizes, dropped) {
                large(table, dtype, sizes, setting);
            }
        }
    }
}

/// Gradients as functions of all of their operands.
fn gradients_alone(table: &mut Table) {
    let operands: [Operand; 7] = [
        (&[1, 2, 3, 2], DType::F64, SMALL),
        (&[1, 1, 4, 2], DType::F64, SMALL),
        (&[1, 1, 4, 3], DType::F64, SMALL),
        (&[1, 2, 3, 4], DType::F64, SMALL),
        (&[1, 2, 3], DType::F64, SMALL),
        (&[1, 2, 3], DType::F64, SMALL),
        (&[1, 2, 3, 3], DType::F64, SMALL),
    ];
    let parts =
        [AttentionOperand::Query, AttentionOperand::Key, AttentionOperand::Value, AttentionOperand::Mask];
    for part in parts {
        let spec = AttentionSpec { masked: true, right: Some(1), ..AttentionSpec::new(0.7) };
        let name = format!("attention_grad f64 in {part:?}").to_lowercase();
        table.smooth(name, &operands, move |x| value(&spec, AttentionValue::Gradient(part), x));
        table.loosened(8.0);
    }
}

/// Operands as projections leave them.
fn layouts(table: &mut Table) {
    let spec = AttentionSpec { right: Some(0), ..AttentionSpec::new(0.5) };
    let heads = |x: &Expr, first: usize| x.narrow(2, first, 6).reshape([2, 4, 2, 3]).permute(&[0, 2, 1, 3]);
    let projection = [(&[2, 4, 18][..], DType::F64, SMALL)];
    table.smooth("attention f64 of one projection".to_string(), &projection, move |x| {
        let parts = [0, 6, 12].map(|first| heads(&x[0], first));
        let found = value(&spec, AttentionValue::Result, &parts);
        found.permute(&[0, 2, 1, 3]).reshape([2, 4, 6])
    });
    let operands = [
        (&[2, 2, 3, 4][..], DType::F32, SMALL),
        (&[2, 2, 3, 5], DType::F32, SMALL),
        (&[2, 2, 5, 6], DType::F32, SMALL),
    ];
    table.smooth(
        "attention f32 of transposed keys and every second number".to_string(),
        &operands,
        move |x| {
            let ranges = [2, 2, 5, 6].map(|size| kiln_ir::op::SliceRange { start: 0, len: size, step: 1 });
            let backward = kiln_ir::op::SliceRange { start: 5, len: 3, step: -2 };
            let values = x[2].slice(&[ranges[0], ranges[1], ranges[2], backward]);
            let operands = [x[0].transpose(), x[1].transpose(), values];
            value(&spec, AttentionValue::Result, &operands)
        },
    );
    table.loosened(8.0);
}

/// Several blocks of keys: the result, and what a gradient comes to.
fn large(table: &mut Table, dtype: DType, [queries, keys]: [usize; 2], setting: Setting) {
    let name = |what: &str| format!("{what} {dtype} {queries} × {keys} {}", setting.name);
    let operands = setting.operands(dtype);
    table.rough(name("attention"), &operands, move |x| {
        let (spec, operands) = setting.asked(x);
        value(&spec, AttentionValue::Result, &operands)
    });
    table.loosened(16.0);
    for part in 0..if setting.mask == Mask::Floats { 4 } else { 3 } {
        table.rough(name(&format!("gradient {part} of attention")), &operands, move |x| {
            let (spec, operands) = setting.asked(x);
            let found = value(&spec, AttentionValue::Result, &operands);
            let column = Expr::iota(found.shape(), 3, DType::I64).binary_scalar(BinaryOp::Rem, 5i64);
            let upstream = column.cast(dtype) * 0.25 - 0.4;
            gradients(&found, &x[part..=part], Some(&upstream)).remove(0)
        });
        table.loosened(64.0);
    }
}
