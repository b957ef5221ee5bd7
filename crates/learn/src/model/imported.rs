//! A network of an ONNX file as the layers of a model, and the pixels it takes.

use kiln_nn::{Context, Layer, Module, Param, Sequential, Tensor, Visitor};
use kiln_onnx::Network;

use crate::row::Pixels;

/// A network behind what its pixels go through.
struct Imported {
    pixels: Option<Pixels>,
    network: Network,
    /// Whether it takes whole numbers, to which pixels that were scaled are rounded.
    is_whole: bool,
}

impl Module for Imported {
    fn visit(&self, visitor: &mut Visitor) {
        self.network.visit(visitor);
    }
}

impl Layer for Imported {
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        match &self.pixels {
            Some(pixels) if self.is_whole => self.network.forward(&pixels.of(x).round(), context),
            Some(pixels) => self.network.forward(&pixels.of(x), context),
            None => self.network.forward(x, context),
        }
    }
}

/// A network as the one layer of a row.
pub(super) fn as_layers(network: Network, pixels: Option<Pixels>) -> Sequential {
    let element = network.inputs().first().and_then(|input| input.element);
    let is_whole = element.is_some_and(|element| !element.is_float());
    Sequential::new().layer(Imported { pixels, network, is_whole })
}

/// The parameters of a network under their names in its file, for patterns.
pub(super) struct ParametersByFileName(pub Vec<(String, Param)>);

impl ParametersByFileName {
    /// Of such a row of layers.
    pub(super) fn of(layers: &Sequential) -> ParametersByFileName {
        let own =
            |(path, param): (String, Param)| (path.strip_prefix(PREFIX).unwrap_or(&path).to_string(), param);
        ParametersByFileName(layers.parameters().into_iter().map(own).collect())
    }
}

/// What stands before the names of a network's weights in a model's file: its place in the row.
pub(super) const PREFIX: &str = "0.";

impl Module for ParametersByFileName {
    fn visit(&self, visitor: &mut Visitor) {
        self.0.iter().for_each(|(name, param)| visitor.parameter(name, param));
    }
}

/// Such a row of layers whose weights go by their names in its file, as it is written again.
pub(super) struct LayersByFileName<'a>(pub &'a Sequential);

impl Module for LayersByFileName<'_> {
    fn visit(&self, visitor: &mut Visitor) {
        let own = |path: &str| path.strip_prefix(PREFIX).unwrap_or(path).to_string();
        self.0.parameters().iter().for_each(|(path, param)| visitor.parameter(&own(path), param));
        self.0.states().iter().for_each(|(path, state)| visitor.state(&own(path), state));
    }
}

impl Layer for LayersByFileName<'_> {
    fn forward(&self, x: &Tensor, context: &Context) -> Tensor {
        self.0.forward(x, context)
    }
}
