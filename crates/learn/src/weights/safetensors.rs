//! Files of safetensors, whose numbers stay where they are, and the `*.safetensors.index.json` that says which of several such files a
//! tensor is in.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_map::{Budget, shown};
use serde::Deserialize;
use serde_json::json;

use super::entry::{Contents, Entry, TensorPlace};
use super::{ElementType, Read};
use crate::Result;
use crate::store::json::{Members, weigh};
use crate::store::safetensors::{self, Described, Header};
use crate::store::{HostTensor, TensorFile, elements, write_atomically};

/// Whether a file starts like one: a length that fits, and a description.
pub(super) fn is_safetensors(bytes: &[u8]) -> bool {
    safetensors::head(bytes).is_some_and(|(head, _)| head.starts_with(b"{"))
}

/// Reads one.
pub(super) fn read(bytes: &[u8]) -> Read<Contents> {
    let Header { tensors, metadata } =
        safetensors::read(bytes).map_err(|error| format!("{error}; the file is cut off or damaged"))?;
    let mut entries = Vec::with_capacity(tensors.len());
    for Described { name, dtype, shape, range } in tensors {
        let fault = |what: String| format!("{}: {what}", shown(&name));
        let element = ElementType::from_safetensors(&dtype)
            .ok_or_else(|| fault(format!("its type is {}, which kiln doesn't read", shown(&dtype))))?;
        if elements(&shape).and_then(|count| count.checked_mul(element.size())) != Some(range.len()) {
            return Err(fault(format!(
                "its shape {shape:?} of {element} doesn't fit its {} bytes; the file is cut off or damaged",
                range.len()
            )));
        }
        let place = TensorPlace { range, ..TensorPlace::default() };
        entries.push(Entry { name, element, shape, place, strides: None, offset: 0, is_big_endian: false });
    }
    Contents::new(entries, metadata)
}

/// Which file each tensor is in.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: Members<String>,
}

/// Whether a JSON file may be an index.
pub(super) fn is_index(path: &Path) -> bool {
    path.to_string_lossy().to_lowercase().ends_with(INDEX)
}

const INDEX: &str = ".safetensors.index.json";

/// The files an index names, each with the tensors it must hold.
pub(super) fn read_index(bytes: &[u8]) -> Read<BTreeMap<String, Vec<String>>> {
    Budget::default().bytes(weigh(bytes)).map_err(|exceeded| exceeded.to_string())?;
    let index: ShardIndex =
        serde_json::from_slice(bytes).map_err(|error| format!("the index can't be read: {error}"))?;
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, file) in index.weight_map.0 {
        // Files lie beside their index and nowhere else.
        if file.is_empty() || file.starts_with('.') || file.contains(['/', '\\', ':', '\0']) {
            return Err(format!(
                "{} is said to be in {}, which is no file beside it",
                shown(&name),
                shown(&file)
            ));
        }
        files.entry(file).or_default().push(name);
    }
    Ok(files)
}

/// Writes tensors in files of at most about `most` bytes, and the index at `path`. Tensors larger than that have a file of their own.
pub(super) fn write_index(path: &Path, tensors: &BTreeMap<String, HostTensor>, most: usize) -> Result<()> {
    let bytes = |stored: &HostTensor| stored.data.len() * stored.data.dtype().size();
    let mut parts = vec![(0, TensorFile::default())];
    for (name, stored) in tensors {
        let size = bytes(stored);
        if parts.last().is_some_and(|(total, _)| *total > 0 && total + size > most) {
            parts.push((0, TensorFile::default()));
        }
        if let Some((total, part)) = parts.last_mut() {
            *total += size;
            part.tensors.insert(name.clone(), stored.clone());
        }
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = &name[..name.len().saturating_sub(INDEX.len())];
    let mut map = BTreeMap::new();
    for (number, (_, part)) in parts.iter().enumerate() {
        let file = format!("{stem}-{:05}-of-{:05}.safetensors", number + 1, parts.len());
        part.save(path.with_file_name(&file))?;
        map.extend(part.tensors.keys().map(|name| (name.clone(), file.clone())));
    }
    let total: usize = parts.iter().map(|(total, _)| total).sum();
    let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
    write_atomically(path, format!("{index:#}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(head: &str, numbers: &[u8]) -> Vec<u8> {
        [&(head.len() as u64).to_le_bytes(), head.as_bytes(), numbers].concat()
    }

    #[test]
    fn tensors_stay_where_they_are() {
        let head = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"I8","shape":[3],"data_offsets":[0,3]},"a":{"dtype":"F16","shape":[],"data_offsets":[3,5]}} "#;
        let bytes = file(head, &[1, 255, 3, 0, 0x3c]);
        let contents = read(&bytes).unwrap();
        assert_eq!(contents.notes, [("format".to_string(), "pt".to_string())]);
        let [b, a] = &contents.entries[..] else { panic!() };
        assert_eq!((b.name.as_str(), b.element, &b.shape[..]), ("b", ElementType::I8, &[3][..]));
        // Unaligned, and borrowed all the same.
        let numbers = a.bytes(&bytes).unwrap();
        assert!(matches!(numbers, std::borrow::Cow::Borrowed(_)));
        assert_eq!(*numbers, [0, 0x3c]);
    }

    #[test]
    fn descriptions_that_lie_are_refused() {
        let refused = |head: &str, reason: &str| {
            let error = read(&file(head, &[0; 8])).unwrap_err();
            assert!(error.contains(reason), "{head}: {error}");
        };
        let one = r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#;
        let two = r#""dtype":"F32","shape":[1],"data_offsets":[4,8]"#;
        refused(&format!(r#"{{"a":{{{one}}},"a":{{{two}}}}}"#), "two tensors are named a");
        refused(&format!(r#"{{"a":{{{one}}}}}"#), "4 bytes at its end");
        refused(&format!(r#"{{"a":{{{one}}},"b":{{{one}}}}}"#), "doesn't start where");
        refused(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, "[3]");
        refused(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, "8..0");
        refused(r#"{"a":{"dtype":"F4","shape":[16],"data_offsets":[0,8]}}"#, "F4");
        refused(
            r#"{"a":{"dtype":"U8","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}}"#,
            "4294967296",
        );
        refused("[1, 2]", "can't be read");
        assert!(read_index(br#"{"weight_map":{"a":"../x.safetensors"}}"#).unwrap_err().contains("../x"));
    }
}
