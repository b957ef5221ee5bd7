//! Files of weights: tensors under names, as other systems write them, read and written.
//!
//! | | read | written |
//! |---|---|---|
//! | `.safetensors`, and `.safetensors.index.json` for several | yes | yes |
//! | `.npy`, `.npz` | yes | yes |
//! | `.pt`, `.pth`, `.ckpt`: what `torch.save` writes of state dicts, old files too | yes | no |
//! | `.json`, and kiln's own `.kiln` and `.state` | yes | `.json` |
//!
//! What a file is follows from its first bytes. It is mapped, not read: a tensor's numbers are looked at when they are asked for, and
//! where they lie row-major and little-endian nothing is copied. No file makes kiln execute anything, and none that is damaged or made to harm
//! makes it panic or take more memory than follows from the file's size.
//!
//! ```
//! use kiln::prelude::*;
//! use kiln::weights::{self, Fit, Mapping, Weights};
//!
//! let [first, second] = Key::new(1).split();
//! let (trained, fresh) = (Dense::new(3, 2, first), Dense::new(3, 2, second));
//! let path = std::env::temp_dir().join("kiln-weights-example.npz");
//! weights::save(&trained, &path)?;
//!
//! let file = Weights::open(&path)?;
//! assert_eq!(file.get("weight").unwrap().shape(), [3, 2]);
//! file.load_into(&fresh, &Mapping::new(), Fit::Strict)?;
//! assert_eq!(fresh.weight.value()?, trained.weight.value()?);
//! # std::fs::remove_file(path).ok();
//! # Ok::<(), kiln::Error>(())
//! ```

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use kiln_map::{Budget, ExternalFiles, MemoryMap, shown};
use kiln_nn::Module;

#[cfg(not(feature = "gzip"))]
use no_deflate as deflate;

use crate::store::{HostTensor, TensorFile, json, put_all_weights, write_atomically};
use crate::{Error, Result};

mod adapters;
mod assign;
#[cfg(feature = "gzip")]
mod deflate;
mod element;
mod entry;
pub(crate) mod mapping;
#[cfg(not(feature = "gzip"))]
mod no_deflate;
mod npy;
mod pickle;
mod safetensors;
mod torch;
mod torch_old;
mod zip;

pub use adapters::{load_adapters, save_adapters};
pub use assign::{Fit, Report};
pub use element::ElementType;
pub use entry::StoredTensor;
pub use mapping::Mapping;

use entry::{Contents, Entry, TensorPlace};

/// What a reader of bytes gives, or what is wrong with them. Which file it was is added by [`Weights`].
type Read<T> = std::result::Result<T, String>;

/// Files of an index have about this many bytes.
const SHARD: usize = 5_000_000_000;

/// The tensors of a file, by name and in its order.
#[derive(Debug)]
pub struct Weights {
    sources: Vec<(PathBuf, FileBytes)>,
    entries: Vec<Entry>,
    places: HashMap<String, usize>,
    notes: Vec<(String, String)>,
}

/// A file's bytes.
#[derive(Debug)]
enum FileBytes {
    MemoryMap(MemoryMap),
    Owned(Vec<u8>),
}

/// How tensors of Keras's get here.
const FROM_KERAS: &str = "in Python, save its tensors by name: safetensors.numpy.save_file({w.path: w.numpy() for w in model.weights}, \"model.safetensors\")";

/// What bytes are that hold weights in a way kiln doesn't read, with the mend.
fn foreign(bytes: &[u8]) -> Option<String> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    Some(match bytes {
        _ if starts(b"\x89HDF\r\n\x1a\n") => format!("an HDF5 file, as Keras writes (.h5, .hdf5); {FROM_KERAS}"),
        _ if bytes.get(4..8) == Some(b"TFL3") => {
            "a network of TensorFlow Lite's (.tflite); tf2onnx writes it as ONNX: python -m tf2onnx.convert --tflite FILE --output net.onnx"
                .to_string()
        }
        _ if starts(b"GGUF") => "a GGUF file: a whole language model, which `kiln predict` and `kiln inspect` take as it is".to_string(),
        _ if starts(b"\x80") => {
            "a pickle of Python's that PyTorch didn't write; save tensors alone: torch.save(model.state_dict(), …)"
                .to_string()
        }
        _ => return None,
    })
}

impl FileBytes {
    fn bytes(&self) -> &[u8] {
        match self {
            FileBytes::MemoryMap(mapped) => mapped,
            FileBytes::Owned(bytes) => bytes,
        }
    }
}

impl Weights {
    /// Opens a file of any of these kinds. No program may change it while it is open.
    ///
    /// # Errors
    /// Where it can't be read, is none of these, is damaged, or holds more than tensors.
    pub fn open(path: impl AsRef<Path>) -> Result<Weights> {
        let path = path.as_ref();
        // What is no file, a pipe for one, can't be mapped.
        let source = match fs::metadata(path).map_err(Error::file(path))?.is_file() {
            true => MemoryMap::open(path).map(FileBytes::MemoryMap),
            false => Budget::default().read_file(path).map(FileBytes::Owned),
        };
        let source = source.map_err(Error::file(path))?;
        if safetensors::is_index(path) {
            return Weights::of_index(path, source.bytes());
        }
        Weights::of(path, source).map_err(|error| Error::format(path, error))
    }

    /// As [`Weights::open`], from bytes in memory; an index of other files isn't followed.
    ///
    /// # Errors
    /// As there.
    pub fn read(bytes: &[u8]) -> Result<Weights> {
        let path = Path::new("the bytes");
        Weights::of(path, FileBytes::Owned(bytes.to_vec())).map_err(|error| Error::format(path, error))
    }

    fn of(path: &Path, source: FileBytes) -> Read<Weights> {
        let bytes = source.bytes();
        let is_json = || bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
        if safetensors::is_safetensors(bytes) {
            let contents = safetensors::read(bytes)?;
            return Ok(Weights::new(vec![(path.to_path_buf(), source)], contents));
        }
        let contents = if npy::is_npy(bytes) {
            npy::read(bytes)?
        } else if zip::is_zip(bytes) {
            let entries = zip::read(bytes)?;
            if entries.iter().any(|entry| entry.name == "model.weights.h5") {
                return Err(format!("this is a model of Keras's (.keras); {}", FROM_KERAS));
            }
            match entries.iter().any(|entry| torch::is_description(&entry.name)) {
                true => torch::read(bytes)?,
                false => npy::read_npz(bytes)?,
            }
        } else if is_json() {
            let (contents, numbers) = of_store(json::read(bytes)?.0)?;
            return Ok(Weights::new(vec![(path.to_path_buf(), FileBytes::Owned(numbers))], contents));
        } else if torch_old::is_old(bytes) {
            torch_old::read_old(bytes)?
        } else if let Some(what) = foreign(bytes) {
            return Err(format!("this is {what}"));
        } else {
            return Err("this is no file of weights that kiln knows; it reads .safetensors, .npz, .npy, .pt, .pth, .json and .kiln, whole ones"
                .to_string());
        };
        Ok(Weights::new(vec![(path.to_path_buf(), source)], contents))
    }

    /// The tensors of all files that an index names.
    fn of_index(path: &Path, bytes: &[u8]) -> Result<Weights> {
        let files = safetensors::read_index(bytes).map_err(|error| Error::format(path, error))?;
        let beside = ExternalFiles::file(path).map_err(Error::file(path))?;
        let (mut sources, mut all) = (Vec::new(), Contents::default());
        for (file, names) in files {
            let part_path = path.with_file_name(&file);
            let mapped = beside.open(&file).map_err(|error| Error::format(path, error.to_string()))?;
            let contents = safetensors::read(&mapped).map_err(|error| Error::format(&part_path, error))?;
            let part = Weights::new(vec![(part_path, FileBytes::MemoryMap(mapped))], contents);
            if let Some(name) = names.iter().find(|name| part.get(name).is_none()) {
                let message =
                    format!("the index {} says that {} is here, and it isn't", path.display(), shown(name));
                return Err(Error::format(path.with_file_name(&file), message));
            }
            let number = sources.len();
            all.entries.extend(part.entries.into_iter().map(|mut entry| {
                entry.place.source = number;
                entry
            }));
            all.notes.extend(part.notes.into_iter().map(|(name, note)| (format!("{file}: {name}"), note)));
            sources.extend(part.sources);
        }
        let all = Contents::new(all.entries, all.notes).map_err(|error| Error::format(path, error))?;
        Ok(Weights::new(sources, all))
    }

    fn new(sources: Vec<(PathBuf, FileBytes)>, contents: Contents) -> Weights {
        let Contents { entries, notes } = contents;
        let places = entries.iter().enumerate().map(|(at, entry)| (entry.name.clone(), at)).collect();
        Weights { sources, entries, places, notes }
    }

    fn weight<'a>(&'a self, entry: &'a Entry) -> Option<StoredTensor<'a>> {
        let (path, source) = self.sources.get(entry.place.source)?;
        Some(StoredTensor { entry, source: source.bytes(), path })
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All tensors, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = StoredTensor<'_>> {
        self.entries.iter().filter_map(|entry| self.weight(entry))
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<StoredTensor<'_>> {
        self.weight(&self.entries[*self.places.get(name)?])
    }

    /// What the file says besides tensors, by name: metadata, an epoch's number.
    pub fn notes(&self) -> &[(String, String)] {
        &self.notes
    }

    /// The first file.
    pub(crate) fn path(&self) -> &Path {
        self.sources.first().map_or(Path::new(""), |(path, _)| path)
    }
}

/// Numbers that were read already, as a file's contents and the bytes they lie in.
fn of_store(store: TensorFile) -> Read<(Contents, Vec<u8>)> {
    let (mut entries, mut bytes) = (Vec::new(), Vec::new());
    for (name, HostTensor { shape, data }) in store.tensors {
        let element = ElementType::of(data.dtype());
        let start = bytes.len();
        bytes.extend(data.to_le_bytes());
        let place = TensorPlace { range: start..bytes.len(), ..TensorPlace::default() };
        entries.push(Entry { name, element, shape, place, strides: None, offset: 0, is_big_endian: false });
    }
    let notes = store.about.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    Ok((Contents::new(entries, notes)?, bytes))
}

/// Writes a model's parameters and running statistics; see [`write()`].
///
/// # Errors
/// As there.
pub fn save<M: Module + ?Sized>(model: &M, path: impl AsRef<Path>) -> Result<()> {
    let mut store = TensorFile::default();
    put_all_weights(&mut store, model)?;
    write(&store, path)
}

/// Writes tensors in the form that the name asks for: `.safetensors`, `.safetensors.index.json` (files of at most about 5 GB beside it),
/// `.npz`, `.json`, and for a single tensor `.npy`. NumPy has no bf16, and gets f32 for it; only
/// `.safetensors` and `.json` keep the description.
///
/// # Errors
/// Where the name asks for no such form, or the system refuses.
pub fn write(store: &TensorFile, path: impl AsRef<Path>) -> Result<()> {
    let (path, tensors) = (path.as_ref(), &store.tensors);
    if safetensors::is_index(path) {
        return safetensors::write_index(path, tensors, SHARD);
    }
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref().unwrap_or_default() {
        "safetensors" => store.save(path),
        "json" => store.save_json(path),
        "npz" => {
            let bytes = npy::write_npz(tensors).map_err(|error| Error::format(path, error))?;
            write_atomically(path, &bytes)
        }
        "npy" => {
            let Some((_, stored)) = tensors.first_key_value().filter(|_| tensors.len() == 1) else {
                let message =
                    format!("an npy file holds one tensor, and there are {}; write .npz", tensors.len());
                return Err(Error::format(path, message));
            };
            write_atomically(path, &npy::write(stored))
        }
        _ => Err(Error::format(
            path,
            "the form follows from the name; it ends in .safetensors, .safetensors.index.json, .npz, .npy or .json",
        )),
    }
}
