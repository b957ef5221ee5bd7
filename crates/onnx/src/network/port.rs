//! The inputs and outputs of a network, as a file declares them.

use crate::element::OnnxDType;
use crate::proto::{TypeProto, ValueInfoProto, tensor_shape_proto::dimension, type_proto};

/// An input or output of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its type, if it is a tensor of a known type.
    pub element: Option<OnnxDType>,
    /// Its sizes; none where they are free.
    pub sizes: Vec<Option<usize>>,
}

/// As a file declares it.
pub(super) fn declared(info: &ValueInfoProto) -> Port {
    let tensor = match info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => Some(tensor),
        _ => None,
    };
    let sizes = tensor.and_then(|tensor| tensor.shape.as_ref()).map_or(Vec::new(), |shape| {
        let size = |value: &Option<dimension::Value>| match value {
            Some(dimension::Value::DimValue(size)) => usize::try_from(*size).ok(),
            _ => None,
        };
        shape.dim.iter().map(|dim| size(&dim.value)).collect()
    });
    let element = tensor.and_then(|tensor| OnnxDType::of(tensor.elem_type()));
    // A sequence of maps from classes to numbers is what `ZipMap` gives, and comes as the numbers here.
    let (element, sizes) = match info.r#type.as_ref().and_then(mapped) {
        Some(element) => (Some(element), vec![None, None]),
        None => (element, sizes),
    };
    Port { name: info.name().to_string(), element, sizes }
}

/// What the maps of a sequence hold.
fn mapped(kind: &TypeProto) -> Option<OnnxDType> {
    let Some(type_proto::Value::SequenceType(sequence)) = &kind.value else { return None };
    let Some(type_proto::Value::MapType(map)) = &sequence.elem_type.as_ref()?.value else { return None };
    match &map.value_type.as_ref()?.value {
        Some(type_proto::Value::TensorType(tensor)) => OnnxDType::of(tensor.elem_type()),
        _ => None,
    }
}
