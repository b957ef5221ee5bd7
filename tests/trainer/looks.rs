//! Callbacks that look at the model as it is evaluated, and say something of an epoch.

use super::*;

/// Looks at the model's first weight in the middle of each epoch and at its end.
struct Looks;

impl Callback for Looks {
    fn after_step(&mut self, at: &mut Moment) -> Result<()> {
        if at.batch == 2 {
            at.evaluate();
        }
        Ok(())
    }

    fn evaluate(&mut self, at: &mut Moment) -> Result<()> {
        let weight = at.model.parameters().remove(0).1.value()?;
        at.add_text("look", format!("{} {:?}", at.step, weight.get(0)));
        Ok(())
    }
}

/// A text with the step and the call at which it is shown.
type ShownText = (u64, &'static str, String);

/// What is shown, and when.
struct Shown(Rc<RefCell<Vec<ShownText>>>);

impl Shown {
    fn keep(&self, at: &Moment, when: &'static str) {
        let texts = at.texts().iter().map(|(name, text)| (at.step, when, format!("{name} {text}")));
        self.0.borrow_mut().extend(texts);
    }
}

impl Callback for Shown {
    fn after_step(&mut self, at: &mut Moment) -> Result<()> {
        self.keep(at, "step");
        Ok(())
    }

    fn after_epoch(&mut self, at: &mut Moment) -> Result<()> {
        self.keep(at, "epoch");
        Ok(())
    }
}

#[test]
fn a_callback_looks_at_what_is_evaluated_and_its_texts_are_shown_once() {
    let (train, _) = data::moons(70, 0.2, 1).split(0.9);
    let shown = Rc::new(RefCell::new(Vec::new()));
    let run = || {
        Trainer::new(model(), CrossEntropy::new(), AdamW::new(0.02)).epochs(2).batch_size(16).ema(0.5).quiet()
    };
    let looked = run().callback(Looks).callback(Shown(shown.clone())).fit(&train).unwrap();
    // Four steps an epoch: what was seen after the second is shown after the third.
    let when: Vec<(u64, &str)> = shown.borrow().iter().map(|(step, when, _)| (*step, *when)).collect();
    assert_eq!(when, [(3, "step"), (4, "epoch"), (7, "step"), (8, "epoch")]);
    let (_, _, last) = shown.borrow().last().unwrap().clone();
    // In the end the model has the averages.
    let weight = looked.model().parameters().remove(0).1.value().unwrap();
    assert_eq!(last, format!("look 8 {:?}", weight.get(0)));
    assert_eq!(weights(looked.model()), weights(run().fit(&train).unwrap().model()));
}
