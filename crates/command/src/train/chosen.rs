//! The figure that decides which epoch was the best: chosen by name, shown with the others, and in the units of the data.

use anyhow::{Result, bail};
use kiln_learn::metrics::{self, Figure, Metric, Needs, Seen, Targets};
use kiln_learn::model::Task;

/// What decides.
pub(super) enum Decider {
    /// The validation loss.
    Loss,
    Figure(FigureInUnits),
}

impl Decider {
    /// The figure of a name, which must suit the task.
    pub(super) fn of(name: Option<&str>, task: &Task) -> Result<Decider> {
        let Some(name) = name.filter(|name| *name != "loss") else { return Ok(Decider::Loss) };
        let (needs, kind) = match task {
            Task::Classes { .. } | Task::Tags { .. } => (Needs::Classes, "classes"),
            Task::Numbers { .. } => (Needs::Numbers, "numbers"),
            Task::Text { .. } => {
                bail!("--metric {name}: of texts that go on there is loss, and nothing else")
            }
        };
        let figure: Figure = name.parse().map_err(|error: metrics::Error| error_of(name, needs, &error))?;
        if figure.needs() != needs {
            bail!("--metric {name} isn't of {kind}; there are {}", known(needs));
        }
        Ok(Decider::Figure(in_units(figure, task)))
    }

    /// The number of an epoch that it is, of rows that are held out where there are some.
    pub(super) fn number(&self, is_validated: bool) -> String {
        let name = match self {
            Decider::Loss => "loss",
            Decider::Figure(figure) => figure.name(),
        };
        if is_validated { format!("val_{name}") } else { name.to_string() }
    }

    /// Whether more of it is better.
    pub(super) fn larger_is_better(&self) -> bool {
        match self {
            Decider::Loss => false,
            Decider::Figure(figure) => figure.larger_is_better(),
        }
    }
}

fn known(needs: Needs) -> String {
    format!("loss, {}", Figure::names(needs).collect::<Vec<_>>().join(", "))
}

fn error_of(name: &str, needs: Needs, error: &metrics::Error) -> anyhow::Error {
    match Figure::names(needs).chain(["loss"]).find(|known| kiln_map::nearest(name, [*known]).is_some()) {
        Some(near) => anyhow::anyhow!("--metric: there is no metric {name}; did you mean {near}?"),
        None if Figure::names(needs).any(|known| name.starts_with(known)) => {
            anyhow::anyhow!("--metric {error}")
        }
        None => anyhow::anyhow!("--metric: there is no metric {name}; there are {}", known(needs)),
    }
}

/// A figure of what a task predicts, of numbers in their own units.
pub(super) fn in_units(figure: Figure, task: &Task) -> FigureInUnits {
    let units: Vec<(f64, f64)> = match task {
        Task::Numbers { scale, offset, .. } => scale.iter().copied().zip(offset.iter().copied()).collect(),
        Task::Classes { .. } | Task::Text { .. } | Task::Tags { .. } => vec![(1.0, 0.0)],
    };
    FigureInUnits { name: figure.name().to_string(), each: vec![figure; units.len()], units }
}

/// A figure of numbers that were learned less a mean and by a deviation, in their own units; of several targets the mean of each one's.
#[derive(Clone)]
pub(super) struct FigureInUnits {
    name: String,
    each: Vec<Figure>,
    units: Vec<(f64, f64)>,
}

impl Metric for FigureInUnits {
    fn name(&self) -> &str {
        &self.name
    }

    fn larger_is_better(&self) -> bool {
        self.each.first().is_some_and(Metric::larger_is_better)
    }

    fn update(&mut self, seen: &Seen) -> metrics::Result<()> {
        let Targets::Numbers(truth) = seen.targets else {
            return self.each.first_mut().map_or(Ok(()), |figure| figure.update(seen));
        };
        let width = self.each.len();
        for (at, (figure, (scale, offset))) in self.each.iter_mut().zip(&self.units).enumerate() {
            let own = |all: &[f32]| -> Vec<f32> {
                let column = all.iter().skip(at).step_by(width);
                column.map(|number| (f64::from(*number) * scale + offset) as f32).collect()
            };
            let (outputs, truth) = (own(seen.outputs), own(truth));
            figure.update(&Seen { outputs: &outputs, width: 1, targets: Targets::Numbers(&truth) })?;
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.each.iter().map(Metric::value).sum::<f64>() / self.each.len() as f64
    }

    /// All figures' numbers, one after the other: each has as many, or none has any.
    fn state(&self) -> Vec<f64> {
        self.each.iter().flat_map(Metric::state).collect()
    }

    fn restore(&mut self, state: &[f64]) -> metrics::Result<()> {
        let length = state.len() / self.each.len().max(1);
        let parts = state.chunks(length.max(1)).chain(std::iter::repeat(&[][..]));
        self.each.iter_mut().zip(parts).try_for_each(|(figure, part)| figure.restore(part))
    }

    fn needs(&self) -> Needs {
        self.each.first().map_or(Needs::Either, Metric::needs)
    }

    fn reset(&mut self) {
        self.each.iter_mut().for_each(Metric::reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices() -> Task {
        let names = vec!["price".to_string(), "area".to_string()];
        Task::Numbers { names, scale: vec![1000.0, 10.0], offset: vec![5000.0, 50.0] }
    }

    #[test]
    fn a_figure_is_in_the_units_of_each_target_and_comes_back_from_its_state() {
        let mut mae = in_units("mae".parse().unwrap(), &prices());
        let seen = Seen {
            outputs: &[0.0, 0.0, 1.0, 1.0],
            width: 2,
            targets: Targets::Numbers(&[1.0, 0.0, 1.0, 2.0]),
        };
        mae.update(&seen).unwrap();
        // 1000 and 0 of prices, 0 and 10 of areas.
        assert_eq!(mae.value(), (500.0 + 5.0) / 2.0);
        let mut again = in_units("mae".parse().unwrap(), &prices());
        again.restore(&mae.state()).unwrap();
        assert_eq!((again.value(), again.state()), (mae.value(), mae.state()));
        again.restore(&[]).unwrap();
        assert!(again.value().is_nan());
    }

    #[test]
    fn names_are_known_by_the_task_and_others_are_told_which_there_are() {
        let classes = Task::Classes { names: vec!["a".to_string(), "b".to_string()] };
        for name in ["loss", "accuracy", "f1 binary", "top-3", "f2", "roc-auc", "log-loss"] {
            Decider::of(Some(name), &classes).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let says = |name: &str, task: &Task| Decider::of(Some(name), task).err().unwrap().to_string();
        assert!(says("acuracy", &classes).contains("did you mean accuracy"));
        assert!(says("xyz", &classes).contains("there are loss, accuracy"), "{}", says("xyz", &classes));
        assert!(says("mae", &classes).contains("isn't of classes; there are loss, accuracy"));
        assert!(says("accuracy", &prices()).contains("isn't of numbers; there are loss, mse"));
        assert!(says("f1 often", &classes).contains("averages are macro"));
        assert_eq!(Decider::of(Some("mae"), &prices()).unwrap().number(true), "val_mae");
        assert!(!Decider::of(None, &prices()).unwrap().larger_is_better());
    }
}
