//! A generator and a discriminator that learn from each other: `cargo run --release --example gan`. Each has an optimizer of its own
//! and steps of its own, in turn; the trainer keeps both, so that checkpoints hold everything.

use kiln::data::{Form, Rng, Set};
use kiln::prelude::*;

/// What the generator must learn to draw: numbers around 4 that deviate by 0.5.
const MEAN: f64 = 4.0;
const DEVIATION: f64 = 0.5;
const NOISE: usize = 4;

struct Gan {
    generator: Sequential,
    discriminator: Sequential,
}

parameters!(Gan { generator, discriminator });

impl Gan {
    /// `[rows, 1]` made of noise
    fn draw(&self, rows: usize, cx: &Context) -> Tensor {
        self.generator.forward(&cx.key().normal([rows, NOISE], 0.0, 1.0), cx)
    }
}

fn main() -> Result<()> {
    let mut rng = Rng::new(1);
    let real: Vec<f32> = (0..4096).map(|_| (MEAN + DEVIATION * rng.normal()) as f32).collect();
    // There is nothing to predict.
    let set = Set::numbers(real, Form::numbers(&[1]), vec![0.0; 4096], 1)?;
    let gan = Gan {
        generator: Sequential::new().seed(1).dense(16).relu().dense(1),
        discriminator: Sequential::new().seed(2).dense(32).leaky_relu(0.2).dense(32).leaky_relu(0.2).dense(1),
    };
    let [ours, theirs] = [2e-3, 4e-3].map(|rate| Adam::new(rate).betas(0.5, 0.999));
    let judge = Phase::new(1, |gan: &Gan, step, rows| {
        let (real, made) = (rows.x(), gan.draw(rows.count(), step.context()));
        let [real, made] = [real, made].map(|x| gan.discriminator.forward(&x, step.context()));
        let loss = (-real).softplus().mean(..) + made.softplus().mean(..);
        step.minimise("discriminator", &gan.discriminator, &theirs, &loss)?;
        Ok(Objective::new().loss("discriminator", 1.0, loss))
    });
    let deceive = Phase::new(1, |gan: &Gan, step, rows| {
        let made = gan.draw(rows.count(), step.context());
        let loss = (-gan.discriminator.forward(&made, step.context())).softplus().mean(..);
        step.minimise("generator", &gan.generator, &ours, &loss)?;
        Ok(Objective::new().loss("generator", 1.0, loss))
    });
    let run =
        Trainer::alternating(gan, 2e-3, [judge, deceive]).epochs(40).batch_size(128).ema(0.99).fit(&set)?;
    println!("{run}");
    let drawn = run.model().draw(4096, &Context::training(Key::new(9)));
    let (mean, deviation) = (drawn.mean(..).item()?, drawn.std(.., Correction::SAMPLE).item()?);
    println!("what is drawn has mean {mean:.2} and deviation {deviation:.2}");
    assert!((mean - MEAN).abs() < 0.3 && (0.25..0.8).contains(&deviation));
    Ok(())
}
