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
    call("", &node, inputs)
}

fn call(domain: &str, node: &NodeProto, inputs: Vec<Value>) -> Result<Vec<Value>> {
    let (context, folder) = (Context::inference(), std::path::Path::new("."));
    let inner = |_: &_, _| Err(Error::network("no graphs here"));
    let call = Call { node, inputs, version: 22, context: &context, folder, inner: &inner };
    find(domain, node.op_type()).ok_or_else(|| Error::network("unknown"))?(&call)
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

#[test]
fn long_sums_of_whole_numbers_are_exact() {
    // Sums of 200, 2000 and 20000 products take one, two and four products of floats.
    for terms in [200usize, 2000, 20000] {
        let numbers = |seed: usize| (0..terms).map(move |at| ((at * 7919 + seed * 104_729) % 256) as u8);
        let (a, b): (Vec<u8>, Vec<u8>) = (numbers(1).collect(), numbers(2).collect());
        let wanted: i64 = a.iter().zip(&b).map(|(&a, &b)| i64::from(a) * (i64::from(b) - 3)).sum();
        let inputs = vec![
            Value::of(Tensor::new(a, [1, terms])),
            Value::of(Tensor::new(b, [terms, 1])),
            Value::Nothing,
            Value::of(Tensor::from(3u8)),
        ];
        let y = run("MatMulInteger", Vec::new(), inputs).unwrap().remove(0);
        assert_eq!(whole(&y.constant().unwrap()), [wanted], "{terms}");
    }
}

/// A tree that looks at two columns, with three leaves of weights 1, 2 and 4.
fn tree(settings: &[(&str, Vec<i64>)]) -> NodeProto {
    let mut attribute: Vec<AttributeProto> =
        settings.iter().map(|(name, ints)| AttributeProto { ints: ints.clone(), ..setting(name) }).collect();
    let modes = ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"];
    let modes = modes.iter().map(|mode| bytes::Bytes::from_static(mode.as_bytes())).collect();
    attribute.push(AttributeProto { strings: modes, ..setting("nodes_modes") });
    attribute.push(AttributeProto { floats: vec![0.5, 1.5, 0.0, 0.0, 0.0], ..setting("nodes_values") });
    attribute.push(AttributeProto { floats: vec![1.0, 2.0, 4.0], ..setting("target_weights") });
    attribute.push(AttributeProto { i: Some(1), ..setting("n_targets") });
    NodeProto { op_type: Some("TreeEnsembleRegressor".to_string()), attribute, ..Default::default() }
}

#[test]
fn rows_walk_down_a_tree_and_bad_trees_are_refused() {
    let good = || {
        vec![
            ("nodes_treeids", vec![0; 5]),
            ("nodes_nodeids", vec![0, 1, 2, 3, 4]),
            ("nodes_featureids", vec![0, 1, 0, 0, 0]),
            ("nodes_truenodeids", vec![1, 3, 0, 0, 0]),
            ("nodes_falsenodeids", vec![2, 4, 0, 0, 0]),
            ("target_treeids", vec![0; 3]),
            ("target_nodeids", vec![2, 3, 4]),
            ("target_ids", vec![0; 3]),
        ]
    };
    let x = || Value::of(Tensor::from([[1f32, 0.0], [0.5, 1.5], [0.0, 2.0], [f32::NAN, 0.0]]));
    let y = call("ai.onnx.ml", &tree(&good()), vec![x()]).unwrap().remove(0);
    assert_eq!(numbers(&y), [1, 2, 4, 1]);
    // With two roots, to nowhere, of a column that isn't there, too few of something, a target beyond the last.
    let bad: [(usize, Vec<i64>); 5] = [
        (3, vec![1, 1, 0, 0, 0]),
        (4, vec![9, 4, 0, 0, 0]),
        (2, vec![0, 2, 0, 0, 0]),
        (1, vec![0, 1]),
        (7, vec![0, 0, 1]),
    ];
    for (at, list) in bad {
        let mut settings = good();
        settings[at].1 = list;
        let found = call("ai.onnx.ml", &tree(&settings), vec![x()]);
        assert!(found.is_err(), "{:?}", settings[at]);
    }
}

#[test]
fn sequences_are_taken_apart_and_joined() {
    let x = || Value::of(Tensor::from([[1i64, 2], [3, 4], [5, 6]]));
    let two = Value::of(Tensor::from(2i64));
    let parts = run("SplitToSequence", Vec::new(), vec![x(), two]).unwrap().remove(0);
    let count = run("SequenceLength", Vec::new(), vec![parts.clone()]).unwrap().remove(0);
    assert_eq!(numbers(&count), [2]);
    let last = run("SequenceAt", Vec::new(), vec![parts.clone(), Value::of(Tensor::from(-1i64))]).unwrap();
    assert_eq!((last[0].shape(), numbers(&last[0])), (vec![1, 2], vec![5, 6]));
    let axis = AttributeProto { i: Some(0), ..setting("axis") };
    let whole = run("ConcatFromSequence", vec![axis], vec![parts.clone()]).unwrap().remove(0);
    assert_eq!(numbers(&whole), [1, 2, 3, 4, 5, 6]);
    assert!(run("SequenceAt", Vec::new(), vec![parts, Value::of(Tensor::from(2i64))]).is_err());
    assert!(run("Add", Vec::new(), vec![Value::List(Default::default()), x()]).is_err());
}
