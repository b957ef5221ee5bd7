//! Mistakes come out where a value is asked for, with everything a person needs to mend them.

mod kit;

use kiln::module::named;
use kiln::prelude::*;
use kiln::{ErrorKind, tensor::Tensor as T};
use kit::Mlp;

#[test]
fn a_poisoned_tensor_names_operation_shapes_parameter_and_the_users_line() {
    let net = Mlp::new(&[784, 256, 10], 1);
    let x = Tensor::zeros([32, 768]);
    let line = line!() + 1;
    let y = named(&net, || x.matmul(&net.layers[0].weight.tensor()));
    let error = y.relu().sum(..).item().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Shape);
    assert_eq!(error.operation, "matmul");
    let text = error.to_string();
    for part in ["[32, 768]", "[784, 256]", "0.weight", &format!("tests/errors.rs:{line}")] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[test]
fn a_mistake_inside_a_layer_names_the_line_that_called_the_layer() {
    let net = Mlp::new(&[4, 2], 1);
    let line = line!() + 1;
    let y = net.layers[0].forward(&Tensor::zeros([1, 3]), &Context::inference());
    let text = y.error().unwrap().to_string();
    assert!(text.contains(&format!("tests/errors.rs:{line}")), "{text}");
}

#[test]
fn the_first_error_wins_and_is_there_at_once() {
    let first = Tensor::zeros([2]) + Tensor::zeros([3]);
    let second = Tensor::zeros([4, 5]).matmul(&first);
    let third = (second + Tensor::zeros([7]).reshape([2, 2])).softmax(5);
    let text = third.error().unwrap().to_string();
    assert!(text.contains("[2] and [3]"), "{text}");
    // The other order: the error of the left operand is the first one met.
    let both = Tensor::zeros([7]).reshape([2, 2]) + (Tensor::zeros([2]) + Tensor::zeros([3]));
    assert!(both.error().unwrap().operation.contains("reshape"));
    assert!(both.to_vec::<f32>().is_err() && both.to_string().starts_with("error: "));
}

#[test]
fn gradients_of_a_poisoned_loss_carry_its_error() {
    let x = Tensor::from([1.0, 2.0]);
    let loss = (&x * Tensor::zeros([3])).sum(..);
    let error = loss.grad(&[&x])[0].item().unwrap_err();
    assert!(error.to_string().contains("[2] and [3]"), "{error}");
    // Not a scalar, so there is no one gradient.
    assert!(x.grad(&[&x])[0].error().is_some());
}

#[test]
fn wrong_inputs_of_a_step_are_errors_and_leave_it_usable() {
    let net = Mlp::new(&[4, 3], 1);
    let mut step = Step::train(&net, Sgd::new(0.1), |net, cx, [x, y]| net.forward(&x, cx).cross_entropy(&y));
    let x = [0.5f32; 8];
    let good = |step: &mut Step<2>| step.run([Input::new(&x, &[2, 4]), Input::new(&[0i64, 2], &[2])]);
    good(&mut step).unwrap();
    // The inner sizes differ.
    let error = step.run([Input::new(&x, &[4, 2]), Input::new(&[0i64; 4], &[4])]).unwrap_err().to_string();
    assert!(error.contains("[4, 2]") && error.contains("0.weight"), "{error}");
    // Another number of labels than rows.
    assert!(step.run([Input::new(&x, &[2, 4]), Input::new(&[0i64; 3], &[3])]).is_err());
    // Labels as floats.
    assert!(step.run([Input::new(&x, &[2, 4]), Input::new(&[0f32; 2], &[2])]).is_err());
    // A slice that doesn't fill its shape.
    let error =
        step.run([Input::new(&x[..5], &[2, 4]), Input::new(&[0i64; 2], &[2])]).unwrap_err().to_string();
    assert!(error.contains('5') && error.contains('8'), "{error}");
    good(&mut step).unwrap();
    assert_eq!(step.count().unwrap(), 2, "only steps that ran count");
}

#[test]
fn a_step_without_a_scalar_loss_is_an_error() {
    let w = Param::new(&Tensor::from([1.0f32, 2.0]));
    let (mut step, line) = (Step::train(&w, Sgd::new(0.1), |w, _, [x]| w.tensor() * x), line!());
    let error = step.run([Input::new(&[1f32, 2.0], &[2])]).unwrap_err();
    let at = error.at.unwrap();
    assert!(at.file().ends_with("errors.rs") && at.line() == line, "{error}");
    assert!(error.to_string().contains("sum()"), "{error}");
    let mut none =
        Step::train_with(&w, Sgd::new(0.1), StepOptions::new(), |_, _, [_x]: [Tensor; 1]| Vec::new());
    let error = none.run([Input::new(&[1f32, 2.0], &[2])]).unwrap_err().to_string();
    assert!(error.contains("loss"), "{error}");
}

#[test]
fn an_index_out_of_range_is_an_error_that_names_it() {
    let table = Param::new(&Tensor::zeros([10, 4]));
    let mut rows = Function::new({
        let table = table.clone();
        move |[index]: [Tensor; 1]| vec![table.tensor().embedding(&index)]
    });
    rows.run([Input::new(&[9i64, 0], &[2])]).unwrap();
    let error = rows.run([Input::new(&[3i64, 10], &[2])]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Index);
    assert!(error.to_string().contains("10"), "{error}");
    rows.run([Input::new(&[9i64, 0], &[2])]).unwrap();
}

#[test]
fn building_never_panics_on_odd_arguments() {
    let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
    let wrong: Vec<T> = vec![
        x.reshape([3, -1]),
        x.reshape([-1, -1]),
        x.sum(7),
        x.permute([0, 0]),
        x.transpose(0, 5),
        x.squeeze(0),
        x.index_select(4, &Tensor::from([0i64])),
        x.concat_with_nothing(),
        x.matmul(&Tensor::from(1.0)),
        x.broadcast_to([3, 2]),
        x.one_hot(3),
        Tensor::new(vec![1.0f32; 5], [2, 2]),
        Tensor::linspace(0.0, 1.0, 3).argmax(3),
        x.conv2d(&Tensor::zeros([1, 1, 3, 3]), &ConvOptions::default()),
        x.max_pool2d(0),
    ];
    for (position, tensor) in wrong.iter().enumerate() {
        let error = tensor.error().unwrap_or_else(|| panic!("number {position} should be an error"));
        let at = error.at.unwrap_or_else(|| panic!("number {position} has no line: {error}"));
        assert!(at.file().ends_with("tests/errors.rs"), "number {position}: {error}");
    }
}

trait Nothing {
    fn concat_with_nothing(&self) -> Tensor;
}

impl Nothing for Tensor {
    #[track_caller]
    fn concat_with_nothing(&self) -> Tensor {
        Tensor::concat(&[] as &[Tensor], 0)
    }
}
