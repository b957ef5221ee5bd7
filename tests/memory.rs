//! What a step of training holds in memory: a pass that computes values again instead of storing them makes no plan larger, whatever is
//! trained.

use kiln::ir::Graph;
use kiln::presets::{self, PRESETS, Suits};
use kiln::{
    Adam, AdamW, Clip, DType, Data, Input, Layer, Optimizer, Program, Sequential, Sgd, Step, StepOptions,
    default_device,
};
use kiln_compile::compile;

/// The two plans of a step: with the pass, and without.
fn plans(graph: &Graph) -> [Program; 2] {
    let device = default_device().unwrap();
    [true, false].map(|recomputes| {
        let mut target = device.target().clone();
        target.fusion.recomputes = recomputes;
        compile(graph, &target).unwrap()
    })
}

/// The rows that a preset is trained on, and how many texts have pieces.
fn rows(suits: Suits) -> (DType, &'static [usize], &'static [usize], usize) {
    match suits {
        Suits::Tables => (DType::F32, &[256, 24], &[256], 0),
        Suits::Images => (DType::F32, &[32, 3, 32, 32], &[32], 0),
        Suits::Texts => (DType::I64, &[16, 64], &[16, 64], 80),
        Suits::Sorted => (DType::I64, &[32, 64], &[32], 500),
        Suits::Pairs => (DType::I64, &[16, 64], &[16, 64], 80),
        Suits::Tagged => (DType::I64, &[16, 64], &[16, 64], 500),
        Suits::Series => (DType::F32, &[64, 144], &[64], 0),
    }
}

/// The graph of a step that trains a preset.
fn step(name: &str, suits: Suits, optimizer: impl Optimizer + 'static) -> Graph {
    let (dtype, shape, classes, pieces) = rows(suits);
    // A window of 48, figures, 10 steps.
    let sizes: &[usize] = if suits == Suits::Series { &[48, 54, 10, 9] } else { &shape[1..] };
    let text = presets::layers(name, suits, sizes, pieces).unwrap();
    let outputs = if matches!(suits, Suits::Texts | Suits::Pairs) { pieces } else { 10 };
    let model = text.parse::<Sequential>().unwrap().outputs(outputs);
    let options = StepOptions::new().clip(Clip::GlobalNorm(1.0));
    let mut step = Step::train_with(&model, optimizer, options, |model, cx, [x, y]| {
        vec![model.forward(&x, cx).cross_entropy(&y)]
    });
    let x = Data::filled(dtype, shape.iter().product(), 0i64.into());
    let labels = vec![0i64; classes.iter().product()];
    step.function().graph([Input::from_data(&x, shape), Input::new(&labels, classes)]).unwrap()
}

#[test]
fn what_presets_compute_again_makes_no_plan_of_a_training_larger() {
    let (mut smaller, mut all) = (Vec::new(), 0);
    for preset in &PRESETS {
        for &suits in preset.suits {
            let graphs = [
                ("plain descent", step(preset.name, suits, Sgd::new(0.1))),
                ("momentum", step(preset.name, suits, Sgd::new(0.1).momentum(0.9))),
                ("Adam", step(preset.name, suits, Adam::new(1e-3))),
                ("AdamW", step(preset.name, suits, AdamW::new(1e-3))),
            ];
            for (optimizer, graph) in graphs {
                let [with, without] = plans(&graph);
                let what = format!("{} of {suits:?} by {optimizer}", preset.name);
                assert!(
                    with.arena <= without.arena,
                    "{what}: {} bytes with what is computed again, {} without",
                    with.arena,
                    without.arena
                );
                all += 1;
                if with.arena < without.arena {
                    smaller.push(what);
                }
            }
        }
    }
    // What it is for: convolutions with norms, attention and gates.
    for name in ["resnet18", "transformer"] {
        assert!(
            smaller.iter().any(|what| what.starts_with(name)),
            "{name} is not among {smaller:?} of {all}"
        );
    }
}
