//! A Wasserstein GAN with gradient penalty: `cargo run --release --example wgan_gp`. The penalty is on the gradient of the critic in its
//! input, so its own gradient is a second one; five steps of the critic come before one of the generator.

use kiln::data::{Form, Rng, Set};
use kiln::prelude::*;

const NOISE: usize = 4;
const PENALTY: f64 = 1.0;

struct Gan {
    generator: Sequential,
    critic: Sequential,
}

parameters!(Gan { generator, critic });

impl Gan {
    /// `[rows, 2]` made of noise
    fn draw(&self, rows: usize, cx: &Context) -> Tensor {
        self.generator.forward(&cx.key().normal([rows, NOISE], 0.0, 1.0), cx)
    }
}

fn main() -> Result<()> {
    // Points on a ring of radius 1.
    let mut rng = Rng::new(1);
    let point = |_| {
        let (angle, radius) = (rng.uniform() * std::f64::consts::TAU, 1.0 + 0.05 * rng.normal());
        [(radius * angle.cos()) as f32, (radius * angle.sin()) as f32]
    };
    let ring: Vec<f32> = (0..4096).flat_map(point).collect();
    let set = Set::numbers(ring, Form::numbers(&[2]), vec![0.0; 4096], 1)?;
    let body = |seed: u64| Sequential::new().seed(seed).dense(64).relu().dense(64).relu();
    let gan = Gan { generator: body(1).dense(2), critic: body(2).dense(1) };
    let adam = Adam::new(2e-3).betas(0.0, 0.9);
    let criticise = Phase::new(5, |gan: &Gan, step, rows| {
        let (real, made) = (rows.x(), gan.draw(rows.count(), step.context()));
        // How steep the critic is between what is real and what is made.
        let share = step.context().key().uniform([rows.count(), 1], 0.0, 1.0);
        let between = &real * &share + &made * (1.0 - share);
        let score = |x: &Tensor| gan.critic.forward(x, step.context());
        let slope = &score(&between).sum(..).grad(&[&between])[0];
        let penalty = ((slope.square().sum(1) + 1e-12).sqrt() - 1.0).square().mean(..);
        let distance = score(&real).mean(..) - score(&made).mean(..);
        let loss = &penalty * PENALTY - &distance;
        step.minimise("critic", &gan.critic, &adam, &loss)?;
        Ok(Objective::new().loss("penalty", PENALTY, penalty).loss("distance", -1.0, distance))
    });
    let deceive = Phase::new(1, |gan: &Gan, step, rows| {
        let made = gan.draw(rows.count(), step.context());
        let loss = -gan.critic.forward(&made, step.context()).mean(..);
        step.minimise("generator", &gan.generator, &adam, &loss)?;
        Ok(Objective::new().loss("generator", 1.0, loss))
    });
    let run = Trainer::alternating(gan, 2e-3, [criticise, deceive])
        .epochs(120)
        .batch_size(128)
        .ema(0.98)
        .fit(&set)?;
    println!("{run}");
    let drawn = run.model().draw(2048, &Context::training(Key::new(9)));
    let radius = drawn.square().sum(1).sqrt();
    let (mean, deviation) = (radius.mean(..).item()?, radius.std(.., Correction::SAMPLE).item()?);
    let middle = drawn.mean(0).to_vec::<f32>()?;
    println!("radius {mean:.2} ± {deviation:.2}, around {middle:.2?}");
    assert!((mean - 1.0).abs() < 0.15 && deviation < 0.25 && middle.iter().all(|at| at.abs() < 0.25));
    Ok(())
}
