//! The JSON form of tensors, which models and files of weights share: an object with `tensors`, and perhaps `about` and `checksum`.

use std::fmt;
use std::marker::PhantomData;

use kiln_map::{Budget, shown};
use kiln_nn::{DType, Data, Scalar};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use super::{HostTensor, TensorFile, elements};

/// The members of an object in their order, also those that come twice.
pub(crate) struct Members<T>(pub Vec<(String, T)>);

impl<T> Default for Members<T> {
    fn default() -> Self {
        Members(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for MembersVisitor<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Members(pairs))
            }
        }
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

#[derive(serde::Deserialize)]
struct File {
    #[serde(default)]
    about: Map<String, Value>,
    checksum: Option<String>,
    tensors: Members<Value>,
}

/// Tensors as JSON that people can read.
pub(crate) fn write(store: &TensorFile, checksum: &str) -> String {
    let tensors: Map<String, Value> =
        store.tensors.iter().map(|(name, stored)| (name.clone(), to_json(stored))).collect();
    format!("{:#}\n", json!({ "about": store.about, "checksum": checksum, "tensors": tensors }))
}

/// What [`write`] wrote, and the checksum, if it is still there.
pub(crate) fn read(bytes: &[u8]) -> Result<(TensorFile, Option<String>), String> {
    Budget::default().bytes(weigh(bytes)).map_err(|exceeded| exceeded.to_string())?;
    let File { about, checksum, tensors } =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut store = TensorFile { about, ..TensorFile::default() };
    for (name, value) in tensors.0 {
        let stored = from_json(&value).ok_or_else(|| format!("{} can't be read", shown(&name)))?;
        if store.tensors.insert(name.clone(), stored).is_some() {
            return Err(format!("two tensors are named {}", shown(&name)));
        }
    }
    Ok((store, checksum))
}

/// The bytes of memory that JSON takes at most when it is read: a list of nothing is three bytes in a file, and 32 here.
pub(crate) fn weigh(bytes: &[u8]) -> u64 {
    let weight = |byte: &u8| match byte {
        // Where the first pair goes there is room for eleven.
        b'{' => 700,
        b'[' => 128,
        b',' => 64,
        b':' => 96,
        _ => 1,
    };
    bytes.iter().map(weight).sum()
}

/// Type, shape, and numbers; those JSON has no word for as texts.
fn to_json(stored: &HostTensor) -> Value {
    let number = |scalar: Scalar| match stored.data.dtype().is_float() {
        true => match scalar.as_f64() {
            number if number.is_finite() => Value::from(number),
            other => Value::from(other.to_string()),
        },
        false => Value::from(scalar.as_i64()),
    };
    let numbers: Vec<Value> = stored.data.scalars().into_iter().map(number).collect();
    json!({ "dtype": stored.data.dtype().to_string(), "shape": stored.shape, "data": numbers })
}

/// What [`to_json`] wrote.
fn from_json(value: &Value) -> Option<HostTensor> {
    let name = value.get("dtype")?.as_str()?;
    let dtype = DType::ALL.into_iter().find(|dtype| dtype.name() == name)?;
    let shape: Vec<usize> = value
        .get("shape")?
        .as_array()?
        .iter()
        .map(|size| usize::try_from(size.as_u64()?).ok())
        .collect::<Option<_>>()?;
    let numbers = value.get("data")?.as_array()?;
    if elements(&shape) != Some(numbers.len()) {
        return None;
    }
    let data = if dtype.is_float() {
        let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
        Data::F64(numbers.iter().map(number).collect::<Option<_>>()?).cast(dtype)
    } else {
        let number = |value: &Value| value.as_i64().or_else(|| value.as_bool().map(i64::from));
        let written = Data::I64(numbers.iter().map(number).collect::<Option<_>>()?);
        let data = written.cast(dtype);
        // One that the type doesn't hold would become another.
        if data.cast(DType::I64) != written {
            return None;
        }
        data
    };
    Some(HostTensor { shape, data })
}
