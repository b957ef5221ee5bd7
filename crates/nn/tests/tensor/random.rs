//! Keys: what they draw is the same everywhere, and is distributed as it should be.

use kiln_nn::{Correction, Key, Tensor};

use super::{f64s, i64s};

#[test]
fn keys_draw_the_same_on_the_host_and_in_a_graph() {
    let host = Key::new(42).derive(3);
    let graph = Key::from_tensor(&Key::new(42).tensor()).derive(Tensor::from(3i64));
    assert_eq!(i64s(&host.tensor()), i64s(&graph.tensor()));
    let draws = host.uniform([100], -1.0, 1.0);
    assert_eq!(f64s(&draws), f64s(&graph.uniform([100], -1.0, 1.0)));
    assert!(f64s(&draws).iter().all(|x| (-1.0..1.0).contains(x)));
    assert_ne!(f64s(&draws), f64s(&Key::new(42).derive(4).uniform([100], -1.0, 1.0)));
    assert_ne!(f64s(&draws), f64s(&Key::new(43).derive(3).uniform([100], -1.0, 1.0)));
    let [a, b] = Key::new(1).split();
    assert_ne!(i64s(&a.tensor()), i64s(&b.tensor()));
}

#[test]
fn draws_have_the_moments_they_should() {
    let key = Key::new(9);
    let normal = key.derive(0).normal([20_000], 2.0, 3.0);
    assert!((normal.mean(..).item().unwrap() - 2.0).abs() < 0.06);
    assert!((normal.std(.., Correction::SAMPLE).item().unwrap() - 3.0).abs() < 0.06);
    let uniform = key.derive(1).uniform([20_000], 0.0, 1.0);
    assert!((uniform.var(.., Correction::POPULATION).item().unwrap() - 1.0 / 12.0).abs() < 0.002);
    let dice = key.derive(2).randint([6_000], 1, 7);
    assert_eq!((dice.min(..).item().unwrap(), dice.max(..).item().unwrap()), (1.0, 6.0));
    assert!((dice.eq(4).sum(..).item().unwrap() - 1000.0).abs() < 120.0);
    let mut order = i64s(&key.derive(3).permutation(500));
    assert!(order.windows(2).any(|pair| pair[0] > pair[1]));
    order.sort_unstable();
    assert_eq!(order, (0..500).collect::<Vec<_>>());
    let logits = Tensor::from([0.0, 3f64.ln()]).broadcast_to([4000, 2]);
    assert!((key.derive(4).categorical(&logits).sum(..).item().unwrap() - 3000.0).abs() < 120.0);
}
