//! What ONNX's own tests don't show: files that ask for too much, values that are known only when it runs.

use kiln_ir::{DType, Data, Expr};
use kiln_map::{Budget, ExternalFiles, Limits};
use kiln_nn::{Context, Tensor};

use super::find;
use crate::call::{Call, vector};
use crate::error::{Error, Result};
use crate::proto::{AttributeProto, GraphProto, NodeProto, ValueInfoProto};
use crate::read::Origin;
use crate::value::{Value, whole};

fn named_attribute(name: &str) -> AttributeProto {
    AttributeProto { name: Some(name.to_string()), ..Default::default() }
}

fn run(name: &str, attributes: Vec<AttributeProto>, inputs: Vec<Value>) -> Result<Vec<Value>> {
    let node = NodeProto {
        op_type: Some(name.to_string()),
        output: vec!["y".to_string()],
        attribute: attributes,
        ..Default::default()
    };
    call("", &node, inputs)
}

fn call(domain: &str, node: &NodeProto, inputs: Vec<Value>) -> Result<Vec<Value>> {
    within(Limits::of_machine(), domain, node, inputs)
}

fn within(limits: Limits, domain: &str, node: &NodeProto, inputs: Vec<Value>) -> Result<Vec<Value>> {
    let (context, beside, budget) = (Context::inference(), ExternalFiles::nothing(), Budget::of(limits));
    let origin = Origin { beside: &beside, budget: &budget };
    let run_subgraph = |_: &_, _| Err(Error::network("no graphs here"));
    let call = Call {
        node,
        inputs,
        version: 22,
        context: &context,
        origin,
        run_subgraph: &run_subgraph,
        host: None,
    };
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
    let axis = AttributeProto { i: Some(0), ..named_attribute("axis") };
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
fn tree(attributes: &[(&str, Vec<i64>)]) -> NodeProto {
    let mut attribute: Vec<AttributeProto> = attributes
        .iter()
        .map(|(name, ints)| AttributeProto { ints: ints.clone(), ..named_attribute(name) })
        .collect();
    let modes = ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF"];
    let modes = modes.iter().map(|mode| bytes::Bytes::from_static(mode.as_bytes())).collect();
    attribute.push(AttributeProto { strings: modes, ..named_attribute("nodes_modes") });
    attribute
        .push(AttributeProto { floats: vec![0.5, 1.5, 0.0, 0.0, 0.0], ..named_attribute("nodes_values") });
    attribute.push(AttributeProto { floats: vec![1.0, 2.0, 4.0], ..named_attribute("target_weights") });
    attribute.push(AttributeProto { i: Some(1), ..named_attribute("n_targets") });
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
        let mut attributes = good();
        attributes[at].1 = list;
        let found = call("ai.onnx.ml", &tree(&attributes), vec![x()]);
        assert!(found.is_err(), "{:?}", attributes[at]);
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
    let axis = AttributeProto { i: Some(0), ..named_attribute("axis") };
    let whole = run("ConcatFromSequence", vec![axis], vec![parts.clone()]).unwrap().remove(0);
    assert_eq!(numbers(&whole), [1, 2, 3, 4, 5, 6]);
    assert!(run("SequenceAt", Vec::new(), vec![parts, Value::of(Tensor::from(2i64))]).is_err());
    assert!(run("Add", Vec::new(), vec![Value::List(Default::default()), x()]).is_err());
}

/// The operators by their names in the sources beside this one, with their domain.
fn all() -> Vec<(&'static str, String)> {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/operators"))];
    let mut names = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            let quoted = text.split('"').skip(1).step_by(2).map(str::to_string);
            names.extend(quoted.filter(|name| name.starts_with(|letter: char| letter.is_ascii_uppercase())));
        }
    }
    names.sort();
    names.dedup();
    let domains = ["", crate::export::ML, "com.microsoft"];
    let known =
        |name: String| domains.into_iter().find(|domain| find(domain, &name).is_some()).map(|at| (at, name));
    names.into_iter().filter_map(known).collect()
}

/// Numbers, lists and matrices where others are meant, of every type, and too few of them: an error or a value, and no panic.
#[test]
fn any_operator_takes_any_shape_or_refuses_it() {
    const SHAPES: [&[usize]; 8] = [&[], &[0], &[1], &[2], &[2, 3], &[0, 3], &[1, 2, 3, 3], &[2, 1, 2]];
    const ATTRIBUTES: [&str; 12] = [
        "axis",
        "axes",
        "mode",
        "to",
        "kernel_shape",
        "pads",
        "perm",
        "keepdims",
        "group",
        "num_heads",
        "block_size",
        "direction",
    ];
    let operators = all();
    assert!(operators.len() > 200, "{}", operators.len());
    let mut rng = kiln_testkit::Rng::new(7);
    for (domain, name) in operators {
        for case in 0..60 {
            let elements = [DType::F32, DType::I64, DType::U8, DType::I32, DType::Bool, DType::F16];
            let dtype = elements[rng.below(elements.len())];
            let value = |rng: &mut kiln_testkit::Rng| {
                let shape = SHAPES[rng.below(SHAPES.len())];
                let dtype = if rng.below(3) == 0 { elements[rng.below(elements.len())] } else { dtype };
                match rng.below(12) {
                    0 => Value::Nothing,
                    1 => Value::texts(vec!["a".to_string(); shape.iter().product()], shape),
                    2 => later(shape, dtype),
                    3 => Value::List(vec![later(shape, dtype)].into()),
                    _ => Value::of(Tensor::ones(shape).cast(dtype)),
                }
            };
            let inputs: Vec<Value> = (0..rng.below(10)).map(|_| value(&mut rng)).collect();
            let attributes = (0..rng.below(3)).map(|_| {
                let number = rng.below(5) as i64 - 2;
                let ints = (0..rng.below(4)).map(|_| rng.below(4) as i64 - 1).collect();
                AttributeProto {
                    i: Some(number),
                    ints,
                    ..named_attribute(ATTRIBUTES[rng.below(ATTRIBUTES.len())])
                }
            });
            let node = NodeProto {
                op_type: Some(name.clone()),
                output: vec!["y".to_string()],
                attribute: attributes.collect(),
                ..Default::default()
            };
            let shown = format!("{name}, case {case}: {inputs:?} {:?}", node.attribute);
            let made =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(call(domain, &node, inputs))));
            assert!(made.is_ok(), "{shown}");
        }
    }
}

#[test]
fn a_number_where_quantised_ones_have_axes_is_no_panic() {
    let scalar = |dtype: DType| Value::of(Tensor::from(1f32).cast(dtype));
    let scales = || Value::of(Tensor::from([1f32, 2.0]));
    for name in ["QuantizeLinear", "DequantizeLinear"] {
        assert!(run(name, Vec::new(), vec![scalar(DType::F32), scalar(DType::F32)]).is_ok(), "{name}");
        assert!(run(name, Vec::new(), vec![scalar(DType::F32), scales()]).is_err(), "{name}");
    }
    for name in ["ConvInteger", "QLinearConv", "MatMulInteger", "QLinearMatMul"] {
        for count in 2..10 {
            assert!(
                run(name, Vec::new(), (0..count).map(|_| scalar(DType::U8)).collect()).is_err(),
                "{name}"
            );
        }
        let vectors = |_| Value::of(Tensor::from([1f32, 2.0]).cast(DType::U8));
        let _ = run(name, Vec::new(), (0..9).map(vectors).collect());
    }
}

/// Exporters write the scale as the sizes' ratio in 32 bits, and the size that they mean is the product in 32 bits.
#[test]
fn a_scale_gives_the_size_it_was_made_of() {
    let mut all = 0;
    for from in [7, 13, 25, 49, 56, 75, 100, 150, 199, 224, 299, 333, 480, 513] {
        for to in (1..=2 * from).step_by(3) {
            let scale = to as f32 / from as f32;
            let x = later(&[from], DType::F32);
            let inputs = vec![x, Value::Nothing, Value::of(Tensor::from([scale]))];
            let shape = run("Resize", Vec::new(), inputs).unwrap()[0].shape();
            assert_eq!(shape, [(from as f32 * scale) as usize], "{from} to {to}");
            all += usize::from(shape == [to]);
        }
    }
    let x = || later(&[49], DType::F32);
    let ratio = 47f32 / 49.0;
    let made = run("Resize", Vec::new(), vec![x(), Value::Nothing, Value::of(Tensor::from([ratio]))]);
    assert_eq!(made.unwrap()[0].shape(), [47]);
    assert!(all > 1600, "{all} of them are as they were meant");
}

/// What is counted before it is made: places, texts, parts, and the nodes that they become.
#[test]
fn lists_take_from_the_budget() {
    let small = Limits { bytes: 1 << 16, nodes: 100, steps: 1 << 20 };
    let x = |sizes: &[usize]| Value::of(Tensor::zeros(sizes));
    let texts = || Value::texts(vec!["a text".to_string(); 9], &[3, 3]);
    let words = |count: usize| Value::texts(vec!["a".to_string(); count], &[count]);
    for (name, inputs) in [
        ("SplitToSequence", vec![x(&[1000])]),
        ("Tile", vec![texts(), vector(vec![100, 100])]),
        ("Expand", vec![texts(), vector(vec![1000, 1, 1])]),
        ("NonZero", vec![Value::of(Tensor::ones([100, 100]))]),
        (
            "Reshape",
            vec![
                x(&[4]),
                Value::of(Tensor::ones([300, 300]).matmul(&Tensor::ones([300, 300])).sum(..).unsqueeze(0)),
            ],
        ),
        ("Pad", vec![x(&[4]), vector(vec![0, 40_000])]),
        ("StringConcat", vec![Value::texts(vec!["x".repeat(1 << 10)], &[1]), words(100)]),
        ("StringSplit", vec![Value::texts(vec!["a ".repeat(3000)], &[1])]),
        ("Det", vec![x(&[110, 110])]),
    ] {
        let attributes = match name {
            "Pad" => vec![AttributeProto { s: Some("edge".into()), ..named_attribute("mode") }],
            _ => Vec::new(),
        };
        let node = NodeProto { op_type: Some(name.to_string()), attribute: attributes, ..Default::default() };
        let error = within(small, "", &node, inputs.clone()).err().unwrap_or_else(|| panic!("{name}"));
        assert!(
            matches!(error, Error::Limit { .. }) && error.to_string().contains("--limit"),
            "{name}: {error}"
        );
        if name != "Reshape" {
            assert!(call("", &node, inputs).is_ok(), "{name}");
        }
    }
}

#[test]
fn what_the_rounds_of_a_loop_give_takes_from_the_budget() {
    let body = GraphProto { output: vec![ValueInfoProto::default(); 3], ..Default::default() };
    let body = AttributeProto { g: Some(body), ..named_attribute("body") };
    let node = NodeProto { op_type: Some("Loop".to_string()), attribute: vec![body], ..Default::default() };
    let limits = Limits { bytes: 1 << 20, ..Limits::of_machine() };
    let (context, beside, budget) = (Context::inference(), ExternalFiles::nothing(), Budget::of(limits));
    let round = |_: &GraphProto, inputs: Vec<Value>| {
        Ok(vec![Value::of(Tensor::from(true)), inputs[2].clone(), Value::of(Tensor::ones([1 << 10]))])
    };
    let rounds = |count: i64| {
        let call = Call {
            node: &node,
            inputs: vec![Value::of(Tensor::from(count)), Value::Nothing, Value::of(Tensor::ones([4]))],
            version: 22,
            context: &context,
            origin: Origin { beside: &beside, budget: &budget },
            run_subgraph: &round,
            host: None,
        };
        find("", "Loop").unwrap()(&call).map(|values| values[1].shape())
    };
    assert_eq!(rounds(200).unwrap(), [200, 1 << 10]);
    // It is given back.
    assert_eq!(rounds(200).unwrap(), [200, 1 << 10]);
    let error = rounds(300).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
}

#[test]
fn steps_at_zero_and_dropped_infinities_are_numbers() {
    let one = |number: f32| Value::of(Tensor::from([number]));
    let (rate, count) = (Value::of(Tensor::from(0.1f32)), Value::of(Tensor::from(1i64)));
    for (name, states) in [("Adagrad", 1), ("Adam", 2)] {
        let mut inputs = vec![rate.clone(), count.clone(), one(2.0), one(0.0)];
        inputs.extend(vec![one(0.0); states]);
        let node = NodeProto { op_type: Some(name.to_string()), ..Default::default() };
        let x = call("ai.onnx.preview.training", &node, inputs).unwrap()[0].constant();
        assert_eq!(x, Some(Data::F32(vec![2.0])), "{name}");
    }
    let x = Value::of(Tensor::full([100], f64::INFINITY).cast(DType::F32));
    let inputs = vec![x, Value::of(Tensor::from(0.5f32)), Value::of(Tensor::from(true))];
    let Some(Data::F32(y)) = run("Dropout", Vec::new(), inputs).unwrap()[0].constant() else { panic!() };
    assert!(y.contains(&0.0) && y.iter().all(|y| *y == 0.0 || *y == f32::INFINITY), "{y:?}");
    let y = run("Det", Vec::new(), vec![Value::of(Tensor::ones([3, 0, 0]))]).unwrap()[0].constant();
    assert_eq!(y, Some(Data::F32(vec![1.0; 3])));
}
