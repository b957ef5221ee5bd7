//! Parameters go by their paths in the model that is at hand; looking at a model changes none of it.

use kiln_nn::module::named;
use kiln_nn::{
    Context, Dense, Function, Input, Key, Layer, Module, Param, Sequential, Sgd, Step, StepOptions, Tensor,
    parameters,
};

struct Encoder {
    shared: Dense,
}
parameters!(Encoder { shared });

struct Pair {
    left: Encoder,
    right: Dense,
}
parameters!(Pair { left, right });

fn pair() -> Pair {
    let [first, second] = Key::new(1).split();
    Pair { left: Encoder { shared: Dense::new(2, 3, first) }, right: Dense::new(3, 1, second) }
}

fn listing(model: &dyn Layer) -> String {
    let mut function = Function::inference(model, |model, cx, [x]| model.forward(&x, cx));
    let program = function.program([Input::new(&[0f32; 2], &[1, 2])]).unwrap();
    let graph = function.graph([Input::new(&[0f32; 2], &[1, 2])]).unwrap();
    format!("{program}{graph}{}", kiln_ir::print::dot(&graph))
}

impl Layer for Encoder {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.shared.forward(x, cx).relu()
    }
}

impl Layer for Pair {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        self.right.forward(&self.left.forward(x, cx), cx)
    }
}

#[test]
fn a_parameter_of_two_models_goes_by_its_path_in_each() {
    let net = pair();
    for _ in 0..2 {
        let (whole, part, single) = (listing(&net), listing(&net.left), listing(&net.left.shared));
        assert!(whole.contains("left.shared.weight") && whole.contains("right.bias"), "{whole}");
        assert!(part.contains("shared.weight") && !part.contains("left."), "{part}");
        assert!(single.contains("weight") && !single.contains("shared"), "{single}");
    }
    let paths: Vec<String> = net.parameters().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["left.shared.weight", "left.shared.bias", "right.weight", "right.bias"]);
    for (_, param) in net.parameters() {
        assert_eq!(param.variable().unwrap().name(), "");
    }
}

#[test]
fn a_mistake_in_a_step_names_the_parameter_as_the_step_knows_it() {
    let net = pair();
    let x = [0f32; 3];
    let wrong = |error: kiln_nn::Error, name: &str| {
        let error = error.to_string();
        assert!(error.contains(&format!("({name})")) && error.contains("[1, 3]"), "{error}");
    };
    let mut all = Step::train(&net, Sgd::new(0.1), |net, cx, [x]| net.forward(&x, cx).sum(..));
    wrong(all.run([Input::new(&x, &[1, 3])]).unwrap_err(), "left.shared.weight");
    let mut part = Step::train(&net.left, Sgd::new(0.1), |left, cx, [x]| left.forward(&x, cx).sum(..));
    wrong(part.run([Input::new(&x, &[1, 3])]).unwrap_err(), "shared.weight");
    let mut forward = Function::inference_many(&net, |net, cx, x| vec![net.forward(&x[0], cx)]);
    wrong(forward.run(&[Input::new(&x, &[1, 3])]).unwrap_err(), "left.shared.weight");
    let y = named(&net, || net.forward(&Tensor::zeros([1, 3]), &Context::inference()));
    wrong(y.error().unwrap(), "left.shared.weight");
    // Names don't outlive what they are for.
    let y = net.forward(&Tensor::zeros([1, 3]), &Context::inference());
    assert!(!y.error().unwrap().to_string().contains("weight"));
    let panicked = std::panic::catch_unwind(|| named(&net, || panic!("on purpose")));
    assert!(panicked.is_err());
    let y = net.forward(&Tensor::zeros([1, 3]), &Context::inference());
    assert!(!y.error().unwrap().to_string().contains("weight"));
}

#[test]
fn layers_that_are_made_by_their_first_tensor_have_names_in_its_program() {
    let row = Sequential::new().dense(3).relu().dense(1);
    assert!(row.parameters().is_empty());
    let text = listing(&row);
    assert!(text.contains("0.weight") && text.contains("2.bias"), "{text}");
}

/// Names are for people: a tensor made elsewhere reads the same variable, has its gradient and sees its update.
#[test]
fn a_parameter_read_outside_of_the_closure_is_the_same_parameter() {
    let weight = Param::new(&Tensor::from([2f32]));
    let outside = weight.tensor();
    let mut step =
        Step::train(&weight, Sgd::new(1.0), |weight, _, [x]| (&outside * weight.tensor() * x).sum(..));
    step.run([Input::new(&[0.25f32], &[1])]).unwrap();
    // The square's slope is twice the weight.
    assert_eq!(weight.value().unwrap().as_slice(), Some(&[1f32][..]));
}

#[test]
fn a_step_of_ones_own_calls_parts_by_the_names_it_gives_them() {
    let net = pair();
    let sgd = Sgd::new(0.1);
    let mut step = Step::custom(0.1, StepOptions::new(), |step, [x]| {
        let loss = net.forward(&x, step.context()).sum(..);
        step.minimise("encoder", &net.left, &sgd, &loss)?;
        step.minimise("head", &net.right, &sgd, &loss)?;
        Ok(vec![loss])
    });
    let program = step.function().program([Input::new(&[0f32; 2], &[1, 2])]).unwrap().to_string();
    assert!(program.contains("encoder.shared.weight") && program.contains("head.bias"), "{program}");
}
