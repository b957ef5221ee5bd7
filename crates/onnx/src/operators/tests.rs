//! What ONNX's own tests don't show: files that ask for too much, values that are known only when it runs.

use kiln_ir::{DType, Data, Expr};
use kiln_nn::{Context, Tensor};

use super::find;
use crate::call::{Call, vector};
use crate::error::{Error, Result};
use crate::proto::{AttributeProto, NodeProto};
use crate::value::{Value, whole};

fn setting(name: &str) -> AttributeProto {
    AttributeProto { name: Some(name.to_string()), ..Default::default() }
}

fn run(name: &str, settings: Vec<AttributeProto>, inputs: Vec<Value>) -> Result<Vec<Value>> {
    let node = NodeProto {
        op_type: Some(name.to_string()),
        output: vec!["y".to_string()],
        attribute: settings,
        ..Default::default()
    };
    let (context, folder) = (Context::inference(), std::path::Path::new("."));
    let inner = |_: &_, _| Err(Error::network("no graphs here"));
    let call = Call { node: &node, inputs, version: 22, context: &context, folder, inner: &inner };
    find("", name).ok_or_else(|| Error::network("unknown"))?(&call)
}

/// What a step gets when it runs.
fn later(shape: &[usize], dtype: DType) -> Value {
    Value::of(Tensor::from(Expr::input(0, shape, dtype)))
}

fn numbers(value: &Value) -> Vec<i64> {
    whole(&value.constant().unwrap_or(Data::I64(Vec::new())))
}

const HUGE: i64 = 1 << 40;

#[test]
fn what_no_memory_holds_is_refused_before_it_is_made() {
    let x = || Value::of(Tensor::from([[1f32, 2.0], [3.0, 4.0]]));
    let int = |value: i64| Value::of(Tensor::from(value));
    let all = [
        ("ConstantOfShape", vec![vector(vec![HUGE, HUGE])]),
        ("ConstantOfShape", vec![vector(vec![0, i64::MAX, i64::MAX])]),
        ("ConstantOfShape", vec![vector(vec![-1])]),
        ("ConstantOfShape", vec![vector(vec![1; 1000])]),
        ("Expand", vec![x(), vector(vec![HUGE, 1, 1])]),
        ("Tile", vec![x(), vector(vec![HUGE, i64::MAX])]),
        ("Reshape", vec![x(), vector(vec![HUGE, -1, HUGE])]),
        ("Reshape", vec![x(), vector(vec![0, 0, 0])]),
        ("Range", vec![int(0), int(i64::MAX), int(1)]),
        ("Range", vec![int(i64::MIN), int(i64::MAX), int(1)]),
        ("Pad", vec![x(), vector(vec![i64::MIN, 0, i64::MAX, 0])]),
        ("Pad", vec![x(), vector(vec![HUGE, 0, HUGE, 0])]),
        ("OneHot", vec![vector(vec![1]), int(HUGE), vector(vec![0, 1])]),
        ("CenterCropPad", vec![x(), vector(vec![HUGE, 1])]),
        ("Resize", vec![x(), Value::Nothing, Value::of(Tensor::from([1e30f32, 1.0]))]),
        ("Resize", vec![x(), Value::Nothing, Value::Nothing, vector(vec![1 << 30, 1])]),
        ("Split", vec![x(), vector(vec![i64::MAX, i64::MAX])]),
        ("Unsqueeze", vec![x(), vector((0..1000).collect())]),
    ];
    for (name, inputs) in all {
        let shown = format!("{name} {inputs:?}");
        assert!(run(name, Vec::new(), inputs).is_err(), "{shown}");
    }
}

#[test]
fn parts_are_cut_as_numpy_cuts_them() {
    let x = || vector((0..6).collect());
    let cut = |start: i64, end: i64, step: i64| {
        let inputs = vec![x(), vector(vec![start]), vector(vec![end]), vector(vec![0]), vector(vec![step])];
        run("Slice", Vec::new(), inputs).map(|values| numbers(&values[0])).unwrap_or(vec![-1])
    };
    assert_eq!(cut(1, i64::MAX, 2), [1, 3, 5]);
    assert_eq!(cut(-1, i64::MIN, -2), [5, 3, 1]);
    assert_eq!(cut(i64::MIN, i64::MAX, i64::MAX), [0]);
    assert_eq!(cut(i64::MAX, i64::MIN, i64::MIN), [5]);
    assert_eq!(cut(4, 2, 1), [0; 0]);
    assert_eq!(cut(0, 6, 0), [-1]);
}

#[test]
fn shapes_follow_from_shapes_where_the_numbers_are_not_known_yet() {
    let image = later(&[2, 3, 4], DType::F32);
    let shape = run("Shape", Vec::new(), vec![image.clone()]).unwrap().remove(0);
    let last = run("Gather", Vec::new(), vec![shape, vector(vec![-1])]).unwrap().remove(0);
    let axis = AttributeProto { i: Some(0), ..setting("axis") };
    let wanted = run("Concat", vec![axis], vec![vector(vec![-1]), last]).unwrap().remove(0);
    let flat = run("Reshape", Vec::new(), vec![image, wanted]).unwrap().remove(0);
    assert_eq!(flat.shape(), [6, 4]);
}

#[test]
fn what_has_to_be_known_is_asked_for_by_name() {
    let error = run("NonZero", Vec::new(), vec![later(&[3], DType::I64)]).unwrap_err().to_string();
    assert!(error.contains("known only when it runs"), "{error}");
}

#[test]
fn a_place_that_is_not_there_is_refused() {
    let table = || Value::of(Tensor::from([[1f32, 2.0], [3.0, 4.0]]));
    assert!(run("Gather", Vec::new(), vec![table(), vector(vec![2])]).is_err());
    // One column beyond its row isn't the first of the next.
    let place = Value::of(Tensor::from([[0i64, 2]]));
    let found = run("GatherND", Vec::new(), vec![table(), place]).unwrap().remove(0);
    assert_eq!(found.constant(), None);
}

#[test]
fn the_arc_functions_are_precise() {
    let x: Vec<f64> = (-1000..=1000).map(|at| f64::from(at) / 1000.0).collect();
    type Of = fn(f64) -> f64;
    let all: [(&str, f64, Of); 3] =
        [("Atan", 40.0, f64::atan), ("Asin", 1.0, f64::asin), ("Acos", 1.0, f64::acos)];
    for (name, scale, f) in all {
        let x: Vec<f64> = x.iter().map(|x| f64::from((x * scale) as f32)).collect();
        let given = Tensor::from(x.clone()).cast(DType::F32);
        let y = run(name, Vec::new(), vec![Value::of(given)]).unwrap().remove(0);
        let y = y.constant().map(|data| data.cast(DType::F64).scalars()).unwrap_or_default();
        for (x, y) in x.iter().zip(y) {
            let wanted = f(*x);
            let near = (y.as_f64() - wanted).abs() <= 1e-6 * wanted.abs();
            assert!(near, "{name} {x}: {} and should be {wanted}", y.as_f64());
        }
    }
}
