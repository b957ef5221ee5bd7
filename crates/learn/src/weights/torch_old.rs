//! Files of PyTorch's before version 1.6: pickles one after the other, and the numbers of the storages behind them.

use std::collections::HashMap;

use kiln_map::shown;

use super::entry::{Contents, TensorPlace};
use super::pickle::{self, Pickle, PickleValue};
use super::torch::found;
use super::{ElementType, Read};

/// What a file of PyTorch's before version 1.6 starts with: a number, as a pickle.
const OLD: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

pub(super) fn is_old(bytes: &[u8]) -> bool {
    bytes.starts_with(OLD)
}

/// Reads a file of PyTorch's before version 1.6: a magic number, a version, notes on the machine, the tensors, and the names of their
/// storages, each a pickle; then each storage, its count before its numbers.
pub(super) fn read_old(bytes: &[u8]) -> Read<Contents> {
    let mut at = OLD.len();
    let mut next = || -> Read<Pickle> {
        let pickle = pickle::read(bytes.get(at..).unwrap_or_default())?;
        at += pickle.size;
        Ok(pickle)
    };
    let (_, machine, tensors, keys) = (next()?, next()?, next()?, next()?);
    let is_little = machine
        .values
        .windows(2)
        .any(|pair| pair == [PickleValue::Text("little_endian"), PickleValue::Bool(true)]);
    let mut sizes: HashMap<&str, usize> = HashMap::new();
    for value in &tensors.values {
        let PickleValue::Persistent(id) = value else { continue };
        let PickleValue::Tuple(parts) = &tensors.values[*id] else { continue };
        let part = |at: usize| parts.get(at).and_then(|&part| tensors.values.get(part));
        if let (Some(PickleValue::Global(_, class)), Some(PickleValue::Text(key))) = (part(1), part(2))
            && let Some(element) = ElementType::from_torch_storage(class)
        {
            sizes.insert(key, element.size());
        }
        if part(5).is_some_and(|view| *view != PickleValue::None) {
            return Err(
                "it holds a part of a storage, as PyTorch 0.1 wrote; load it there and save it again"
                    .to_string(),
            );
        }
    }
    let PickleValue::List(list) = &keys.values[keys.root] else {
        return Err("the names of its storages are missing".to_string());
    };
    let mut places: Vec<(&str, TensorPlace)> = Vec::with_capacity(list.len());
    for &key in list {
        let PickleValue::Text(key) = keys.values[key] else {
            return Err("the name of a storage is no text".to_string());
        };
        let cut = || format!("storage {} is cut off", shown(key));
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or_else(cut)?;
        let count = usize::try_from(u64::from_le_bytes(*count)).map_err(|_| cut())?;
        // What no tensor uses has no type, and there is no way behind it.
        let size =
            sizes.get(key).ok_or_else(|| format!("no tensor says the type of storage {}", shown(key)))?;
        let start = at + 8;
        let end = count.checked_mul(*size).and_then(|length| start.checked_add(length));
        let end = end.filter(|end| *end <= bytes.len()).ok_or_else(cut)?;
        places.push((key, TensorPlace { range: start..end, ..TensorPlace::default() }));
        at = end;
    }
    let storages = places.iter().map(|(key, place)| (*key, place)).collect();
    found(&tensors, storages, !is_little, bytes.len().min(1 << 20) + tensors.size)
}
