//! Steps of networks for sequences: language models of transformer blocks, and a recurrent layer.

use kiln::generate::GenerateOptions;
use kiln::hub::LanguageModel;
use kiln::{
    Adam, AdamW, Cache, Context, Dense, Embedding, Function, Input, Key, Layer, LayerNorm, Lstm,
    PositionalEmbedding, RecurrentOptions, Step, Tensor, TransformerBlock, TransformerOptions, parameters,
};

use super::{Arguments, Result, measure, numbers, show};

/// Characters that a language model tells apart.
const CHARACTERS: usize = 65;

struct Gpt {
    tokens: Embedding,
    positions: PositionalEmbedding,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
    out: Dense,
}
parameters!(Gpt { tokens, positions, blocks, norm, out });

impl Gpt {
    fn new(blocks: usize, heads: usize, width: usize, steps: usize) -> Gpt {
        let key = Key::new(3);
        let options = TransformerOptions::new().causal();
        Gpt {
            tokens: Embedding::new(CHARACTERS, width, key.derive(0)),
            positions: PositionalEmbedding::new(steps, width, key.derive(1)),
            blocks: (0..blocks as i64)
                .map(|at| TransformerBlock::new(width, heads, options.clone(), key.derive(3 + at)))
                .collect(),
            norm: LayerNorm::new([width]),
            out: Dense::new(width, CHARACTERS, key.derive(2)),
        }
    }

    fn forward(&self, tokens: &Tensor, cx: &Context) -> Tensor {
        let x = self.positions.forward(&self.tokens.forward(tokens, cx), cx);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x, cx));
        self.out.forward(&self.norm.forward(&x, cx), cx)
    }
}

/// Pieces behind a prompt of words, as `bench/workloads.py` says them: 200 pieces one by one, the likeliest each.
pub(crate) fn generate(arguments: &Arguments, name: &str) -> Result {
    let data = arguments.data.as_ref().ok_or("--data names the folder of the models")?;
    let model = LanguageModel::open(std::path::Path::new(data).join(name))?;
    let prompt: Vec<String> = (0..16).map(|at| format!("w{}", at * 7919 % 8192)).collect();
    let (prompt, options) = (prompt.join(" "), GenerateOptions::new().tokens(200).temperature(0.0));
    if arguments.show {
        let cache = Cache::new(1, 216);
        let mut step = Function::cached(model.decoder(), &cache, |model, cx, [x]| model.forward(&x, cx));
        return show(&mut step, [Input::new(&[3i64], &[1, 1])]);
    }
    measure(arguments, || {
        let mut generation = model.generate(&prompt, &options)?;
        generation.by_ref().try_for_each(|added| added.map(drop))?;
        assert_eq!(generation.codes().len(), 200);
        Ok(())
    })
}

/// A step of a language model on sequences of `steps` characters, and of what follows each.
pub(crate) fn gpt(arguments: &Arguments, [blocks, heads, width, steps, batch]: [usize; 5]) -> Result {
    let model = Gpt::new(blocks, heads, width, steps);
    let mut step = Step::train(&model, AdamW::new(1e-3).weight_decay(0.1), |model: &Gpt, cx, [x, y]| {
        model.forward(&x, cx).flatten(..2).cross_entropy(&y)
    });
    let characters: Vec<i64> = (0..batch * steps).map(|at| (at * at * 7919 % CHARACTERS) as i64).collect();
    let inputs = [Input::new(&characters, &[batch, steps]), Input::new(&characters, &[batch * steps])];
    if arguments.show {
        return show(step.function(), inputs);
    }
    measure(arguments, || {
        step.run(inputs.clone())?;
        Ok(())
    })
}

struct Recurrent {
    lstm: Lstm,
    out: Dense,
}
parameters!(Recurrent { lstm, out });

/// A step of a recurrent layer over 64 steps, with a class for each.
pub(crate) fn lstm(arguments: &Arguments) -> Result {
    let (batch, steps, width, hidden) = (32, 64, 128, 256);
    let [first, second] = Key::new(3).split();
    let model = Recurrent {
        lstm: Lstm::new(width, hidden, RecurrentOptions::new(), first),
        out: Dense::new(hidden, CHARACTERS, second),
    };
    let mut step = Step::train(&model, Adam::new(1e-3), |model: &Recurrent, cx, [x, y]| {
        let hidden = model.lstm.forward(&x, cx);
        model.out.forward(&hidden, cx).flatten(..2).cross_entropy(&y)
    });
    let x = numbers(batch * steps * width, 7);
    let y: Vec<i64> = (0..batch * steps).map(|at| (at * at * 7919 % CHARACTERS) as i64).collect();
    let inputs = [Input::new(&x, &[batch, steps, width]), Input::new(&y, &[batch * steps])];
    if arguments.show {
        return show(step.function(), inputs);
    }
    measure(arguments, || {
        step.run(inputs.clone())?;
        Ok(())
    })
}

/// The most memory that the process had, where the system says so.
pub(crate) fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.map_or(String::new(), |kilobytes| format!(", \"peak_mb\": {:.1}", kilobytes / 1e3))
}
