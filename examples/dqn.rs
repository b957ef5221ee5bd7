//! Deep Q-learning that balances a pole on a cart: `cargo run --release --example dqn`. The environment, a memory of what happened, a
//! network that says what an action is worth, and a copy of it that follows slowly; no data set and no trainer, so the loop is the
//! program's own. The copy is an average of what the network was, and plays more evenly than it. It counts as solved when a hundred
//! games of the copy without chance last 475 steps on average. A number as argument is another seed.

use kiln::data::Rng;
use kiln::prelude::*;

const ACTIONS: usize = 2;
const STATE: usize = 4;
const LONGEST: usize = 500;
const BATCH: usize = 64;
const DISCOUNT: f64 = 0.99;
const RATE: f64 = 2e-3;
const MOST: usize = 30_000;
/// How large each number of a state usually gets, so that all count alike.
const USUAL: [f64; STATE] = [2.4, 2.0, 0.2, 2.0];

/// Gym's CartPole: where the cart is, its speed, the pole's angle, its speed.
#[derive(Clone, Copy)]
struct CartPole {
    state: [f64; STATE],
    steps: usize,
}

impl CartPole {
    fn start(rng: &mut Rng) -> CartPole {
        CartPole { state: std::array::from_fn(|_| rng.uniform() * 0.1 - 0.05), steps: 0 }
    }

    /// Pushes to the left (0) or the right (1).
    fn push(&mut self, action: usize) {
        let (force, moment, length) = (if action == 1 { 10.0 } else { -10.0 }, 0.05, 0.5);
        let [x, speed, angle, turning] = self.state;
        let thrust = (force + moment * turning * turning * angle.sin()) / 1.1;
        let turn = (9.8 * angle.sin() - angle.cos() * thrust)
            / (length * (4.0 / 3.0 - 0.1 * angle.cos().powi(2) / 1.1));
        let push = thrust - moment * turn * angle.cos() / 1.1;
        self.state = [x + 0.02 * speed, speed + 0.02 * push, angle + 0.02 * turning, turning + 0.02 * turn];
        self.steps += 1;
    }

    fn has_fallen(&self) -> bool {
        self.state[0].abs() > 2.4 || self.state[2].abs() > 12f64.to_radians()
    }

    fn is_over(&self) -> bool {
        self.has_fallen() || self.steps == LONGEST
    }

    fn seen(&self) -> [f32; STATE] {
        std::array::from_fn(|at| (self.state[at] / USUAL[at]) as f32)
    }
}

/// What happened: a state, an action, what it came to, and whether the pole fell.
struct Memory {
    state: [f32; STATE],
    action: i64,
    next: [f32; STATE],
    fell: f32,
}

/// The action that is worth more.
fn best(worth: &mut Function<1>, states: &[f32]) -> Result<Vec<usize>> {
    let out = worth.run([Input::new(states, &[states.len() / STATE, STATE])])?;
    let worth = out[0].as_slice::<f32>().unwrap_or_default();
    Ok(worth.chunks(ACTIONS).map(|worth| usize::from(worth[1] > worth[0])).collect())
}

/// How long games last on average in which every action is the best.
fn play(worth: &mut Function<1>, games: usize) -> Result<f64> {
    let mut rng = Rng::new(77);
    let mut carts: Vec<CartPole> = (0..games).map(|_| CartPole::start(&mut rng)).collect();
    for _ in 0..LONGEST {
        let states: Vec<f32> = carts.iter().flat_map(CartPole::seen).collect();
        let actions = best(worth, &states)?;
        carts
            .iter_mut()
            .zip(actions)
            .filter(|(cart, _)| !cart.is_over())
            .for_each(|(cart, action)| cart.push(action));
    }
    Ok(carts.iter().map(|cart| cart.steps as f64).sum::<f64>() / games as f64)
}

fn main() -> Result<()> {
    let seed = std::env::args().nth(1).and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let network = || Sequential::new().seed(seed).dense(64).relu().dense(64).relu().dense(ACTIONS);
    let (online, target) = (network(), network());
    for network in [&online, &target] {
        network.build([1, STATE])?;
    }
    target.copy_from(&online)?;
    let adam = Adam::new(RATE);
    let mut step = Step::custom(
        RATE,
        StepOptions::new().clip(Clip::GlobalNorm(1.0)),
        |step, [state, action, next, fell]| {
            let chosen =
                (online.forward(&state, step.context()) * action.one_hot(ACTIONS).cast(DType::F32)).sum(1);
            // The network says which action comes next, and its copy what that is worth.
            let then = online.forward(&next, step.context()).argmax(1).one_hot(ACTIONS).cast(DType::F32);
            let later = (target.forward(&next, step.context()) * then).sum(1);
            let loss = chosen.huber(&(1.0 + (1.0 - fell) * later * DISCOUNT), 1.0);
            step.minimise("online", &online, &adam, &loss)?;
            step.lerp(&target, &online, 0.01)?;
            Ok(vec![loss])
        },
    );
    let mut worth = Function::inference(&target, |target, cx, [x]| target.forward(&x, cx));
    let mut rng = Rng::new(seed);
    let mut memory: Vec<Memory> = Vec::new();
    let (mut cart, mut last, mut solved) = (CartPole::start(&mut rng), 0.0, None);
    for number in 0..MOST {
        // What is nearly learned is forgotten at a high rate.
        step.set_rate(RATE * (1.0 - number as f64 / MOST as f64))?;
        let chance = (1.0 - number as f64 / 10_000.0).max(0.02);
        let state = cart.seen();
        let action = match rng.uniform() < chance {
            true => rng.below(ACTIONS),
            false => best(&mut worth, &state)?[0],
        };
        cart.push(action);
        let moment = Memory {
            state,
            action: action as i64,
            next: cart.seen(),
            fell: f32::from(u8::from(cart.has_fallen())),
        };
        match memory.len() < 20_000 {
            true => memory.push(moment),
            false => memory[number % 20_000] = moment,
        }
        if memory.len() >= 1000 {
            let drawn: Vec<&Memory> = (0..BATCH).map(|_| &memory[rng.below(memory.len())]).collect();
            let states: Vec<f32> = drawn.iter().flat_map(|moment| moment.state).collect();
            let actions: Vec<i64> = drawn.iter().map(|moment| moment.action).collect();
            let next: Vec<f32> = drawn.iter().flat_map(|moment| moment.next).collect();
            let fell: Vec<f32> = drawn.iter().map(|moment| moment.fell).collect();
            step.run([
                Input::new(&states, &[BATCH, STATE]),
                Input::new(&actions, &[BATCH]),
                Input::new(&next, &[BATCH, STATE]),
                Input::new(&fell, &[BATCH]),
            ])?;
        }
        if number % 500 == 499 {
            last = play(&mut worth, 20)?;
            println!("{:>6} steps: games last {last:.0}", number + 1);
            if last >= 475.0 && play(&mut worth, 100)? >= 475.0 {
                solved = Some(number + 1);
                break;
            }
        }
        if cart.is_over() {
            cart = CartPole::start(&mut rng);
        }
    }
    let Some(steps) = solved else { panic!("games last {last:.0} steps after all") };
    println!("solved after {steps} steps");
    Ok(())
}
