//! kiln: neural networks from raw data to a shipped model.
//!
//! This crate is the front door. It gathers what the crates behind it offer: [`Tensor`] and everything people write
//! from `kiln-nn`, host-side sets from [`data`], and the representation below ([`ir`]) for those who look at graphs.
//!
//! # Tensors are computed when they are asked for
//!
//! ```
//! use kiln::prelude::*;
//!
//! let x = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
//! let y = (&x * 2.0 + 1.0).sum(0);
//! assert_eq!(y.to_vec::<f64>()?, [10.0, 14.0]);
//!
//! // A mistake comes out there too, with the line it was made in.
//! let wrong = x.matmul(&Tensor::ones([3, 2])).relu();
//! assert!(wrong.to_vec::<f64>().is_err());
//! # Ok::<(), kiln::Error>(())
//! ```
//!
//! # Gradients are tensors
//!
//! ```
//! use kiln::prelude::*;
//!
//! let x = Tensor::from(3.0);
//! let y = x.pow(3);
//! let slope = &y.grad(&[&x])[0];
//! let curvature = &slope.grad(&[&x])[0];
//! assert_eq!((slope.item()?, curvature.item()?), (27.0, 18.0));
//! # Ok::<(), kiln::Error>(())
//! ```
//!
//! # A training step is one program
//!
//! [`Step`] traces the forward pass, the gradients and the optimizer once for each shape of its inputs, compiles them
//! together, and then runs that. Parameters live on the device and are updated in place.
//!
//! ```
//! use kiln::prelude::*;
//!
//! struct Net { hidden: Dense, out: Dense }
//! parameters!(Net { hidden, out });
//!
//! let [first, second] = Key::new(7).split();
//! let net = Net { hidden: Dense::new(2, 16, first), out: Dense::new(16, 2, second) };
//! let mut step = Step::train(&net, Adam::new(0.05), |net, cx, [x, labels]| {
//!     net.out.forward(&net.hidden.forward(&x, cx).tanh(), cx).cross_entropy(&labels)
//! });
//!
//! let moons = data::moons(64, 0.1, 7);
//! let mut losses = Vec::new();
//! for epoch in 0..10 {
//!     for batch in moons.batches(16).shuffle(1).epoch(epoch) {
//!         losses.push(step.run(batch?.inputs())?);
//!     }
//! }
//! assert!(losses[39] < 0.5 * losses[0]);
//! # Ok::<(), kiln::Error>(())
//! ```

#![forbid(unsafe_code)]

pub use kiln_learn::*;

/// The code in the README is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// So is the code in the page on ONNX.
#[cfg(doctest)]
#[doc = include_str!("../docs/onnx.md")]
struct OnnxPage;

/// So is the code in the guide to training.
#[cfg(doctest)]
#[doc = include_str!("../docs/training.md")]
struct Training;

/// So is that in the page on attention.
#[cfg(doctest)]
#[doc = include_str!("../docs/attention.md")]
struct AttentionPage;

/// And that in the page on series.
#[cfg(doctest)]
#[doc = include_str!("../docs/series.md")]
struct SeriesPage;

/// And the code in the guide to models in a program.
#[cfg(doctest)]
#[doc = include_str!("../docs/predictor.md")]
struct PredictorGuide;

/// And that in the page on explanations.
#[cfg(doctest)]
#[doc = include_str!("../docs/explained.md")]
struct ExplainedPage;

/// And that in the guide to texts.
#[cfg(doctest)]
#[doc = include_str!("../docs/sequences.md")]
struct SequencesGuide;

/// And that in the guide to what one writes oneself.
#[cfg(doctest)]
#[doc = include_str!("../docs/own.md")]
struct OwnGuide;
