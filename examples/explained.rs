//! Why a model of a table answers as it does: `explained MODEL.kiln TABLE.csv`. Of each row the three columns that move the answer the most, and the
//! smallest change that would turn it. The model is one that `kiln train TABLE.csv` made.

use kiln::data::RawCell;
use kiln::explain::{ChangeGoal, ChangeOptions, ExplainOptions, Explainer};
use kiln::prelude::*;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(table)) = (arguments.next(), arguments.next()) else {
        eprintln!("explained MODEL.kiln TABLE.csv");
        std::process::exit(2);
    };
    let model = Model::load(model)?;
    let table = model.about().reading()?.open(table)?;
    let names: Vec<&str> = table.names().collect();
    let explainer = Explainer::new(&model, &names, &ExplainOptions::default())?;
    let rows = model.about().of_table(&table)?.rows;
    let columns: Vec<&str> = explainer.columns().collect();
    println!("{} values, in {}", explainer.method().name(), explainer.scale());
    let needed = explainer.needed()?;
    for (row, why) in explainer.explain(rows.inputs().as_f32().unwrap_or_default())?.iter().enumerate() {
        let strongest = why.strongest().into_iter().take(3);
        let moves: Vec<String> =
            strongest.map(|at| format!("{} {:+.3}", columns[at], why.moved[at])).collect();
        print!("row {}: {:.3} from {:.3}: {}", row + 1, why.output, why.baseline, moves.join(", "));
        if !explainer.classes().is_empty() {
            let texts =
                needed.iter().map(|name| Ok(table.column(name)?.cell(row).text().unwrap_or_default()));
            let texts = texts.collect::<Result<Vec<_>>>()?;
            let cells: Vec<RawCell> = texts.iter().map(|text| RawCell::Text(text)).collect();
            let options = ChangeOptions { goal: ChangeGoal::AnotherClass, fixed: Vec::new(), most: 2 };
            let change = explainer.change(&cells, &options)?;
            print!("; to turn it: {}", change.map_or("nothing found".to_string(), |change| change.brief()));
        }
        println!();
    }
    Ok(())
}
