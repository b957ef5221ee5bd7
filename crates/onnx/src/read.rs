//! Files of ONNX as messages and tensors. Nothing in them is believed: sizes are held against what is there before memory is taken.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kiln_ir::{DType, Data};
use kiln_map::{Budget, ExternalFiles, MemoryMap};

use crate::element::OnnxDType;
use crate::error::{Error, Result};
use crate::proto::{
    Message, ModelProto, OptionalProto, SequenceProto, TensorProto, tensor_proto::DataLocation, type_proto,
};
use crate::value::Value;
use crate::weigh::{MessageKind, weigh};

/// Where a file's tensors may lie, and what is left for them.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// The files beside it.
    pub beside: &'a ExternalFiles,
    /// What the file may still ask for.
    pub budget: &'a Budget,
}

/// A file's bytes, mapped: what of it is looked at is read.
fn mapped(path: &Path) -> Result<Bytes> {
    MemoryMap::open(path).map(Bytes::from_owner).map_err(Error::file(path))
}

/// A model's message.
pub fn model(path: &Path, budget: &Budget) -> Result<ModelProto> {
    message(path, mapped(path)?, budget)
}

/// A model's message in the bytes of a file.
pub fn message(path: &Path, bytes: Bytes, budget: &Budget) -> Result<ModelProto> {
    let weight = weigh(&bytes, MessageKind::Model, budget.limits().bytes);
    budget.bytes(weight).map_err(Error::limit(path.display()))?;
    ModelProto::decode(bytes)
        .map_err(|error| Error::format(path, format!("{error}; it is cut off, damaged, or no ONNX file")))
}

/// A file with one tensor, as test data come.
pub fn tensor_file(path: &Path) -> Result<Value> {
    let (bytes, budget) = (mapped(path)?, Budget::default());
    let weight = weigh(&bytes, MessageKind::Tensor, budget.limits().bytes);
    budget.bytes(weight).map_err(Error::limit(path.display()))?;
    let message = TensorProto::decode(bytes).map_err(|error| {
        Error::format(path, format!("{error}; it is cut off, damaged, or no tensor of ONNX"))
    })?;
    let beside = ExternalFiles::file(path).map_err(Error::file(path))?;
    tensor(&message, Origin { beside: &beside, budget: &budget })
}

/// A file with one value of a declared type, as test data come.
pub fn value_file(path: &Path, kind: Option<&type_proto::Value>) -> Result<Value> {
    let damaged = |error| Error::format(path, format!("{error}; it is cut off, damaged, or of another type"));
    let budget = Budget::default();
    let bytes = || -> Result<Bytes> {
        let bytes = mapped(path)?;
        let weight = weigh(&bytes, MessageKind::Small, budget.limits().bytes);
        budget.bytes(weight).map_err(Error::limit(path.display()))?;
        Ok(bytes)
    };
    let beside = ExternalFiles::file(path).map_err(Error::file(path))?;
    let origin = Origin { beside: &beside, budget: &budget };
    match kind {
        Some(type_proto::Value::SequenceType(_)) => {
            sequence(&SequenceProto::decode(bytes()?).map_err(damaged)?, origin)
        }
        Some(type_proto::Value::OptionalType(_)) => {
            let message = OptionalProto::decode(bytes()?).map_err(damaged)?;
            match (&message.tensor_value, &message.sequence_value) {
                (Some(own), _) => tensor(own, origin),
                (None, Some(own)) => sequence(own, origin),
                (None, None) => Ok(Value::Nothing),
            }
        }
        _ => tensor_file(path),
    }
}

fn sequence(message: &SequenceProto, origin: Origin) -> Result<Value> {
    if !message.sequence_values.is_empty() {
        return Err(Error::Unsupported("sequences of sequences aren't known here".to_string()));
    }
    let values = message.tensor_values.iter().map(|own| tensor(own, origin)).collect::<Result<Vec<_>>>()?;
    Ok(Value::List(Arc::new(values)))
}

/// A tensor of a message.
pub fn tensor(message: &TensorProto, origin: Origin) -> Result<Value> {
    let name = message.name();
    let refuse = |what: String| Error::network(format!("tensor {name}: {what}"));
    let number = message.data_type();
    let element = OnnxDType::of(number).ok_or_else(|| {
        Error::Unsupported(format!("tensor {name}: elements of ONNX's type {number} aren't known here"))
    })?;
    let mut shape = Vec::with_capacity(message.dims.len());
    for &size in &message.dims {
        let size = usize::try_from(size).map_err(|_| refuse(format!("a size of {size}")))?;
        shape.push(size);
    }
    let count = shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
    let count = count.ok_or_else(|| refuse(format!("a shape of {shape:?}, which no memory holds")))?;
    let holds = |found: usize| match found == count {
        true => Ok(()),
        false => Err(refuse(format!("{found} elements for a shape of {shape:?}"))),
    };
    // What is held of it here; its numbers are looked for afterwards.
    let held = element.dtype().map_or(size_of::<String>(), DType::size);
    let bytes = (count as u64).saturating_mul(held as u64);
    origin.budget.bytes(bytes).map_err(Error::limit(format!("tensor {name} of {shape:?}")))?;
    if element == OnnxDType::Text {
        holds(message.string_data.len())?;
        let text = |bytes: &Bytes| {
            String::from_utf8(bytes.to_vec()).map_err(|_| refuse("a text isn't UTF-8".to_string()))
        };
        let texts = message.string_data.iter().map(text).collect::<Result<Vec<_>>>()?;
        return Ok(Value::texts(texts, &shape));
    }
    let external = message.data_location == Some(DataLocation::External as i32);
    if external || message.raw_data.is_some() {
        let bytes = if external {
            outside(message, origin.beside)?
        } else {
            message.raw_data.clone().unwrap_or_default()
        };
        if Some(bytes.len()) != element.bytes(count) {
            let (found, name) = (bytes.len(), element.name());
            return Err(refuse(format!("{found} bytes for a shape of {shape:?} of {name}")));
        }
        let data = element.read(&bytes, count).ok_or_else(|| refuse("a number above 2⁶³".to_string()))?;
        return Ok(Value::new(data, &shape, element));
    }
    let data = match element {
        OnnxDType::F32 => Data::F32(message.float_data.clone()),
        OnnxDType::F64 => Data::F64(message.double_data.clone()),
        OnnxDType::I64 => Data::I64(message.int64_data.clone()),
        OnnxDType::U32 | OnnxDType::U64 => {
            let wide = message.uint64_data.iter().map(|&number| i64::try_from(number).ok());
            Data::I64(wide.collect::<Option<_>>().ok_or_else(|| refuse("a number above 2⁶³".to_string()))?)
        }
        // Narrow types come as 32 bits each; halves as their bits.
        OnnxDType::F16 | OnnxDType::Bf16 => {
            let bytes: Vec<u8> =
                message.int32_data.iter().flat_map(|&bits| (bits as u16).to_le_bytes()).collect();
            element.read(&bytes, count).unwrap_or(Data::F32(Vec::new()))
        }
        // Bytes in which several may stand.
        element if element.bits().is_some_and(|bits| bits < 8) || element.narrow_float().is_some() => {
            let bytes: Vec<u8> = message.int32_data.iter().map(|&bits| bits as u8).collect();
            element.read(&bytes, count).unwrap_or(Data::F32(Vec::new()))
        }
        _ => Data::I32(message.int32_data.clone()).cast(element.dtype().unwrap_or(kiln_ir::DType::I32)),
    };
    holds(data.len())?;
    Ok(Value::new(data, &shape, element))
}

/// A tensor whose numbers stood apart from its message, which says its shape and type.
pub fn given(message: &TensorProto, shape: &[usize], data: Data) -> Result<Value> {
    let name = message.name();
    let refuse = |what: String| Error::network(format!("tensor {name}: {what}"));
    let said: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
    if said != message.dims || shape.iter().product::<usize>() != data.len() {
        return Err(refuse(format!("{shape:?} is kept, and the network takes {:?}", message.dims)));
    }
    match OnnxDType::of(message.data_type()) {
        Some(element) if element.dtype() == Some(data.dtype()) => Ok(Value::new(data, shape, element)),
        _ => Err(refuse(format!("{} is kept, and the network takes another type", data.dtype()))),
    }
}

/// Takes a tensor's numbers out of its message.
pub fn without_numbers(message: &mut TensorProto) {
    let TensorProto { dims, data_type, name, .. } = std::mem::take(message);
    *message = TensorProto { dims, data_type, name, ..TensorProto::default() };
}

/// Takes the numbers of a tensor into its message, where they lie in another file.
pub fn with_numbers(message: &mut TensorProto, beside: &ExternalFiles) -> Result<()> {
    if message.data_location == Some(DataLocation::External as i32) {
        message.raw_data = Some(outside(message, beside)?);
        message.data_location = None;
        message.external_data.clear();
    }
    Ok(())
}

/// The bytes of a tensor whose numbers lie in another file.
fn outside(message: &TensorProto, beside: &ExternalFiles) -> Result<Bytes> {
    let name = message.name();
    let entry =
        |key: &str| message.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value());
    let refuse = |what: &str| Error::network(format!("tensor {name}: {what}"));
    let location = entry("location").ok_or_else(|| refuse("the file with its numbers isn't named"))?;
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => match text.parse::<usize>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(refuse(&format!("{key} is {text}"))),
        },
    };
    let bytes = beside.open(location).map_err(|error| refuse(&format!("its numbers: {error}")))?;
    let bytes = Bytes::from_owner(bytes);
    let start = number("offset")?.unwrap_or(0);
    let length = number("length")?.unwrap_or(bytes.len().saturating_sub(start));
    match start.checked_add(length) {
        Some(end) if end <= bytes.len() => Ok(bytes.slice(start..end)),
        _ => Err(refuse(&format!("{location} ends before its numbers do"))),
    }
}
