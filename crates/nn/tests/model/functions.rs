//! Functions of any number of inputs, and compiled ones that many threads run.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_nn::{
    Context, DType, Dense, Function, Input, Key, Layer, Module, Sequential, Sgd, Step, StepOptions, Tensor,
    Variable,
};

fn numbers(data: &kiln_nn::Data) -> Vec<f32> {
    data.as_slice::<f32>().unwrap().to_vec()
}

#[test]
fn a_function_of_any_number_of_inputs_is_compiled_for_each_number() {
    let traced = AtomicUsize::new(0);
    let mut sum = Function::many(|inputs| {
        traced.fetch_add(1, Ordering::Relaxed);
        let zero = Tensor::zeros([2]);
        vec![inputs.iter().fold(zero, |sum, input| sum + input)]
    });
    let values = [1f32, 10.0];
    for round in 0..2 {
        for count in [0, 1, 5, 3] {
            let inputs: Vec<Input> = (0..count).map(|_| Input::new(&values, &[2])).collect();
            let out = sum.run(&inputs).unwrap();
            assert_eq!(numbers(&out[0]), [count as f32, 10.0 * count as f32], "round {round}");
        }
    }
    drop(sum);
    assert_eq!(traced.into_inner(), 4, "once for each number");
}

#[test]
fn a_function_of_an_array_is_one_of_any_number_that_refuses_others() {
    let mut product = Function::new(|[x, y]| vec![x * y]).any();
    let (x, y) = ([2f32], [3f32]);
    let (x, y) = (Input::new(&x, &[1]), Input::new(&y, &[1]));
    assert_eq!(numbers(&product.run(&[x.clone(), y.clone()]).unwrap()[0]), [6.0]);
    let error = product.run(vec![x.clone(), y, x]).unwrap_err().to_string();
    assert!(error.contains("takes 2 inputs, not 3"), "{error}");
    // It is as usable as before.
    let ones = [1f32];
    let one = Input::new(&ones, &[1]);
    assert_eq!(numbers(&product.run(&[one.clone(), one]).unwrap()[0]), [1.0]);
}

#[test]
fn a_step_of_any_number_of_inputs_trains_as_one_of_an_array_does() {
    let data = [[1f32, 2.0, 3.0, 4.0], [0.5, -1.0, 2.0, 1.0], [1.0, 0.0, 1.0, 0.0]];
    let towers = |many: bool| {
        let nets =
            vec![Dense::new(2, 3, Key::new(1)), Dense::new(2, 3, Key::new(2)), Dense::new(2, 3, Key::new(3))];
        let loss = |nets: &Vec<Dense>, cx: &Context, inputs: &[Tensor]| {
            let parts = nets.iter().zip(inputs).map(|(net, x)| net.forward(x, cx));
            let joined = parts.reduce(|a, b| a * b).unwrap();
            vec![joined.square().mean(..), joined]
        };
        let inputs: Vec<Input> = data.iter().map(|x| Input::new(x, &[2, 2])).collect();
        let options = StepOptions::new().accumulate(2);
        let losses: Vec<f32> = if many {
            let mut step = Step::train_many(&nets, Sgd::new(0.1).momentum(0.9), options, loss);
            (0..6).map(|_| step.run(&inputs).unwrap()).collect()
        } else {
            let mut step =
                Step::train_with(&nets, Sgd::new(0.1).momentum(0.9), options, |nets, cx, [a, b, c]| {
                    loss(nets, cx, &[a, b, c])
                });
            let [a, b, c] = <[Input; 3]>::try_from(inputs).unwrap();
            (0..6).map(|_| step.run([a.clone(), b.clone(), c.clone()]).unwrap()).collect()
        };
        let weights: Vec<_> = nets.parameters().iter().map(|(_, param)| param.value().unwrap()).collect();
        (losses, weights)
    };
    assert_eq!(towers(true), towers(false));
}

#[test]
fn a_compiled_function_gives_many_threads_the_same_bits_and_outlives_its_model() {
    let rows: Vec<Vec<f32>> =
        (0..64).map(|row| (0..16).map(|at| ((row * 16 + at) as f32).sin()).collect()).collect();
    let model = Sequential::new().dense(32).relu().dense(32).tanh().dense(4);
    let mut forward = Function::inference(&model, |model, cx, [x]| model.forward(&x, cx).softmax(-1));
    let alone: Vec<Vec<f32>> =
        rows.iter().map(|row| numbers(&forward.run([Input::new(row, &[1, 16])]).unwrap()[0])).collect();
    let compiled = forward.compile(&[([1, 16].into(), DType::F32)]).unwrap();
    drop(forward);
    drop(model);
    let threads = 4;
    let together = Barrier::new(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                together.wait();
                for _ in 0..8 {
                    for (row, alone) in rows.iter().zip(&alone) {
                        let out = compiled.clone();
                        let out = out.run(&[Input::new(row, &[1, 16])]).unwrap();
                        assert_eq!(numbers(&out[0]), *alone);
                    }
                }
            });
        }
    });
}

#[test]
fn results_go_only_into_variables_of_their_shape_and_type() {
    let mut double = Function::new(|[x]: [Tensor; 1]| vec![x * 2.0]);
    let x = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let mut into =
        |result: &Variable| double.run_into([Input::new(&x, &[2, 3])], std::slice::from_ref(result));
    for (wrong, part) in [
        (Variable::filled("turned", 0f32, [3, 2]), "turned, which it should go into, is f32[3, 2]"),
        (Variable::filled("flat", 0f32, [6]), "is f32[6]"),
        (Variable::filled("whole", 0i32, [2, 3]), "is i32[2, 3]"),
    ] {
        let error = into(&wrong).unwrap_err().to_string();
        assert!(error.contains("result 0 is f32[2, 3]") && error.contains(part), "{error}");
    }
    let right = Variable::filled("right", 0f32, [2, 3]);
    into(&right).unwrap();
    assert_eq!(numbers(&right.read().unwrap()), [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
}

/// Who holds an answer keeps the memory that it is in.
#[test]
fn answers_that_are_held_are_not_overwritten() {
    let mut double = Function::new(|[x]| vec![x * 2.0]);
    let compiled = double.compile(&[([2].into(), DType::F32)]).unwrap();
    let first = compiled.run(&[Input::new(&[1f32, 2.0], &[2])]).unwrap();
    let second = compiled.run(&[Input::new(&[3f32, 4.0], &[2])]).unwrap();
    assert_eq!((numbers(&first[0]), numbers(&second[0])), (vec![2.0, 4.0], vec![6.0, 8.0]));
    drop(first);
    let third = compiled.run(&[Input::new(&[5f32, 6.0], &[2])]).unwrap();
    assert_eq!((numbers(&second[0]), numbers(&third[0])), (vec![6.0, 8.0], vec![10.0, 12.0]));
}

#[test]
fn a_compiled_function_reads_its_variables_anew_and_refuses_other_inputs() {
    let scale = Variable::scalar("scale", 2f32);
    let mut scaled = Function::new({
        let scale = scale.clone();
        move |[x]: [Tensor; 1]| vec![x * scale.tensor()]
    });
    let compiled = scaled.compile(&[([1].into(), DType::F32)]).unwrap();
    let run = || numbers(&compiled.run(&[Input::new(&[3f32], &[1])]).unwrap()[0]);
    assert_eq!(run(), [6.0]);
    scale.set(5f32).unwrap();
    assert_eq!(run(), [15.0]);
    for (input, part) in [(Input::new(&[1f32, 2.0], &[2]), "f32[2]"), (Input::new(&[1i64], &[1]), "i64[1]")] {
        let error = compiled.run(&[input]).unwrap_err().to_string();
        assert!(error.contains("compiled for inputs f32[1]") && error.contains(part), "{error}");
    }
    assert!(compiled.run(&[]).is_err());
    // What fails leaves it usable.
    let mut pick = Function::new(|[x, y]: [Tensor; 2]| vec![x.gather(0, &y)]);
    let pick = pick.compile(&[([3].into(), DType::F32), ([1].into(), DType::I64)]).unwrap();
    let x = [1f32, 2.0, 3.0];
    let at = |index: i64| {
        pick.run(&[Input::new(&x, &[3]), Input::new(&[index], &[1])]).map(|out| numbers(&out[0]))
    };
    assert_eq!(at(2).unwrap(), [3.0]);
    assert!(at(7).is_err());
    assert_eq!(at(0).unwrap(), [1.0]);
}
