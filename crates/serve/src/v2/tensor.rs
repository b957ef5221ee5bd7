//! Tensors of the Open Inference Protocol: as lists of JSON, and as bytes behind it.

use crate::json::Json;
use crate::refusal::Refusal;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Fp32,
    Fp64,
    Bytes,
}

const NAMES: [(&str, DataType, usize); 13] = [
    ("BOOL", DataType::Bool, 1),
    ("UINT8", DataType::Uint8, 1),
    ("UINT16", DataType::Uint16, 2),
    ("UINT32", DataType::Uint32, 4),
    ("UINT64", DataType::Uint64, 8),
    ("INT8", DataType::Int8, 1),
    ("INT16", DataType::Int16, 2),
    ("INT32", DataType::Int32, 4),
    ("INT64", DataType::Int64, 8),
    ("FP16", DataType::Fp16, 2),
    ("FP32", DataType::Fp32, 4),
    ("FP64", DataType::Fp64, 8),
    ("BYTES", DataType::Bytes, 0),
];

impl DataType {
    /// By its name in the protocol.
    pub fn named(name: &str) -> Result<DataType, Refusal> {
        let known = NAMES.iter().find(|(known, ..)| *known == name).map(|(_, kind, _)| *kind);
        known.ok_or_else(|| {
            let all = NAMES.map(|(name, ..)| name).join(", ");
            Refusal::bad(format!("\"{name}\" is no datatype; there is: {all}"))
        })
    }

    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, kind, _)| *kind == self).map_or("", |(name, ..)| name)
    }

    /// How many bytes an element has; 0 of those that say it themselves.
    fn size(self) -> usize {
        NAMES.iter().find(|(_, kind, _)| *kind == self).map_or(0, |(_, _, size)| *size)
    }
}

/// The elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Numbers, whatever their type was.
    Numbers(Vec<f64>),
    /// Texts or files.
    Bytes(Vec<Vec<u8>>),
}

impl Elements {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Elements::Numbers(numbers) => numbers.len(),
            Elements::Bytes(all) => all.len(),
        }
    }

    /// Those of a list of JSON.
    pub fn of_json(kind: DataType, data: &Json) -> Result<Elements, Refusal> {
        if kind != DataType::Bytes {
            let mut numbers = Vec::new();
            data.flatten(&mut numbers)?;
            return Ok(Elements::Numbers(numbers));
        }
        let mut texts = Vec::new();
        flatten_texts(data, &mut texts)?;
        Ok(Elements::Bytes(texts))
    }

    /// Those of bytes, little end first; texts and files have their length in four bytes before them.
    pub fn of_bytes(kind: DataType, bytes: &[u8]) -> Result<Elements, Refusal> {
        if kind == DataType::Bytes {
            return Ok(Elements::Bytes(lengths_first(bytes)?));
        }
        let size = kind.size();
        if !bytes.len().is_multiple_of(size) {
            return Err(Refusal::bad(format!(
                "{} bytes are no whole number of {}, of {size} bytes each",
                bytes.len(),
                kind.name()
            )));
        }
        let number = |bytes: &[u8]| number(kind, bytes);
        Ok(Elements::Numbers(bytes.chunks_exact(size).map(number).collect()))
    }

    /// As bytes, little end first.
    pub fn to_bytes(&self, kind: DataType) -> Vec<u8> {
        match self {
            Elements::Bytes(all) => all
                .iter()
                .flat_map(|one| (one.len() as u32).to_le_bytes().into_iter().chain(one.iter().copied()))
                .collect(),
            Elements::Numbers(numbers) if kind == DataType::Fp64 => {
                numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
            }
            Elements::Numbers(numbers) => {
                numbers.iter().flat_map(|number| (*number as f32).to_le_bytes()).collect()
            }
        }
    }
}

fn flatten_texts(data: &Json, into: &mut Vec<Vec<u8>>) -> Result<(), Refusal> {
    match data {
        Json::Text(text) => into.push(text.as_bytes().to_vec()),
        Json::List(list) => return list.iter().try_for_each(|value| flatten_texts(value, into)),
        Json::Null | Json::Truth(_) | Json::Number(_) | Json::Numbers(_) | Json::Object(_) => {
            return Err(Refusal::bad("the data of BYTES are texts, and something else is among them"));
        }
    }
    Ok(())
}

fn lengths_first(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let cut = || {
            Refusal::bad("BYTES end in the midst of an element; each has its length in four bytes before it")
        };
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let one = rest.get(..length).ok_or_else(cut)?;
        all.push(one.to_vec());
        bytes = &rest[length..];
    }
    Ok(all)
}

/// A number of a type that has as many bytes.
fn number(kind: DataType, bytes: &[u8]) -> f64 {
    fn of<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().unwrap_or([0; N])
    }
    match kind {
        DataType::Bool => f64::from(u8::from(bytes != [0])),
        DataType::Uint8 => u8::from_le_bytes(of(bytes)).into(),
        DataType::Uint16 => u16::from_le_bytes(of(bytes)).into(),
        DataType::Uint32 => u32::from_le_bytes(of(bytes)).into(),
        DataType::Uint64 => u64::from_le_bytes(of(bytes)) as f64,
        DataType::Int8 => i8::from_le_bytes(of(bytes)).into(),
        DataType::Int16 => i16::from_le_bytes(of(bytes)).into(),
        DataType::Int32 => i32::from_le_bytes(of(bytes)).into(),
        DataType::Int64 => i64::from_le_bytes(of(bytes)) as f64,
        DataType::Fp16 => half::f16::from_le_bytes(of(bytes)).into(),
        DataType::Fp32 => f32::from_le_bytes(of(bytes)).into(),
        DataType::Fp64 => f64::from_le_bytes(of(bytes)),
        DataType::Bytes => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_from_its_bytes() {
        let read = |name: &str, bytes: &[u8]| Elements::of_bytes(DataType::named(name).unwrap(), bytes);
        for (name, bytes, wanted) in [
            ("BOOL", &[0u8, 1][..], &[0.0, 1.0][..]),
            ("UINT8", &[255], &[255.0]),
            ("INT8", &[255], &[-1.0]),
            ("UINT16", &[1, 2], &[513.0]),
            ("INT16", &[254, 255], &[-2.0]),
            ("UINT32", &[1, 0, 0, 128], &[2_147_483_649.0]),
            ("INT32", &[0, 0, 0, 128], &[-2_147_483_648.0]),
            ("UINT64", &[0, 0, 0, 0, 1, 0, 0, 0], &[4_294_967_296.0]),
            ("INT64", &[255; 8], &[-1.0]),
            ("FP16", &[0, 0x3c], &[1.0]),
            ("FP32", &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40], &[1.0, 2.0]),
            ("FP64", &[0, 0, 0, 0, 0, 0, 0xf0, 0xbf], &[-1.0]),
        ] {
            assert_eq!(read(name, bytes).unwrap(), Elements::Numbers(wanted.to_vec()), "{name}");
            assert_eq!(read(name, &[]).unwrap().len(), 0);
            if bytes.len() > 1 && DataType::named(name).unwrap().size() > 1 {
                assert!(read(name, &bytes[1..]).is_err(), "{name}");
            }
        }
        let texts = Elements::Bytes(vec![b"ab".to_vec(), vec![], b"c".to_vec()]);
        let bytes = texts.to_bytes(DataType::Bytes);
        assert_eq!(read("BYTES", &bytes).unwrap(), texts);
        for end in 1..bytes.len() {
            // Cut between elements it is a shorter list.
            let _ = read("BYTES", &bytes[..end]);
        }
        assert!(read("BYTES", &[255, 255, 255, 255, 1]).is_err() && DataType::named("FP8").is_err());
    }
}
