//! One body with two heads that are trained together: which moon a point is on, and how far it is from the middle.
//! `cargo run --release --example two_heads`. Each head has its loss, its weight, its metrics.

use kiln::data::{Form, Set, Subset};
use kiln::prelude::*;

struct Net {
    body: Sequential,
    side: Dense,
    distance: Dense,
}

parameters!(Net { body, side, distance });

fn main() -> Result<()> {
    let (train, test) = points(1200)?;
    let [side, distance] = Key::new(3).split();
    let net = Net {
        body: Sequential::new().seed(1).dense(32).relu().dense(32).relu(),
        side: Dense::new(32, 2, side),
        distance: Dense::new(32, 1, distance),
    };
    let run = Trainer::of(net, Adam::new(0.005), |net, cx, rows| {
        let body = net.body.forward(&rows.x(), cx);
        let (side, distance) = (net.side.forward(&body, cx), net.distance.forward(&body, cx));
        Objective::new()
            .loss("side", 1.0, CrossEntropy::new().each(&side, &rows.y()))
            .loss("distance", 2.0, Mse::new().each(&distance, &rows.get("distance")))
            .output("side", &side, "y")
            .output("distance", &distance, "distance")
    })
    .epochs(60)
    .metric_of("side", "accuracy".parse::<Figure>()?)
    .metric_of("distance", "r2".parse::<Figure>()?)
    .validate(&test)
    .callback(EarlyStopping::on("val_loss").patience(10))
    .fit(&train)?;
    println!("{run}");
    let test = run.evaluate(&test)?;
    let number = |name: &str| test.number(name).unwrap_or(f64::NAN);
    println!("{test}");
    assert!(number("side.accuracy") > 0.98 && number("distance.r2") > 0.95);
    let whole = number("side.loss") + 2.0 * number("distance.loss");
    assert!((number("loss") - whole).abs() < 1e-9, "the loss is what its parts make");
    Ok(())
}

/// Moons, with the distance of each point from the middle as a further target.
fn points(rows: usize) -> Result<(Subset<Set>, Subset<Set>)> {
    let moons = data::moons(rows, 0.1, 7);
    let points = moons.inputs().as_f32().unwrap_or_default();
    let distance = points.chunks(2).map(|point| point[0].hypot(point[1])).collect::<Vec<f32>>();
    Ok(moons.clone().with("distance", distance, Form::numbers(&[1]))?.split(0.75))
}
