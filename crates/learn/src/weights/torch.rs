//! What `torch.save` writes: a zip archive with a pickle that describes tensors, and the numbers of each storage in an entry of its
//! own. Dictionaries in dictionaries become dotted names; what is no tensor is left out and noted. Older files stand in `torch_old.rs`.

use std::collections::HashMap;

use kiln_map::shown;

use super::entry::{Contents, Entry, TensorPlace};
use super::pickle::{self, Id, Pickle, PickleValue};
use super::zip::{self, Packed};
use super::{ElementType, Read};

/// How deep dictionaries may stand in each other.
const MOST_DEPTH: usize = 32;

/// Reads an archive.
pub(super) fn read(bytes: &[u8]) -> Read<Contents> {
    let entries = zip::read(bytes)?;
    let description = entries.iter().find(|entry| is_description(&entry.name));
    let description = description.ok_or("it has no data.pkl, as files of PyTorch's do")?;
    let folder = description.name.trim_end_matches("data.pkl");
    if entries.iter().any(|entry| entry.name.starts_with(&format!("{folder}code/"))) {
        return Err("it is a TorchScript program; in Python, save its tensors: \
                    torch.save(model.state_dict(), …)"
            .to_string());
    }
    let order = entries.iter().find(|entry| entry.name == format!("{folder}byteorder"));
    let is_big_endian = match order.map(|entry| content(bytes, entry)).transpose()?.as_deref() {
        None | Some(b"little") => false,
        Some(b"big") => true,
        Some(_) => return Err("its order of bytes is neither little nor big".to_string()),
    };
    let text = content(bytes, description)?;
    let pickle = pickle::read(&text)?;
    let prefix = format!("{folder}data/");
    let mut storages = HashMap::new();
    for entry in &entries {
        if let Some(key) = entry.name.strip_prefix(&prefix)
            && storages.insert(key, &entry.place).is_some()
        {
            return Err(format!("two of its entries are named {}", shown(&entry.name)));
        }
    }
    found(&pickle, storages, is_big_endian, text.len())
}

/// What the tree of a pickle of so many bytes holds.
pub(super) fn found(
    pickle: &Pickle,
    storages: HashMap<&str, &TensorPlace>,
    is_big_endian: bool,
    size: usize,
) -> Read<Contents> {
    let mut walk = StateDictReader {
        pickle,
        storages,
        is_big_endian,
        entries: Vec::new(),
        notes: Vec::new(),
        room: 64 * size + (1 << 16),
    };
    walk.visit(pickle.root, "", 0)?;
    if let (PickleValue::Call { function: (module, name), .. }, true) =
        (walk.value(pickle.root), walk.entries.is_empty())
        && *module != "collections"
    {
        return Err(format!(
            "it holds what {}.{} makes, which is no dictionary of tensors, and nothing of it was run; in Python, save the tensors \
             alone: torch.save(model.state_dict(), …)",
            shown(module),
            shown(name)
        ));
    }
    Contents::new(walk.entries, walk.notes)
}

/// What is in the tree that a pickle built.
struct StateDictReader<'p, 'a> {
    pickle: &'p Pickle<'a>,
    storages: HashMap<&'p str, &'p TensorPlace>,
    is_big_endian: bool,
    entries: Vec<Entry>,
    notes: Vec<(String, String)>,
    /// How many bytes of names and shapes may still come: parts that stand in many places could else make many of few.
    room: usize,
}

impl<'a> StateDictReader<'_, 'a> {
    fn value(&self, id: Id) -> &PickleValue<'a> {
        self.pickle.values.get(id).unwrap_or(&PickleValue::None)
    }

    fn spend(&mut self, bytes: usize) -> Read<()> {
        self.room = self.room.checked_sub(16 + bytes).ok_or("its parts repeat each other too often")?;
        Ok(())
    }

    /// Takes every tensor of a value that stands under `name`.
    fn visit(&mut self, id: Id, name: &str, depth: usize) -> Read<()> {
        if depth > MOST_DEPTH {
            return Err(format!("{}: dictionaries stand deeper than {MOST_DEPTH}", shown(name)));
        }
        self.spend(name.len())?;
        let pickle = self.pickle;
        match pickle.values.get(id).unwrap_or(&PickleValue::None) {
            PickleValue::Call { function: ("collections", "OrderedDict"), arguments, .. }
                if *self.value(*arguments) != PickleValue::Tuple(Vec::new()) =>
            {
                return Err(format!("{}: a dictionary is made in a way that kiln doesn't read", shown(name)));
            }
            PickleValue::Dict(members)
            | PickleValue::Call { function: ("collections", "OrderedDict"), members, .. } => {
                for &(key, value) in members {
                    let key = match self.value(key) {
                        PickleValue::Text(text) => text.to_string(),
                        PickleValue::Int(number) => number.to_string(),
                        // An object as a key names nothing.
                        _ => continue,
                    };
                    let path = join(name, &key);
                    if let Some(note) = self.note(value) {
                        self.spend(path.len() + note.len())?;
                        self.notes.push((path, note));
                    } else {
                        self.visit(value, &path, depth + 1)?;
                    }
                }
            }
            PickleValue::List(items) | PickleValue::Tuple(items) => {
                for (at, &item) in items.iter().enumerate() {
                    self.visit(item, &join(name, &at.to_string()), depth + 1)?;
                }
            }
            // A dictionary with a value for what isn't in it.
            PickleValue::Call { function: ("collections", "defaultdict"), members, .. } => {
                for &(key, value) in members {
                    if let PickleValue::Text(key) = self.value(key) {
                        self.visit(value, &join(name, key), depth + 1)?;
                    }
                }
            }
            PickleValue::Call {
                function: ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"),
                arguments,
                ..
            } => {
                let tensor = self.arguments(*arguments, 1)?[0];
                self.visit(tensor, name, depth + 1)?;
            }
            PickleValue::Call { function: ("torch._utils", function), arguments, .. }
                if function.starts_with("_rebuild_tensor") =>
            {
                let name = if name.is_empty() { "tensor" } else { name };
                let entry = self
                    .tensor(function, *arguments, name)
                    .map_err(|error| format!("{}: {error}", shown(name)))?;
                self.spend(16 * entry.shape.len())?;
                self.entries.push(entry);
            }
            // Whatever else it is, it is no tensor.
            PickleValue::Call { function: (module, own), .. } => {
                let note = format!("made by {}.{}", shown(module), shown(own));
                self.spend(note.len())?;
                self.notes.push((name.to_string(), note));
            }
            PickleValue::None
            | PickleValue::Bool(_)
            | PickleValue::Int(_)
            | PickleValue::Float(_)
            | PickleValue::Text(_)
            | PickleValue::Other
            | PickleValue::Global(..)
            | PickleValue::Persistent(_) => {}
        }
        Ok(())
    }

    /// A single value that is no tensor, as text.
    fn note(&self, id: Id) -> Option<String> {
        Some(match self.value(id) {
            PickleValue::None => "None".to_string(),
            PickleValue::Bool(value) => value.to_string(),
            PickleValue::Int(number) => number.to_string(),
            PickleValue::Float(number) => number.to_string(),
            PickleValue::Text(text) => shown(text),
            PickleValue::Other => "no tensor".to_string(),
            PickleValue::Global(module, name) => format!("{module}.{name}"),
            _ => return None,
        })
    }

    fn arguments(&self, id: Id, least: usize) -> Read<&[Id]> {
        match self.value(id) {
            PickleValue::Tuple(items) if items.len() >= least => Ok(items),
            _ => Err("arguments are missing".to_string()),
        }
    }

    fn size(&self, id: Id) -> Read<usize> {
        match self.value(id) {
            PickleValue::Int(number) => {
                usize::try_from(*number).map_err(|_| format!("a size or stride is {number}"))
            }
            _ => Err("a size or stride is no number".to_string()),
        }
    }

    fn sizes(&self, id: Id) -> Read<Vec<usize>> {
        self.arguments(id, 0)?.iter().map(|&item| self.size(item)).collect()
    }

    /// What `_rebuild_tensor…(storage, offset, sizes, strides, requires_grad, hooks, …)` would make.
    fn tensor(&self, function: &str, arguments: Id, name: &str) -> Read<Entry> {
        let (dtype, metadata) = match function {
            "_rebuild_tensor" => (None, None),
            "_rebuild_tensor_v2" => (None, Some(6)),
            "_rebuild_tensor_v3" => (Some(6), Some(7)),
            _ => return Err(format!("{function} is called for no tensor")),
        };
        let arguments = self.arguments(arguments, 4)?;
        // Marks of a view whose numbers are to be negated, for one.
        let marks = metadata.and_then(|at| arguments.get(at)).map(|&id| self.value(id));
        if let Some(PickleValue::Dict(members) | PickleValue::Call { members, .. }) = marks
            && !members.is_empty()
        {
            return Err(
                "it is a negated or conjugated view; in PyTorch, `.clone()` it before saving".to_string()
            );
        }
        let dtype = match dtype {
            None => None,
            Some(at) => match arguments.get(at).map(|&id| self.value(id)) {
                Some(PickleValue::Global("torch", name)) => ElementType::from_torch_dtype(name),
                _ => return Err("its type is missing".to_string()),
            },
        };
        let (element, place) = self.storage(arguments[0], dtype)?;
        Ok(Entry {
            name: name.to_string(),
            element,
            offset: self.size(arguments[1])?,
            shape: self.sizes(arguments[2])?,
            strides: Some(self.sizes(arguments[3])?),
            place,
            is_big_endian: self.is_big_endian,
        })
    }

    /// `("storage", class, key, device, count)`: the type of its numbers and where they lie.
    fn storage(&self, id: Id, dtype: Option<ElementType>) -> Read<(ElementType, TensorPlace)> {
        let PickleValue::Persistent(id) = self.value(id) else {
            return Err("it has no storage".to_string());
        };
        let &[_, class, key, _, count, ..] = self.arguments(*id, 5)? else {
            return Err("its storage isn't described".to_string());
        };
        let (PickleValue::Global(module, class), PickleValue::Text(key)) =
            (self.value(class), self.value(key))
        else {
            return Err("its storage isn't described".to_string());
        };
        // One without a type is counted in bytes.
        let (element, size) = match (*module, ElementType::from_torch_storage(class)) {
            ("torch", Some(element)) => (dtype.unwrap_or(element), element.size()),
            _ => (dtype.ok_or("its storage has no type")?, 1),
        };
        let place = self.storages.get(key).ok_or_else(|| format!("its storage {} is missing", shown(key)))?;
        let stored = place.unpacked.unwrap_or(place.range.len());
        let count = self.size(count)?;
        if count.checked_mul(size) != Some(stored) {
            return Err(format!("its storage has {stored} bytes and should have {count} times {size}"));
        }
        Ok((element, TensorPlace { crc: None, ..(*place).clone() }))
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// Whether an entry of an archive is the pickle of a file of PyTorch's.
pub(super) fn is_description(name: &str) -> bool {
    name == "data.pkl" || name.split_once('/').is_some_and(|(_, name)| name == "data.pkl")
}

/// The bytes of an entry. Checksums aren't looked at: PyTorch can be told to write none.
fn content<'a>(bytes: &'a [u8], entry: &Packed) -> Read<std::borrow::Cow<'a, [u8]>> {
    let place = TensorPlace { crc: None, ..entry.place.clone() };
    place.bytes(bytes).map_err(|error| format!("{}: {error}", shown(&entry.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with this pickle and a storage of six numbers.
    fn archive(pickle: &[u8]) -> Vec<u8> {
        let numbers: Vec<u8> = (0..6).flat_map(|number| (number as f32).to_le_bytes()).collect();
        let mut zip = zip::ZipWriter::new();
        zip.add("x/data.pkl", pickle).unwrap();
        zip.add("x/data/0", &numbers).unwrap();
        zip.finish()
    }

    fn text(text: &str) -> Vec<u8> {
        [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    fn numbers(numbers: &[i32]) -> Vec<u8> {
        let number = |number: &i32| [&b"J"[..], &number.to_le_bytes()].concat();
        [&b"("[..], &numbers.iter().flat_map(number).collect::<Vec<u8>>(), b"t"].concat()
    }

    /// A tensor over the storage.
    fn tensor(offset: i32, shape: &[i32], strides: &[i32], count: i32) -> Vec<u8> {
        let global = |name: &str| [&b"c"[..], name.replace(' ', "\n").as_bytes(), b"\n"].concat();
        let storage = [text("storage"), global("torch FloatStorage"), text("0"), text("cpu")].concat();
        let storage = [&b"(("[..], &storage, b"J", &count.to_le_bytes(), b"tQ"].concat();
        let offset = [&b"J"[..], &offset.to_le_bytes()].concat();
        let arguments = [offset, numbers(shape), numbers(strides)].concat();
        [&global("torch._utils _rebuild_tensor_v2")[..], &storage, &arguments, b"\x89NtR"].concat()
    }

    fn of(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let member = |(name, value): &(&str, Vec<u8>)| [text(name), value.clone()].concat();
        archive(&[&b"\x80\x02}("[..], &members.iter().flat_map(member).collect::<Vec<u8>>(), b"u."].concat())
    }

    #[test]
    fn strides_stay_in_their_storage() {
        let file = of(&[("a", tensor(1, &[2, 2], &[1, 3], 6))]);
        let contents = read(&file).unwrap();
        let bytes = contents.entries[0].bytes(&file).unwrap();
        let data = ElementType::F32.decode(&bytes).unwrap();
        assert_eq!(data.as_slice::<f32>(), Some(&[1.0, 4.0, 2.0, 5.0][..]));
        for (tensor, reason) in [
            (tensor(1, &[2, 3], &[3, 1], 6), "doesn't fit"),
            (tensor(0, &[7], &[1], 6), "doesn't fit"),
            (tensor(0, &[2], &[-1], 6), "a size or stride is -1"),
            (tensor(-1, &[2], &[1], 6), "-1"),
            (tensor(0, &[i32::MAX, i32::MAX, i32::MAX], &[0, 0, 0], 6), "doesn't fit"),
            (tensor(0, &[30_000, 30_000], &[0, 0], 6), ".contiguous()"),
            (tensor(0, &[2, 3], &[1], 6), "other axes"),
            (tensor(0, &[2], &[1], 7), "24 bytes and should have 7 times 4"),
        ] {
            let error = read(&of(&[("a", tensor)])).unwrap_err();
            assert!(error.starts_with("a: ") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn what_is_no_tensor_lies_beside_them_and_is_noted() {
        // torch.Size, an object with a state, a set, a NumPy scalar's bytes, a default dictionary.
        let global = |name: &str| [&b"c"[..], name.replace(' ', "\n").as_bytes(), b"\n"].concat();
        let size = [global("torch Size"), numbers(&[2, 3]), b"\x85R".to_vec()].concat();
        let object =
            [global("argparse Namespace"), b")\x81}".to_vec(), text("lr"), b"K\x01sb".to_vec()].concat();
        let scalar = [global("numpy.core.multiarray scalar"), b"C\x02ab\x85R".to_vec()].concat();
        let run = [global("posix system"), text("ls"), b"\x85R".to_vec()].concat();
        let inner = [text("b"), tensor(0, &[2], &[1], 6)].concat();
        let default = [
            global("collections defaultdict"),
            global("builtins dict"),
            b"\x85R(".to_vec(),
            inner,
            b"u".to_vec(),
        ]
        .concat();
        let file = of(&[
            ("a", tensor(0, &[6], &[1], 6)),
            ("size", size),
            ("args", object),
            ("scalar", scalar),
            ("run", run),
            ("set", b"\x8f(K\x01\x90".to_vec()),
            ("d", default),
        ]);
        let contents = read(&file).unwrap();
        let names: Vec<&str> = contents.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a", "d.b"]);
        let noted: Vec<(&str, &str)> =
            contents.notes.iter().map(|(name, note)| (name.as_str(), note.as_str())).collect();
        assert_eq!(
            noted,
            [
                ("size", "made by torch.Size"),
                ("args", "made by argparse.Namespace"),
                ("scalar", "made by numpy.core.multiarray.scalar"),
                ("run", "made by posix.system"),
                ("set", "no tensor"),
            ]
        );
    }

    #[test]
    fn archives_of_big_endian_machines_are_turned() {
        let pickle = [&b"\x80\x02"[..], &tensor(0, &[1], &[1], 1), b"."].concat();
        let mut zip = zip::ZipWriter::new();
        zip.add("x/data.pkl", &pickle).unwrap();
        zip.add("x/byteorder", b"big").unwrap();
        zip.add("x/data/0", &1.5f32.to_be_bytes()).unwrap();
        let file = zip.finish();
        let entry = &read(&file).unwrap().entries[0];
        assert_eq!(
            (entry.name.as_str(), &entry.bytes(&file).unwrap()[..]),
            ("tensor", &1.5f32.to_le_bytes()[..])
        );
    }

    #[test]
    fn pickles_that_are_no_dictionaries_of_tensors_are_refused() {
        for (pickle, reason) in [
            (&b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."[..], "os.system"),
            (b"\x80\x04X\x08\x00\x00\x00builtinsX\x04\x00\x00\x00eval\x93)R.", "builtins.eval"),
            (b"ctorch\nload\n)\x81.", "torch.load"),
            (b"(S'x'\no.", "0x53"),
            (b"}(u}0R.", "takes more than it has"),
            (b"Kx", "cut off"),
            (b"h\x05.", "recalls"),
        ] {
            let error = read(&archive(pickle)).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn pickles_that_hold_themselves_or_repeat_end() {
        // A dictionary that is its own member.
        let error = read(&archive(b"}q\x00X\x01\x00\x00\x00ah\x00s.")).unwrap_err();
        assert!(error.contains("deeper"), "{error}");
        // Thirty lists, each with the one before it ten times.
        let mut pickle = b"]q\x00".to_vec();
        for list in 0..30u8 {
            pickle.push(b'(');
            pickle.extend([b'h', list].repeat(10));
            pickle.extend([b'l', b'q', list + 1]);
        }
        pickle.push(b'.');
        assert!(read(&archive(&pickle)).unwrap_err().contains("too often"));
        let twice = of(&[("a", tensor(0, &[1], &[1], 6)), ("a", tensor(0, &[1], &[1], 6))]);
        assert!(read(&twice).unwrap_err().contains("two tensors are named a"));
    }
}
