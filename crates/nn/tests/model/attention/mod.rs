//! Attention: values and gradients beside PyTorch's (`make.py`), and the same bits on every path that computes a query.

use kiln_nn::{AttentionOptions, DType, Data, Key, Layer, MultiHeadAttention, Tensor};
use serde_json::Value;

fn tensor(value: &Value, dtype: DType) -> Tensor {
    let shape: Vec<usize> = serde_json::from_value(value["shape"].clone()).unwrap();
    let numbers = value["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    Tensor::from_data(Data::F64(numbers).cast(dtype), shape)
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.cast(DType::F64).to_vec::<f64>().unwrap()
}

#[test]
fn values_and_gradients_are_pytorchs_for_every_option() {
    let lines = include_str!("values.jsonl").lines();
    let mut count = 0;
    for (line, (dtype, precision)) in
        lines.flat_map(|line| [(DType::F64, 1e-9), (DType::F32, 3e-5)].map(|dtype| (line, dtype)))
    {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        let [q, k, v, g] = ["q", "k", "v", "g"].map(|part| tensor(&case[part], dtype));
        let mut options = AttentionOptions::new().offset(case["offset"].as_u64().unwrap() as usize);
        options.scale = case["scale"].as_f64();
        options.causal = case["causal"].as_bool().unwrap();
        options.grouped = case["grouped"].as_bool().unwrap();
        options.window = case["window"].as_u64().map(|keys| keys as usize);
        let places = case["places"].as_array();
        let places: Option<Vec<i64>> =
            places.map(|places| places.iter().map(|place| place.as_i64().unwrap()).collect());
        options.places = places.map(|places| Tensor::new(places.clone(), [places.len()]));
        let mut wanted = vec![q.clone(), k.clone(), v.clone()];
        if let Some(mask) = case.get("mask") {
            let bools = case["bools"].as_bool().unwrap();
            let mask = tensor(mask, if bools { DType::Bool } else { dtype });
            if !bools {
                wanted.push(mask.clone());
            }
            options.mask = Some(mask);
        }
        let y = q.attention(&k, &v, &options);
        let gradients = (&y * &g).sum(..).grad(&wanted.iter().collect::<Vec<_>>());
        let expected = case["gradients"].as_array().unwrap();
        assert_eq!(expected.len(), gradients.len(), "{name}");
        let pairs = gradients.iter().zip(expected).enumerate();
        let pairs = pairs.map(|(at, (found, expected))| (format!("gradient {at}"), found, expected));
        for (what, found, expected) in pairs.chain([("value".to_string(), &y, &case["y"])]) {
            let expected = tensor(expected, DType::F64);
            assert_eq!(found.shape(), expected.shape(), "{name}: {what}");
            for (found, expected) in numbers(found).into_iter().zip(numbers(&expected)) {
                let near = (found - expected).abs() <= precision * (1.0 + expected.abs());
                assert!(near, "{name} in {dtype}: {what} is {found} instead of {expected}");
            }
        }
        count += 1;
    }
    assert!(count >= 30, "{count} cases");
}

/// Numbers that look random.
fn made(shape: [usize; 4], seed: i64) -> Tensor {
    let count = shape.iter().product::<usize>();
    let number = |at: usize| 4.0 * kiln_ir::random::uniform(seed, at as i64) - 2.0;
    Tensor::new((0..count).map(number).collect::<Vec<f32>>(), shape)
}

fn bits(x: &Tensor) -> Vec<u32> {
    x.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// More than two blocks of keys, and widths that fill no vector.
const STEPS: usize = 150;

#[test]
fn a_query_gives_the_same_bits_alone_behind_a_cache_in_chunks_and_among_others() {
    let (q, k, v) = (made([3, 4, STEPS, 20], 1), made([3, 2, STEPS, 20], 2), made([3, 2, STEPS, 24], 3));
    for window in [None, Some(40), Some(100)] {
        let causal = || AttentionOptions { window, ..AttentionOptions::new().causal().grouped() };
        let all = q.attention(&k, &v, &causal());
        let expected = |from: usize, count: usize| bits(&all.narrow(2, from as isize, count));
        for (from, count) in
            [(0, 1), (1, 1), (63, 1), (64, 1), (127, 2), (149, 1), (0, 70), (60, 90), (33, 17)]
        {
            let part = q.narrow(2, from as isize, count);
            // Over the keys that there are by then.
            let [keys, values] = [&k, &v].map(|x| x.narrow(2, 0, from + count));
            let found = part.attention(&keys, &values, &causal().offset(from));
            assert_eq!(bits(&found), expected(from, count), "{count} from {from}, {window:?}");
            // Over a cache with room for more, which holds anything, at a place that is known when it runs.
            let fill = |x: &Tensor| {
                let behind = Tensor::full([3, 2, 40, x.size(3)], 1e3f32);
                Tensor::concat(&[&x.narrow(2, 0, from + count), &behind], 2)
            };
            let places = Tensor::new(vec![from as i64; 3], [3]);
            let found = part.attention(&fill(&k), &fill(&v), &causal().places(&places));
            assert_eq!(bits(&found), expected(from, count), "{count} from {from} in a cache, {window:?}");
        }
        // One sequence of the batch, and one head of it.
        let one = |x: &Tensor| x.narrow(0, 1, 1);
        let found = one(&q).attention(&one(&k), &one(&v), &causal());
        assert_eq!(bits(&found), bits(&one(&all)), "{window:?}");
        let found =
            one(&q).narrow(1, 2, 2).attention(&one(&k).narrow(1, 1, 1), &one(&v).narrow(1, 1, 1), &causal());
        assert_eq!(bits(&found), bits(&one(&all).narrow(1, 2, 2)), "{window:?}");
    }
}

#[test]
fn padding_changes_no_bit() {
    let (q, k, v) = (made([2, 2, 70, 16], 4), made([2, 2, 70, 16], 5), made([2, 2, 70, 16], 6));
    let padded = |x: &Tensor| Tensor::concat(&[x, &Tensor::full([2, 2, 80, 16], -3f32)], 2);
    let mask = Tensor::index_along([1, 1, 1, 150], 3).lt(70);
    let plain = q.attention(&k, &v, &AttentionOptions::new());
    let found = padded(&q).attention(&padded(&k), &padded(&v), &AttentionOptions::new().mask(&mask));
    assert_eq!(bits(&found.narrow(2, 0, 70)), bits(&plain));
}

#[test]
fn memory_grows_with_the_sequence_not_with_its_square() {
    let attention = MultiHeadAttention::new(16, 2, Key::new(1)).causal();
    let arena = |steps: usize| {
        let attention = attention.clone();
        let mut step = kiln_nn::Step::train(
            &attention,
            kiln_nn::Sgd::new(0.1),
            |layer: &MultiHeadAttention, cx, [x]| layer.forward(&x, cx).square().mean(..),
        );
        let x = vec![0.5f32; steps * 16];
        let input = kiln_nn::Input::new(&x, &[1, steps, 16]);
        step.function().program([input]).unwrap().arena
    };
    let (short, long) = (arena(128), arena(1024));
    assert!(long <= 9 * short, "{short} bytes for 128 steps, {long} for 1024");
}
