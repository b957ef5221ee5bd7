//! The figure that decides which epoch was the best: chosen by name, shown with the others, and in the units of the data.

use std::ops::Range;

use anyhow::{Result, bail};
use kiln_learn::data::Unit;
use kiln_learn::metrics::{self, Figure, Metric, Needs, Seen, Targets};
use kiln_learn::model::{PartMeaning, Task, TaskPart, number_of};

/// What decides.
pub(super) enum Decider {
    /// The validation loss.
    Loss,
    Figure(TaskFigure),
}

impl Decider {
    /// The figure of a name, which must suit the task. Of several targets one that suits some of them is their mean, and `kind.accuracy` that
    /// of one alone.
    pub(super) fn of(name: Option<&str>, task: &Task) -> Result<Decider> {
        let Some(name) = name.filter(|name| *name != "loss") else { return Ok(Decider::Loss) };
        let parts = task.parts();
        if parts.is_empty() {
            bail!("--metric {name}: of texts that go on there is loss, and nothing else");
        }
        let named = parts.iter().filter_map(|part| {
            let figure = name.strip_prefix(part.name)?.strip_prefix('.')?;
            Some((part.clone(), figure))
        });
        // Names have points too: of `a` and `a.b` the longer is meant by `a.b.mae`.
        let of_one = named.max_by_key(|(part, _)| part.name.len());
        let only = of_one.as_ref().map(|(part, _)| part.name);
        let (parts, own) = match of_one {
            Some((part, figure)) => (vec![part], figure),
            None => (parts, name),
        };
        let is_classes = |part: &TaskPart| matches!(part.meaning, PartMeaning::Classes(_));
        let kinds: &[(Needs, &str)] = match (parts.iter().any(is_classes), parts.iter().all(is_classes)) {
            (_, true) => &[(Needs::Classes, "classes")],
            (true, false) => &[(Needs::Classes, "classes"), (Needs::Numbers, "numbers")],
            (false, _) => &[(Needs::Numbers, "numbers")],
        };
        let needs: Vec<Needs> = kinds.iter().map(|(needs, _)| *needs).collect();
        let figure: Figure = own.parse().map_err(|error: metrics::Error| error_of(name, &needs, &error))?;
        if !needs.contains(&figure.needs()) {
            let kind = kinds.iter().map(|(_, kind)| *kind).collect::<Vec<_>>().join(" or ");
            bail!("--metric {name} isn't of {kind}; there are {}", known(&needs));
        }
        Ok(Decider::Figure(TaskFigure::of(name, figure, task, only)))
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

fn known(needs: &[Needs]) -> String {
    let names = needs.iter().flat_map(|needs| Figure::names(*needs));
    format!("loss, {}", names.collect::<Vec<_>>().join(", "))
}

fn error_of(name: &str, needs: &[Needs], error: &metrics::Error) -> anyhow::Error {
    let names = || needs.iter().flat_map(|needs| Figure::names(*needs));
    match names().chain(["loss"]).find(|known| kiln_map::nearest(name, [*known]).is_some()) {
        Some(near) => anyhow::anyhow!("--metric: there is no metric {name}; did you mean {near}?"),
        None if names().any(|known| name.starts_with(known)) => anyhow::anyhow!("--metric {error}"),
        None => anyhow::anyhow!("--metric: there is no metric {name}; there are {}", known(needs)),
    }
}

/// The figures that are shown of each epoch, where nothing else is asked for.
pub(super) fn usual(task: &Task) -> Result<Vec<TaskFigure>> {
    let of_part = |part: &TaskPart| match part.meaning {
        PartMeaning::Classes(names) if names.len() == 2 => &["accuracy", "roc-auc"][..],
        PartMeaning::Classes(_) => &["accuracy"],
        PartMeaning::Number { .. } => &["r2", "rmse", "mae"],
    };
    match task {
        Task::Several { .. } => {
            let one = |part: &TaskPart| {
                let figure = if matches!(part.meaning, PartMeaning::Classes(_)) { "accuracy" } else { "r2" };
                let name = format!("{}.{figure}", part.name);
                Ok(TaskFigure::of(&name, figure.parse()?, task, Some(part.name)))
            };
            task.parts().iter().map(one).collect()
        }
        Task::Tags { .. } => Ok(vec![TaskFigure::of("accuracy", "accuracy".parse()?, task, None)]),
        Task::Classes { .. } | Task::Numbers { .. } | Task::Text { .. } => {
            let parts = task.parts();
            // The errors of several numbers in units of their own have no mean that says anything.
            let names = match parts.as_slice() {
                [TaskPart { meaning: PartMeaning::Number { .. }, .. }, _, ..] => &["r2"],
                all => all.first().map_or(&[][..], of_part),
            };
            names.iter().map(|name| Ok(TaskFigure::of(name, name.parse()?, task, None))).collect()
        }
    }
}

/// A figure of what a task predicts: of numbers that were learned less a mean and by a deviation in their own units, of several targets the
/// mean of those that it suits.
#[derive(Clone)]
pub(super) struct TaskFigure {
    name: String,
    parts: Vec<FigurePart>,
    /// How many targets a row has.
    targets: usize,
}

/// The figure of one target.
#[derive(Clone)]
struct FigurePart {
    figure: Figure,
    /// Its place among the targets, and its outputs.
    target: usize,
    outputs: Range<usize>,
    /// What its numbers are in.
    unit: Unit,
}

impl TaskFigure {
    /// Of the targets that it suits, or of one of them alone.
    fn of(name: &str, figure: Figure, task: &Task, only: Option<&str>) -> TaskFigure {
        let all = task.parts();
        let targets = all.len();
        let part = |(target, part): (usize, TaskPart)| {
            let (needs, unit) = match part.meaning {
                PartMeaning::Classes(_) => (Needs::Classes, Unit::PLAIN),
                PartMeaning::Number { unit, .. } => (Needs::Numbers, unit),
            };
            let is_wanted = figure.needs() == needs && only.is_none_or(|only| only == part.name);
            is_wanted.then(|| FigurePart { figure: figure.clone(), target, outputs: part.outputs, unit })
        };
        let parts = all.into_iter().enumerate().filter_map(part).collect();
        TaskFigure { name: name.to_string(), parts, targets }
    }
}

impl Metric for TaskFigure {
    fn name(&self) -> &str {
        &self.name
    }

    fn larger_is_better(&self) -> bool {
        self.parts.first().is_some_and(|part| part.figure.larger_is_better())
    }

    fn update(&mut self, seen: &Seen) -> metrics::Result<()> {
        let Targets::Numbers(truth) = seen.targets else {
            return self.parts.first_mut().map_or(Ok(()), |part| part.figure.update(seen));
        };
        let rows = truth.len() / self.targets.max(1);
        let width = seen.outputs.len() / rows.max(1);
        for FigurePart { figure, target, outputs, unit } in &mut self.parts {
            let truth = truth.iter().skip(*target).step_by(self.targets);
            let own = seen.outputs.chunks(width.max(1)).filter_map(|row| row.get(outputs.clone()));
            if figure.needs() == Needs::Classes {
                let classes: Vec<i64> = truth.map(|class| *class as i64).collect();
                let outputs: Vec<f32> = own.flatten().copied().collect();
                let targets = Targets::Classes(&classes);
                figure.update(&Seen { width: outputs.len() / rows.max(1), outputs: &outputs, targets })?;
                continue;
            }
            let outputs: Vec<f32> = own.map(|own| number_of(own, unit).0 as f32).collect();
            let truth: Vec<f32> = truth.map(|&number| unit.truth(f64::from(number)) as f32).collect();
            figure.update(&Seen { outputs: &outputs, width: 1, targets: Targets::Numbers(&truth) })?;
        }
        Ok(())
    }

    fn value(&self) -> f64 {
        self.parts.iter().map(|part| part.figure.value()).sum::<f64>() / self.parts.len() as f64
    }

    /// A single figure's numbers, or those of all, each behind how many it has.
    fn state(&self) -> Vec<f64> {
        if let [part] = self.parts.as_slice() {
            return part.figure.state();
        }
        let each = self.parts.iter().map(|part| part.figure.state());
        each.flat_map(|own| std::iter::once(own.len() as f64).chain(own)).collect()
    }

    fn restore(&mut self, state: &[f64]) -> metrics::Result<()> {
        if let [part] = self.parts.as_mut_slice() {
            return part.figure.restore(state);
        }
        let mut left = state;
        for part in &mut self.parts {
            let (count, rest) = left.split_first().map_or((0, left), |(count, rest)| (*count as usize, rest));
            let (own, rest) = rest.split_at(count.min(rest.len()));
            part.figure.restore(own)?;
            left = rest;
        }
        Ok(())
    }

    fn needs(&self) -> Needs {
        match self.targets {
            1 => self.parts.first().map_or(Needs::Either, |part| part.figure.needs()),
            _ => Needs::Numbers,
        }
    }

    fn reset(&mut self) {
        self.parts.iter_mut().for_each(|part| part.figure.reset());
    }
}

#[cfg(test)]
mod tests {
    use kiln_learn::model::NamedTask;

    use super::*;

    fn prices() -> Task {
        let names = vec!["price".to_string(), "area".to_string()];
        let (scale, offset) = (vec![1000.0, 10.0], vec![5000.0, 50.0]);
        Task::Numbers { names, scale, offset, curves: Vec::new(), interval: None }
    }

    #[test]
    fn a_figure_is_in_the_units_of_each_target_and_comes_back_from_its_state() {
        let mut mae = TaskFigure::of("mae", "mae".parse().unwrap(), &prices(), None);
        let seen = Seen {
            outputs: &[0.0, 0.0, 1.0, 1.0],
            width: 2,
            targets: Targets::Numbers(&[1.0, 0.0, 1.0, 2.0]),
        };
        mae.update(&seen).unwrap();
        // 1000 and 0 of prices, 0 and 10 of areas.
        assert_eq!(mae.value(), (500.0 + 5.0) / 2.0);
        let mut again = mae.clone();
        again.reset();
        again.restore(&mae.state()).unwrap();
        assert_eq!((again.value(), again.state()), (mae.value(), mae.state()));
        again.restore(&[]).unwrap();
        assert!(again.value().is_nan());
    }

    /// A kind of three beside a price.
    fn mixed() -> Task {
        let kind = Task::Classes { names: ["a", "b", "c"].map(String::from).to_vec() };
        let price = Task::Numbers {
            names: vec!["price".to_string()],
            scale: vec![1000.0],
            offset: vec![5000.0],
            curves: Vec::new(),
            interval: None,
        };
        let named = |(name, task): (&str, Task)| NamedTask { name: name.to_string(), task };
        Task::Several { targets: [("kind", kind), ("price", price)].map(named).to_vec() }
    }

    #[test]
    fn of_several_targets_a_figure_is_of_those_that_it_suits() {
        let seen = Seen {
            outputs: &[0.0, 2.0, 1.0, 0.5, 3.0, 2.0, 1.0, -1.0],
            width: 4,
            targets: Targets::Numbers(&[1.0, 0.5, 2.0, 0.0]),
        };
        for (name, value) in [("accuracy", 0.5), ("kind.accuracy", 0.5), ("mae", 500.0), ("price.mae", 500.0)]
        {
            let Decider::Figure(mut figure) = Decider::of(Some(name), &mixed()).unwrap() else {
                panic!("{name}")
            };
            assert_eq!(figure.needs(), Needs::Numbers);
            figure.update(&seen).unwrap();
            assert_eq!(figure.value(), value, "{name}");
            let mut again = figure.clone();
            again.reset();
            again.restore(&figure.state()).unwrap();
            assert_eq!(again.value(), value, "{name}");
        }
        let Task::Several { targets } = mixed() else { panic!("one target") };
        let pointed = targets.into_iter().zip(["a", "a.b"]);
        let targets = pointed.map(|(target, name)| NamedTask { name: name.to_string(), ..target }).collect();
        assert!(Decider::of(Some("a.b.mae"), &Task::Several { targets }).is_ok());
        let names: Vec<String> = usual(&mixed()).unwrap().iter().map(|figure| figure.name.clone()).collect();
        assert_eq!(names, ["kind.accuracy", "price.r2"]);
        let says = |name: &str| Decider::of(Some(name), &mixed()).err().unwrap().to_string();
        assert!(says("kind.mae").contains("isn't of classes"), "{}", says("kind.mae"));
        assert!(says("xyz").contains("r2"), "{}", says("xyz"));
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
