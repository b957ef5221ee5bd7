//! Safetensors: eight bytes with the length of a description in JSON, the description, and the numbers without a gap.

use std::ops::Range;

use kiln_map::{Budget, shown};
use kiln_nn::DType;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::json::{Members, weigh};
use super::{HostTensor, TensorFile};

/// The name under which a description holds what isn't a tensor.
pub(crate) const METADATA: &str = "__metadata__";

/// What a file says of itself.
pub(crate) struct Header {
    /// Its tensors, in the order of their numbers.
    pub tensors: Vec<Described>,
    /// What it says besides, by name.
    pub metadata: Vec<(String, String)>,
}

/// What a file says of a tensor: its numbers lie in the file, but needn't fit the shape and type.
pub(crate) struct Described {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<usize>,
    /// Where in the file its numbers are.
    pub range: Range<usize>,
}

/// As it stands in the description.
#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The description's text and where the numbers start.
pub(crate) fn head(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    Some((rest.get(..length)?, 8 + length))
}

/// Reads the description, and sees that no bytes serve two tensors and none are left. What is wrong is said here; what such a file
/// may be, by whoever asks.
pub(crate) fn read(bytes: &[u8]) -> Result<Header, String> {
    let (head, start) = head(bytes).ok_or("it doesn't start as a safetensors file does")?;
    Budget::default().bytes(weigh(head)).map_err(|exceeded| exceeded.to_string())?;
    let Members(pairs) = serde_json::from_slice::<Members<Value>>(head)
        .map_err(|error| format!("its description can't be read: {error}"))?;
    let (mut tensors, mut metadata) = (Vec::with_capacity(pairs.len()), Vec::new());
    for (name, value) in pairs {
        if name == METADATA {
            let Value::Object(about) = value else { continue };
            let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
            metadata.extend(about.into_iter().map(|(name, value)| (name, text(value))));
            continue;
        }
        let fault = |what: String| format!("{}: {what}", shown(&name));
        let info = Info::deserialize(value).map_err(|error| fault(error.to_string()))?;
        let [first, end] = info.data_offsets;
        let range = start.checked_add(first).zip(start.checked_add(end));
        let Some((first, end)) = range.filter(|(first, end)| first <= end && *end <= bytes.len()) else {
            let size = bytes.len() - start;
            return Err(fault(format!("its bytes are {first}..{end} of {size}")));
        };
        tensors.push(Described { name, dtype: info.dtype, shape: info.shape, range: first..end });
    }
    tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let mut at = start;
    for tensor in &tensors {
        if tensor.range.start != at {
            return Err(format!("{}: it doesn't start where the one before it ends", shown(&tensor.name)));
        }
        at = tensor.range.end;
    }
    match bytes.len() - at {
        0 => Ok(Header { tensors, metadata }),
        left => Err(format!("{left} bytes at its end belong to no tensor")),
    }
}

/// A file's bytes. The widest numbers come first, so that all of them are aligned.
pub(crate) fn write(store: &TensorFile, metadata: Map<String, Value>) -> Vec<u8> {
    let mut tensors: Vec<(&String, &HostTensor)> = store.tensors.iter().collect();
    tensors.sort_by_key(|(_, stored)| std::cmp::Reverse(rank(stored.data.dtype())));
    // In the order in which the format's own library writes it.
    let (mut text, mut end) = (format!("{{{}:{}", json!(METADATA), Value::Object(metadata)), 0);
    for (name, stored) in &tensors {
        let (dtype, first) = (name_of(stored.data.dtype()), end);
        end += stored.data.len() * stored.data.dtype().size();
        let (name, shape) = (json!(name), json!(stored.shape));
        text += &format!(r#",{name}:{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{first},{end}]}}"#);
    }
    let mut text = (text + "}").into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = Vec::with_capacity(8 + text.len() + end);
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text);
    tensors.iter().for_each(|(_, stored)| bytes.extend(stored.data.to_le_bytes()));
    bytes
}

/// What the format calls a type.
fn name_of(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "BOOL",
        DType::U8 => "U8",
        DType::U16 => "U16",
        DType::I32 => "I32",
        DType::I64 => "I64",
        DType::F16 => "F16",
        DType::Bf16 => "BF16",
        DType::F32 => "F32",
        DType::F64 => "F64",
    }
}

/// kiln's type for a name.
pub(crate) fn dtype(name: &str) -> Option<DType> {
    DType::ALL.into_iter().find(|dtype| name_of(*dtype) == name)
}

/// The place of a type in the order of a file, which is that of the format's own library.
fn rank(dtype: DType) -> usize {
    let order = ["BOOL", "U8", "U16", "F16", "BF16", "I32", "F32", "F64", "I64"];
    order.iter().position(|name| *name == name_of(dtype)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use kiln_nn::Data;

    use super::*;

    #[test]
    fn a_file_is_what_the_formats_own_library_writes() {
        let mut store = TensorFile::default();
        store.put("narrow", Data::U8(vec![7]));
        store.put("b", Data::F32(vec![1.0]));
        store.put("a", Data::F32(vec![2.0]));
        store.put("wide", Data::I64(vec![-1]));
        let bytes = write(&store, Map::from_iter([("format".to_string(), "pt".into())]));
        let (text, start) = head(&bytes).unwrap();
        assert_eq!(start % 8, 0);
        let description: Value = serde_json::from_slice(text).unwrap();
        assert_eq!(description["wide"]["data_offsets"], json!([0, 8]));
        assert_eq!(description["a"], json!({ "dtype": "F32", "shape": [1], "data_offsets": [8, 12] }));
        assert_eq!(description["b"]["data_offsets"], json!([12, 16]));
        let read = read(&bytes).unwrap();
        let names: Vec<&str> = read.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["wide", "a", "b", "narrow"]);
        assert_eq!(read.metadata, [("format".to_string(), "pt".to_string())]);
        assert_eq!(
            bytes[start..],
            *[&[0xff; 8][..], &2f32.to_le_bytes(), &1f32.to_le_bytes(), &[7]].concat()
        );
    }
}
