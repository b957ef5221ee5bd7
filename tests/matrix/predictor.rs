//! A model's answers to raw values in a program, from many threads, beside what the command says of the same.

use std::path::Path;

use kiln::data::{Picture, Table};
use kiln::generate::GenerateOptions;
use kiln::model::Task;
use kiln::presets::Suits;
use kiln::{Prediction, Predictor, Preparation};
use kiln_testkit::Program;
use serde_json::Value;

use crate::presets::out;

/// How many threads ask at once.
const THREADS: usize = 8;

/// Holds the answers of 8 threads to raw values beside `kiln predict`, to the bit.
pub fn same(program: &Program, model: &str, suits: Suits) -> Result<(), String> {
    let said = |error: kiln::Error| error.to_string();
    let predictor = Predictor::load(program.at(model)).map_err(said)?;
    predictor.warm_up().map_err(said)?;
    match suits {
        Suits::Tables => {
            let table = cells(&program.at("new.csv"))?;
            let told = told(program, &["predict", model, "new.csv", "--json"])?;
            asked(&predictor, &told, |predictor, row| {
                predictor.predict_row(table[row].iter().map(|(name, cell)| (name, cell)))
            })?;
            // All at once, as the file has them.
            let all =
                predictor.predict_rows(table.iter().map(|row| row.iter().map(|(name, cell)| (name, cell))));
            let all = all.map_err(said)?;
            all.iter().zip(&told).try_for_each(|(answer, told)| alike(answer, told))
        }
        Suits::Images => {
            for number in [0, 3] {
                let name = format!("pictures/ant/{number}.png");
                let file = program.read(&name);
                let told = told(program, &["predict", model, &name, "--json"])?;
                asked(&predictor, &told, |predictor, _| predictor.predict_image(&file))?;
                let picture = Picture::read(&file).map_err(|error| error.to_string())?;
                alike(&predictor.predict_picture(&picture).map_err(said)?, &told[0])?;
            }
            Ok(())
        }
        Suits::Sorted => {
            let table = cells(&program.at("new.csv"))?;
            let told = told(program, &["predict", model, "new.csv", "--json"])?;
            asked(&predictor, &told, |predictor, row| predictor.predict_text(&table[row][0].1))?;
            asked(&predictor, &told, |predictor, row| {
                predictor.predict_row(table[row].iter().map(|(name, cell)| (name, cell)))
            })
        }
        Suits::Pairs => {
            let told = told(program, &["predict", model, "new.csv", "--json"])?;
            let options = GenerateOptions::new().temperature(0.0);
            std::thread::scope(|scope| {
                let written = || predictor.predict_targets(&["123", "45"], &options);
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(written)).collect();
                threads.into_iter().try_for_each(|thread| {
                    let all = thread.join().map_err(|_| "a thread panicked".to_string())?.map_err(said)?;
                    all.iter().zip(&told).try_for_each(|(own, told)| equal(own, &told["target"]))
                })
            })
        }
        Suits::Series => {
            let told = told(program, &["predict", model, "new.csv", "--json"])?;
            let table = kiln::data::Table::open(program.at("new.csv")).map_err(|error| error.to_string())?;
            let all = predictor.forecast(&table).map_err(|error| error.to_string())?;
            let numbers = all.iter().flat_map(|series| series.numbers.iter().copied());
            numbers.zip(&told).try_for_each(|(own, told)| match told["sold"].as_f64() == Some(own) {
                true => Ok(()),
                false => Err(format!("{own} instead of {}", told["sold"])),
            })
        }
        Suits::Tagged => {
            let sentence = "it is cold in Oslo, very cold";
            let told = told(program, &["predict", model, "--text", sentence, "--json"])?;
            let words = Predictor::words(sentence);
            let same = |predictor: &Predictor| {
                let tagged = predictor.predict_tags(&words).map_err(|error| error.to_string())?;
                tagged.iter().enumerate().try_for_each(|(at, word)| {
                    let own = told[0]["probabilities"][at].as_f64().map(|own| (own as f32).to_bits());
                    match own == Some(word.probability.to_bits()) {
                        true => equal(&word.tag, &told[0]["tags"][at]),
                        false => Err(format!("{word:?} beside {}", told[0])),
                    }
                })
            };
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| same(&predictor))).collect();
                threads
                    .into_iter()
                    .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_string())?)
            })
        }
        Suits::Texts => {
            let flags = ["--prompt", "It was", "--length", "5", "--temperature", "0", "--json"];
            let told = told(program, &[&["predict", model], &flags[..]].concat())?;
            std::thread::scope(|scope| {
                let threads: Vec<_> =
                    (0..THREADS).map(|_| scope.spawn(|| goes_on(&predictor, "It was", 5))).collect();
                threads.into_iter().try_for_each(|thread| {
                    let text = thread.join().map_err(|_| "a thread panicked".to_string())??;
                    equal(&text, &told[0]["text"])
                })
            })
        }
    }
}

/// A table's rows as names and texts.
fn cells(path: &Path) -> Result<Vec<Vec<(String, String)>>, String> {
    let table = Table::open(path).map_err(|error| error.to_string())?;
    let cell = |column: &kiln::data::Column, row: usize| {
        let text = column.cell(row).text().unwrap_or_default().into_owned();
        (column.name().to_string(), text)
    };
    Ok((0..table.len()).map(|row| table.columns().iter().map(|column| cell(column, row)).collect()).collect())
}

/// What the command says, an object for each row.
fn told(program: &Program, arguments: &[&str]) -> Result<Vec<Value>, String> {
    let text = out(program, &[arguments])?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|error| error.to_string())).collect()
}

/// Every thread asks for all rows, several times.
fn asked(
    predictor: &Predictor,
    told: &[Value],
    ask: impl Fn(&Predictor, usize) -> kiln::Result<Prediction> + Sync,
) -> Result<(), String> {
    let all = |predictor: &Predictor| {
        for _ in 0..3 {
            for (row, told) in told.iter().enumerate() {
                alike(&ask(predictor, row).map_err(|error| error.to_string())?, told)?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (predictor, all) = (predictor.clone(), &all);
                scope.spawn(move || all(&predictor))
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_string())?)
    })
}

/// Whether an answer is what was told, to the bit.
fn alike(answer: &Prediction, told: &Value) -> Result<(), String> {
    match answer {
        Prediction::Classes { .. } => {
            equal(answer.class().unwrap_or_default(), &told["prediction"])?;
            answer.probabilities().try_for_each(|(name, p)| {
                let own = told["probabilities"][name].as_f64().map(|own| (own as f32).to_bits());
                match own == Some(p.to_bits()) {
                    true => Ok(()),
                    false => {
                        Err(format!("p({name}) is {p}, and the command says {}", told["probabilities"][name]))
                    }
                }
            })
        }
        Prediction::Numbers { .. } | Prediction::Several { .. } => {
            Err("presets tell classes apart".to_string())
        }
        Prediction::Text { .. } => Err("a text goes on by itself".to_string()),
    }
}

fn equal(own: &str, told: &Value) -> Result<(), String> {
    match told.as_str() == Some(own) {
        true => Ok(()),
        false => Err(format!("\"{own}\", and the command says {told}")),
    }
}

/// A text gone on with by what is likeliest.
fn goes_on(predictor: &Predictor, prompt: &str, length: usize) -> Result<String, String> {
    let Preparation::Text(text) = &predictor.model().about().preparation else {
        return Err("its preparation isn't that of a text".to_string());
    };
    let mut codes = text.tokens.encode(prompt);
    let first = codes.len();
    for _ in 0..length {
        let next = predictor.predict_next(&codes).map_err(|error| error.to_string())?;
        let scores: Vec<f32> = next.scores().collect();
        if !matches!(predictor.model().about().task, Task::Text { pieces } if pieces == scores.len()) {
            return Err(format!("{} scores", scores.len()));
        }
        // The first piece stands for what isn't known.
        let best = (2..scores.len()).fold(1, |best, at| if scores[at] > scores[best] { at } else { best });
        codes.push(best as u32);
    }
    Ok(text.tokens.decode(&codes[first..]))
}
