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
    for dropout in [0.0, 0.2] {
        let attention = MultiHeadAttention::new(16, 2, Key::new(1)).causal().dropout(dropout);
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
        assert!(long <= 9 * short, "{short} bytes for 128 steps, {long} for 1024, dropping {dropout}");
    }
}

/// Attention with dropout as products, a softmax and a mask drawn for all weights.
fn dropped_by_hand(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool, share: f64, key: &Key) -> Tensor {
    let scores = q.matmul(&k.t()) * (1.0 / (q.size(-1) as f64).sqrt());
    let matrix = [q.size(-2), k.size(-2)];
    let seen = Tensor::index_along(matrix, 1).le(Tensor::index_along(matrix, 0));
    let scores = if causal { seen.select(&scores, -1e30) } else { scores };
    scores.softmax(-1).dropout(share, key).matmul(v)
}

#[test]
fn dropped_weights_are_those_of_a_mask_drawn_for_all() {
    for (causal, share, queries, keys) in [
        (false, 0.1, 7, 9),
        (true, 0.5, 70, 70),
        (false, 0.3, 130, 200),
        (true, 0.1, 3, 3),
        (false, 1.0, 5, 66),
    ] {
        let [q, k, v] =
            [(queries, 1), (keys, 2), (keys, 3)].map(|(steps, seed)| made([2, 3, steps, 8], seed));
        let key = Key::new(11);
        let mut options = AttentionOptions::new().dropout(share, &key);
        options.causal = causal;
        let found = q.attention(&k, &v, &options);
        let wanted = dropped_by_hand(&q, &k, &v, causal, share, &key);
        let g = made([2, 3, queries, 8], 4);
        let all = |y: &Tensor| [vec![y.clone()], (y * &g).sum(..).grad(&[&q, &k, &v])].concat();
        for (at, (found, wanted)) in all(&found).iter().zip(all(&wanted)).enumerate() {
            for (found, wanted) in numbers(found).into_iter().zip(numbers(&wanted)) {
                let near = (found - wanted).abs() <= 2e-5 * (1.0 + wanted.abs());
                assert!(near, "{queries} × {keys}, {share}: {at} is {found} instead of {wanted}");
            }
        }
        let plain = numbers(&q.attention(&k, &v, &AttentionOptions { dropout: None, ..options.clone() }));
        let none = AttentionOptions { dropout: Some((0.0, key.clone())), ..options };
        assert_eq!(numbers(&q.attention(&k, &v, &none)), plain);
    }
    let y = made([1, 1, 2, 2], 1);
    let wrong = y.attention(&y, &y, &AttentionOptions::new().dropout(1.5, &Key::new(1)));
    assert!(wrong.error().is_some_and(|error| error.to_string().contains("probability of 1.5")));
}

#[test]
fn dropped_weights_are_the_same_on_one_thread_and_on_many() {
    let [q, k, v] = [1, 2, 3].map(|seed| made([1, 2, 150, 16], seed));
    let run = |threads: usize| {
        kiln_nn::set_threads(threads).unwrap();
        let y = q.attention(&k, &v, &AttentionOptions::new().causal().dropout(0.2, &Key::new(5)));
        let slopes = y.square().sum(..).grad(&[&q, &k, &v]);
        [vec![bits(&y)], slopes.iter().map(bits).collect()].concat()
    };
    let one = run(1);
    assert!(run(4) == one);
}
