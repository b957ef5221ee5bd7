//! What threads may hand to each other and share: said here for each public type, and held by the compiler.

use kiln_nn::function::Outputs;
use kiln_nn::optim::{
    Adadelta, Adagrad, Adamax, Groups, Lamb, Lbfgs, Lion, Muon, NAdam, Optimizer, RAdam, RmsProp,
};
use kiln_nn::{
    Activation, Adam, AdamW, BatchNorm, Clip, Compiled, Context, Conv1d, Conv2d, Conv3d, ConvTranspose1d,
    ConvTranspose2d, ConvTranspose3d, Data, Dense, Dropout, EmbedColumns, Embedding, Error, Flatten,
    Function, GroupNorm, Gru, Input, InstanceNorm, Key, Lambda, Layer, LayerNorm, Lstm, Module,
    MultiHeadAttention, OverTime, PRelu, Param, Pool, PositionalEmbedding, Program, Reshape, RmsNorm, Rnn,
    Sequential, Sgd, Spec, Step, StepOptions, Summary, Tensor, TransformerBlock, Transpose, Update, Upsample,
    Variable, composite, loss, metrics, optim, schedule, summary,
};

const fn sent<T: Send + ?Sized>() {}
const fn shared<T: Send + Sync + ?Sized>() {}

/// What runs by itself is for one thread at a time; threads may hand it on.
const _: () = {
    sent::<Function>();
    sent::<Function<3>>();
    sent::<Step>();
    sent::<Step<2>>();
    sent::<Update>();
    sent::<Outputs>();
    sent::<optim::Slots>();
    sent::<optim::ParameterSlots>();
};

/// What is read, and what guards what it changes, may be used by many at once.
const _: () = {
    shared::<dyn Module>();
    shared::<dyn Layer>();
    shared::<dyn Optimizer>();
    shared::<dyn loss::Loss>();
    shared::<dyn schedule::Schedule>();
    shared::<Tensor>();
    shared::<Variable>();
    shared::<Param>();
    shared::<Context>();
    shared::<Compiled>();
    shared::<Program>();
    shared::<Input>();
    shared::<Data>();
    shared::<Error>();
    shared::<Key>();
    shared::<Summary>();
    shared::<summary::LayerSummary>();
    shared::<StepOptions>();
    shared::<Clip>();
    shared::<composite::Noted>();
    shared::<metrics::Figure>();
    shared::<metrics::History>();
    shared::<metrics::Confusion>();
    shared::<schedule::Cosine>();
    shared::<Sequential>();
    shared::<Spec>();
};

/// Layers.
const _: () = {
    shared::<Activation>();
    shared::<BatchNorm>();
    shared::<Conv1d>();
    shared::<Conv2d>();
    shared::<Conv3d>();
    shared::<ConvTranspose1d>();
    shared::<ConvTranspose2d>();
    shared::<ConvTranspose3d>();
    shared::<Dense>();
    shared::<Dropout>();
    shared::<EmbedColumns>();
    shared::<Embedding>();
    shared::<Flatten>();
    shared::<GroupNorm>();
    shared::<Gru>();
    shared::<InstanceNorm>();
    shared::<Lambda>();
    shared::<LayerNorm>();
    shared::<Lstm>();
    shared::<MultiHeadAttention>();
    shared::<OverTime>();
    shared::<PRelu>();
    shared::<Pool>();
    shared::<PositionalEmbedding>();
    shared::<Reshape>();
    shared::<RmsNorm>();
    shared::<Rnn>();
    shared::<TransformerBlock>();
    shared::<Transpose>();
    shared::<Upsample>();
};

/// Optimizers and losses.
const _: () = {
    shared::<Adadelta>();
    shared::<Adagrad>();
    shared::<Adam>();
    shared::<AdamW>();
    shared::<Adamax>();
    shared::<Groups>();
    shared::<Lamb>();
    shared::<Lbfgs>();
    shared::<Lion>();
    shared::<Muon>();
    shared::<NAdam>();
    shared::<RAdam>();
    shared::<RmsProp>();
    shared::<Sgd>();
    shared::<loss::CrossEntropy>();
    shared::<loss::Mse>();
    shared::<loss::BinaryCrossEntropy>();
    shared::<loss::Ctc>();
};

#[test]
fn a_step_trains_on_another_thread_and_a_model_answers_on_many() {
    let model = Sequential::new().dense(8).relu().dense(1);
    let mut step = Step::train(&model, Adam::new(0.05), |m, cx, [x, y]| m.forward(&x, cx).mse(&y));
    let (x, y) = ([0.0f32, 1.0, 2.0, 3.0], [0.0f32, 2.0, 4.0, 6.0]);
    let column = [4usize, 1];
    let mut run = move || step.run([Input::new(&x, &column), Input::new(&y, &column)]).unwrap();
    let losses = std::thread::scope(|scope| {
        scope.spawn(move || (0..50).map(|_| run()).collect::<Vec<f32>>()).join().unwrap()
    });
    assert!(losses[49] < 0.1 * losses[0], "{losses:?}");

    // Two threads make the layers of a fresh row at once, and both get the same ones.
    let fresh = Sequential::new().dense(64).relu().dense(1);
    let answers: Vec<Vec<f32>> = std::thread::scope(|scope| {
        let ask = || fresh.forward(&Tensor::new(x.to_vec(), column), &Context::inference()).to_vec().unwrap();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}
