//! What a search chooses from, and how choices are drawn: at random, or where the trials so far were good.

use kiln_data::Rng;

use super::trial::Setting;

/// What a hyper-parameter may be.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    Of(Vec<Setting>),
    Range(Range),
}

/// The numbers between two.
///
/// ```
/// use kiln::trainer::search::Range;
///
/// let rate = Range::new(1e-4, 1e-1).logarithmic();
/// let neurons = Range::new(8.0, 256.0).logarithmic().whole();
/// # let _ = (rate, neurons);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    least: f64,
    most: f64,
    logarithmic: bool,
    whole: bool,
}

impl Range {
    /// From one to another.
    pub fn new(least: f64, most: f64) -> Range {
        Range { least, most, logarithmic: false, whole: false }
    }

    /// Whether a number's size is what matters: from 1 to 10 there is as much as from 10 to 100.
    pub fn logarithmic(self) -> Range {
        Range { logarithmic: true, ..self }
    }

    /// Whole numbers alone.
    pub fn whole(self) -> Range {
        Range { whole: true, ..self }
    }

    /// What is wrong with it, if anything is.
    pub(super) fn mistake(&self) -> Option<String> {
        let Range { least, most, logarithmic, whole } = *self;
        let is_whole = |number: f64| number.fract() == 0.0;
        if logarithmic && !(least > 0.0 && least < most && most.is_finite()) {
            Some(format!("from {least} to {most}: it needs to start above 0 and end above that"))
        } else if !(least < most && least.is_finite() && most.is_finite()) {
            Some(format!("from {least} to {most} is no range"))
        } else if whole && !(is_whole(least) && is_whole(most)) {
            Some(format!("from {least} to {most}: whole numbers lie between whole ones"))
        } else {
            None
        }
    }

    /// The number at a share of the way.
    fn at(&self, share: f64) -> f64 {
        // Each whole number has as much room as another.
        let room = if self.whole { 0.5 } else { 0.0 };
        let (least, most) = (self.least - room, self.most + room);
        let number = match self.logarithmic {
            true => libm::exp(libm::log(least) + libm::log(most / least) * share),
            false => least + (most - least) * share,
        };
        let number = if self.whole { number.round() } else { number };
        number.clamp(self.least, self.most)
    }

    /// How far on the way a number lies.
    fn share(&self, number: f64) -> f64 {
        let room = if self.whole { 0.5 } else { 0.0 };
        let (least, most) = (self.least - room, self.most + room);
        let share = match self.logarithmic {
            true => libm::log(number / least) / libm::log(most / least),
            false => (number - least) / (most - least),
        };
        share.clamp(0.0, 1.0)
    }
}

/// TrialSettings by their names.
pub(super) type TrialSettings = Vec<(String, Setting)>;

/// TrialSettings at random.
pub(super) fn drawn(choices: &[(String, Choice)], rng: &mut Rng) -> TrialSettings {
    let mut one = |choice: &Choice| match choice {
        Choice::Of(settings) => settings[rng.below(settings.len())].clone(),
        Choice::Range(range) => Setting::Number(range.at(rng.uniform())),
    };
    choices.iter().map(|(name, choice)| (name.clone(), one(choice))).collect()
}

/// Trials at random before any is drawn where others were good.
const FIRST: usize = 8;

/// The share of the trials that count as good, and how many at most.
const GOOD: f64 = 0.25;
const MOST_GOOD: usize = 25;

/// Of so many that are drawn as the good ones lie, the one that is the likeliest among them and the least among the others.
const DRAWS: usize = 24;

/// TrialSettings where good trials lie more densely than others: tree-structured Parzen estimators (Bergstra and others, 2011), each
/// hyper-parameter by itself. `seen` are trials with their scores, of which less is better; one without a number is the worst.
pub(super) fn estimated(
    choices: &[(String, Choice)],
    seen: &[(TrialSettings, f64)],
    rng: &mut Rng,
) -> TrialSettings {
    if seen.len() < FIRST {
        return drawn(choices, rng);
    }
    let mut order: Vec<usize> = (0..seen.len()).collect();
    let key = |at: &usize| if seen[*at].1.is_nan() { f64::INFINITY } else { seen[*at].1 };
    order.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let count = ((seen.len() as f64 * GOOD).ceil() as usize).clamp(1, MOST_GOOD);
    let of = |part: &[usize], name: &str| -> Vec<Setting> {
        let own =
            |at: &usize| seen[*at].0.iter().find(|(known, _)| known == name).map(|(_, own)| own.clone());
        part.iter().filter_map(own).collect()
    };
    let one = |(name, choice): &(String, Choice)| {
        let (good, bad) = (of(&order[..count], name), of(&order[count..], name));
        let setting = match choice {
            Choice::Of(settings) => likeliest_of(settings, &good, &bad, rng),
            Choice::Range(range) => Setting::Number(range.at(likeliest(range, &good, &bad, rng))),
        };
        (name.clone(), setting)
    };
    choices.iter().map(one).collect()
}

fn likeliest_of(settings: &[Setting], good: &[Setting], bad: &[Setting], rng: &mut Rng) -> Setting {
    // One of each beside what was seen: nothing is ruled out.
    let chance = |seen: &[Setting], setting: &Setting| {
        let times = seen.iter().filter(|own| *own == setting).count();
        (times as f64 + 1.0) / (seen.len() + settings.len()) as f64
    };
    let mut best: Option<(f64, &Setting)> = None;
    for _ in 0..DRAWS {
        let mut left = rng.uniform();
        let drawn = settings.iter().find(|setting| {
            left -= chance(good, setting);
            left < 0.0
        });
        let drawn = drawn.unwrap_or(&settings[settings.len() - 1]);
        let ratio = chance(good, drawn) / chance(bad, drawn);
        if best.is_none_or(|(before, _)| ratio > before) {
            best = Some((ratio, drawn));
        }
    }
    best.map_or_else(|| settings[0].clone(), |(_, setting)| setting.clone())
}

/// Places of numbers on the way of a range, each with how far it reaches to both sides.
struct Density(Vec<(f64, f64)>);

impl Density {
    fn of(range: &Range, seen: &[Setting]) -> Density {
        let place = |setting: &Setting| match setting {
            Setting::Number(number) => Some(range.share(*number)),
            Setting::Text(_) => None,
        };
        let mut places: Vec<f64> = seen.iter().filter_map(place).collect();
        places.sort_by(f64::total_cmp);
        let least = 1.0 / (1.0 + places.len() as f64).min(100.0);
        let reach = |at: usize| {
            let before = if at == 0 { 0.0 } else { places[at - 1] };
            let behind = places.get(at + 1).copied().unwrap_or(1.0);
            (places[at] - before).max(behind - places[at]).clamp(least, 1.0)
        };
        let mut all: Vec<(f64, f64)> = (0..places.len()).map(|at| (places[at], reach(at))).collect();
        // The whole range counts as one that was seen.
        all.push((0.5, 1.0));
        Density(all)
    }

    fn draw(&self, rng: &mut Rng) -> f64 {
        let (place, reach) = self.0[rng.below(self.0.len())];
        for _ in 0..100 {
            let drawn = place + reach * rng.normal();
            if (0.0..=1.0).contains(&drawn) {
                return drawn;
            }
        }
        place
    }

    /// How dense it is there; without what is the same everywhere.
    fn at(&self, place: f64) -> f64 {
        let below = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        let one = |(middle, reach): &(f64, f64)| {
            let off = (place - middle) / reach;
            let inside = below((1.0 - middle) / reach) - below(-middle / reach);
            libm::exp(-0.5 * off * off) / (reach * inside)
        };
        self.0.iter().map(one).sum::<f64>() / self.0.len() as f64
    }
}

fn likeliest(range: &Range, good: &[Setting], bad: &[Setting], rng: &mut Rng) -> f64 {
    let (good, bad) = (Density::of(range, good), Density::of(range, bad));
    let draws = (0..DRAWS).map(|_| good.draw(rng)).map(|place| (good.at(place) / bad.at(place), place));
    let best = draws.reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map_or(0.5, |(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best of so many trials of a bowl with a rate, a whole number and a word.
    fn best(
        trials: usize,
        seed: u64,
        next: impl Fn(&[(String, Choice)], &[(TrialSettings, f64)], &mut Rng) -> TrialSettings,
    ) -> f64 {
        let words = ["a", "b", "c", "d"].map(|word| Setting::Text(word.to_string())).to_vec();
        let choices = [
            ("rate".to_string(), Choice::Range(Range::new(1e-5, 1.0).logarithmic())),
            ("size".to_string(), Choice::Range(Range::new(1.0, 64.0).whole())),
            ("word".to_string(), Choice::Of(words)),
        ];
        let bowl = |settings: &TrialSettings| {
            let number = |at: usize| match settings[at].1 {
                Setting::Number(number) => number,
                Setting::Text(_) => f64::NAN,
            };
            let word = if settings[2].1 == Setting::Text("c".to_string()) { 0.0 } else { 1.0 };
            (libm::log10(number(0)) + 2.0).abs() + (number(1) - 40.0).abs() / 16.0 + word
        };
        let mut seen: Vec<(TrialSettings, f64)> = Vec::new();
        for trial in 0..trials {
            let settings = next(&choices, &seen, &mut Rng::new(seed).derive(trial as u64));
            let score = bowl(&settings);
            seen.push((settings, score));
        }
        seen.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min)
    }

    /// A way to say what is tried next, by what was tried.
    type Next<'n> = dyn Fn(&[(String, Choice)], &[(TrialSettings, f64)], &mut Rng) -> TrialSettings + 'n;

    #[test]
    fn estimators_find_the_bottom_of_a_bowl_sooner_than_chance() {
        let mean = |next: &Next| (0..20).map(|seed| best(50, seed, next)).sum::<f64>() / 20.0;
        let (chance, estimates) = (mean(&|choices, _, rng| drawn(choices, rng)), mean(&estimated));
        assert!(estimates < 0.6 * chance, "{estimates} beside {chance}");
    }

    #[test]
    fn ranges_go_both_ways_and_whole_numbers_have_the_same_room() {
        for range in [Range::new(-3.0, 5.0), Range::new(1e-4, 10.0).logarithmic()] {
            for share in [0.0, 0.3, 1.0] {
                assert!((range.share(range.at(share)) - share).abs() < 1e-9);
            }
        }
        let dice = Range::new(1.0, 6.0).whole();
        let mut counts = [0; 7];
        (0..6000).for_each(|at| counts[dice.at((f64::from(at) + 0.5) / 6000.0) as usize] += 1);
        assert_eq!(counts, [0, 1000, 1000, 1000, 1000, 1000, 1000]);
    }
}
