//! A recommender of two towers, one for users and one for items, whose outputs point the same way where a user likes an item:
//! `cargo run --release --example two_towers`. Rows have two inputs, so the objective is a closure.

use kiln::data::{Form, Rng, Set};
use kiln::prelude::*;

/// Hidden tastes that likes follow from, and facts of users and items that they can be learned from.
const TASTES: usize = 3;
const USER: usize = 8;
const ITEM: usize = 6;

struct Towers {
    user: Sequential,
    item: Sequential,
}

parameters!(Towers { user, item });

fn main() -> Result<()> {
    let (train, test) = likes(4000, 5)?.split(0.8);
    let tower = |seed: u64| Sequential::new().seed(seed).dense(32).relu().dense(8);
    let towers = Towers { user: tower(1), item: tower(2) };
    let run = Trainer::of(towers, Adam::new(0.005), |towers, cx, rows| {
        let user = towers.user.forward(&rows.x(), cx);
        let item = towers.item.forward(&rows.get("item"), cx);
        let likes = (user * item).sum(1).unsqueeze(-1);
        let losses = BinaryCrossEntropy::new().each(&likes, &rows.y());
        Objective::new().loss("likes", 1.0, losses).output("likes", &likes, "y")
    })
    .epochs(20)
    .batch_size(64)
    .metric("roc-auc".parse::<Figure>()?)
    .validate(&test)
    .fit(&train)?;
    println!("{run}");
    let area = run.evaluate(&test)?.number("roc-auc").unwrap_or(f64::NAN);
    assert!(area > 0.95, "the area under the curve is {area}");
    Ok(())
}

/// Pairs of a user and an item, and whether the user likes it.
fn likes(rows: usize, seed: u64) -> Result<Set> {
    let mut rng = Rng::new(seed);
    let mut normal = |count: usize| Vec::from_iter((0..count).map(|_| rng.normal() as f32));
    let (of_user, of_item) = (normal(USER * TASTES), normal(ITEM * TASTES));
    let (users, items) = (normal(rows * USER), normal(rows * ITEM));
    let tastes = |facts: &[f32], of: &[f32]| -> [f32; TASTES] {
        std::array::from_fn(|taste| facts.iter().zip(&of[taste * facts.len()..]).map(|(a, b)| a * b).sum())
    };
    let like = |(user, item): (&[f32], &[f32])| {
        let (user, item) = (tastes(user, &of_user), tastes(item, &of_item));
        f32::from(u8::from(user.iter().zip(item).map(|(a, b)| a * b).sum::<f32>() > 0.0))
    };
    let likes = users.chunks(USER).zip(items.chunks(ITEM)).map(like).collect();
    Ok(Set::numbers(users, Form::numbers(&[USER]), likes, 1)?.with("item", items, Form::numbers(&[ITEM]))?)
}
