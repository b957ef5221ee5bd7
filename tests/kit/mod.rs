//! What the whole-system tests share: a plain network and a set of made digits.
#![allow(dead_code)]

use kiln::data::Rng;
use kiln::prelude::*;

/// Dense layers with ReLU between them.
pub struct Mlp {
    pub layers: Vec<Dense>,
}

impl Module for Mlp {
    fn visit(&self, visitor: &mut kiln::Visitor) {
        self.layers.visit(visitor);
    }
}

impl Mlp {
    pub fn new(sizes: &[usize], seed: u64) -> Mlp {
        let key = Key::new(seed);
        let layer = |(number, ends): (usize, &[usize])| Dense::new(ends[0], ends[1], key.derive(number));
        Mlp { layers: sizes.windows(2).enumerate().map(layer).collect() }
    }

    /// The bits of every parameter, one after the other.
    pub fn bits(&self) -> Vec<u32> {
        let bits = |(_, param): (String, Param)| -> Vec<u32> {
            param.value().unwrap().as_slice::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
        };
        self.parameters().into_iter().flat_map(bits).collect()
    }
}

impl Layer for Mlp {
    fn forward(&self, x: &Tensor, cx: &Context) -> Tensor {
        let mut x = x.clone();
        for (number, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, cx);
            if number + 1 < self.layers.len() {
                x = x.relu();
            }
        }
        x
    }
}

/// `count` pictures of 8 × 8 from ten patterns with noise, and which one each is.
pub fn digits(count: usize, seed: u64) -> (Vec<f32>, Vec<i64>) {
    let mut pattern = Rng::new(99);
    let patterns: Vec<f32> = (0..640).map(|_| if pattern.uniform() < 0.4 { 0.8 } else { 0.1 }).collect();
    let mut rng = Rng::new(seed);
    let labels: Vec<i64> = (0..count).map(|_| rng.below(10) as i64).collect();
    let mut pixels = Vec::with_capacity(count * 64);
    for &label in &labels {
        let clean = &patterns[label as usize * 64..][..64];
        pixels.extend(clean.iter().map(|&x| x + 0.15 * rng.normal() as f32));
    }
    (pixels, labels)
}

/// A listing without the source lines at the ends, which move with every edit.
pub fn without_lines(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((before, place)) if place.contains(".rs:") => before.trim_end().to_string() + "\n",
        _ => line.trim_end().to_string() + "\n",
    };
    text.lines().map(line).collect()
}
