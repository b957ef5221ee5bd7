//! The types of numbers that files of weights hold, each with its names in the formats, and how they become kiln's own.

use half::f16;
use kiln_nn::{DType, Data};

use super::Read;

/// The type of a tensor's numbers in a file. There are more of them than kiln computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ElementType {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    /// Four bits of exponent and no infinity (`float8_e4m3fn`).
    F8E4M3,
    F8E5M2,
    F16,
    Bf16,
    F32,
    F64,
}

/// One type: its bytes, kiln's narrowest type that holds it, and its names; an empty one where a format doesn't have it.
struct ElementInfo {
    element: ElementType,
    size: usize,
    dtype: DType,
    name: &'static str,
    safetensors: &'static str,
    npy: &'static str,
    torch_storage: &'static str,
    torch_dtype: &'static str,
}

macro_rules! table {
    ($($element:ident $size:literal $dtype:ident $($names:literal)*;)*) => {
        [$(ElementInfo::new(ElementType::$element, $size, DType::$dtype, [$($names),*])),*]
    };
}

/// In the order of the variants.
#[rustfmt::skip]
const TABLE: [ElementInfo; 15] = table! {
    Bool   1 Bool "bool"   "BOOL"    "b1" "BoolStorage"     "bool";
    U8     1 U8   "u8"     "U8"      "u1" "ByteStorage"     "uint8";
    I8     1 I32  "i8"     "I8"      "i1" "CharStorage"     "int8";
    U16    2 U16  "u16"    "U16"     "u2" ""                "uint16";
    I16    2 I32  "i16"    "I16"     "i2" "ShortStorage"    "int16";
    U32    4 I64  "u32"    "U32"     "u4" ""                "uint32";
    I32    4 I32  "i32"    "I32"     "i4" "IntStorage"      "int32";
    U64    8 I64  "u64"    "U64"     "u8" ""                "uint64";
    I64    8 I64  "i64"    "I64"     "i8" "LongStorage"     "int64";
    F8E4M3 1 F32  "f8e4m3" "F8_E4M3" ""   ""                "float8_e4m3fn";
    F8E5M2 1 F32  "f8e5m2" "F8_E5M2" ""   ""                "float8_e5m2";
    F16    2 F16  "f16"    "F16"     "f2" "HalfStorage"     "float16";
    Bf16   2 Bf16 "bf16"   "BF16"    ""   "BFloat16Storage" "bfloat16";
    F32    4 F32  "f32"    "F32"     "f4" "FloatStorage"    "float32";
    F64    8 F64  "f64"    "F64"     "f8" "DoubleStorage"   "float64";
};

impl ElementInfo {
    const fn new(element: ElementType, size: usize, dtype: DType, names: [&'static str; 5]) -> ElementInfo {
        let [name, safetensors, npy, torch_storage, torch_dtype] = names;
        ElementInfo { element, size, dtype, name, safetensors, npy, torch_storage, torch_dtype }
    }
}

impl ElementType {
    fn row(self) -> &'static ElementInfo {
        &TABLE[self as usize]
    }

    fn find(name: &str, of: impl Fn(&ElementInfo) -> &'static str) -> Option<ElementType> {
        TABLE.iter().find(|row| !name.is_empty() && of(row) == name).map(|row| row.element)
    }

    /// The type of kiln's own numbers.
    pub fn of(dtype: DType) -> ElementType {
        ElementType::find(dtype.name(), |row| row.name).unwrap_or(ElementType::F32)
    }

    /// How many bytes a number takes.
    pub fn size(self) -> usize {
        self.row().size
    }

    /// The narrowest of kiln's types that holds all its numbers; for `u64` those that aren't beyond `i64`.
    pub fn dtype(self) -> DType {
        self.row().dtype
    }

    /// Its name: `f32`, `i8`, `f8e4m3`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub(super) fn from_safetensors(name: &str) -> Option<ElementType> {
        ElementType::find(name, |row| row.safetensors)
    }

    pub(super) fn from_npy(code: &str) -> Option<ElementType> {
        ElementType::find(code, |row| row.npy)
    }

    /// Its code in npy files; `None` for those that NumPy hasn't.
    pub(super) fn npy(self) -> Option<&'static str> {
        Some(self.row().npy).filter(|code| !code.is_empty())
    }

    pub(super) fn from_torch_storage(class: &str) -> Option<ElementType> {
        ElementType::find(class, |row| row.torch_storage)
    }

    pub(super) fn from_torch_dtype(name: &str) -> Option<ElementType> {
        ElementType::find(name, |row| row.torch_dtype)
    }

    /// Numbers of this type, little-endian, as kiln's own.
    pub(super) fn decode(self, bytes: &[u8]) -> Read<Data> {
        Ok(match self {
            ElementType::I8 => Data::I32(bytes.iter().map(|&byte| i32::from(byte as i8)).collect()),
            ElementType::I16 => {
                let numbers = bytes.as_chunks().0.iter();
                Data::I32(numbers.map(|&bytes| i32::from(i16::from_le_bytes(bytes))).collect())
            }
            ElementType::U32 => {
                let numbers = bytes.as_chunks().0.iter();
                Data::I64(numbers.map(|&bytes| i64::from(u32::from_le_bytes(bytes))).collect())
            }
            ElementType::U64 => {
                let numbers = bytes.as_chunks().0.iter().map(|&bytes| u64::from_le_bytes(bytes));
                let small = |number: u64| {
                    i64::try_from(number)
                        .map_err(|_| format!("it holds {number}, which is beyond i64, the widest kiln has"))
                };
                Data::I64(numbers.map(small).collect::<Read<_>>()?)
            }
            ElementType::F8E4M3 => Data::F32(bytes.iter().map(|&byte| from_e4m3(byte)).collect()),
            // The upper half of an f16.
            ElementType::F8E5M2 => {
                Data::F32(bytes.iter().map(|&byte| f16::from_bits(u16::from(byte) << 8).to_f32()).collect())
            }
            _ => Data::from_le_bytes(self.dtype(), bytes),
        })
    }
}

/// Sign, four bits of exponent (bias 7), three of mantissa; all ones are NaN.
fn from_e4m3(byte: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let magnitude = match (byte & 0x7f, exponent) {
        (0x7f, _) => f32::NAN,
        (_, 0) => mantissa * libm::ldexpf(1.0, -9),
        _ => (8.0 + mantissa) * libm::ldexpf(1.0, exponent - 10),
    };
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_variants() {
        for (at, row) in TABLE.iter().enumerate() {
            assert_eq!(row.element as usize, at, "{}", row.name);
        }
        for dtype in DType::ALL {
            assert_eq!(ElementType::of(dtype).dtype(), dtype);
        }
    }

    #[test]
    fn types_that_kiln_lacks_become_the_narrowest_that_holds_them() {
        assert_eq!(ElementType::I8.decode(&[0xff, 5]), Ok(Data::I32(vec![-1, 5])));
        assert_eq!(ElementType::I16.decode(&[0xfe, 0xff]), Ok(Data::I32(vec![-2])));
        assert_eq!(ElementType::U32.decode(&[0xff; 4]), Ok(Data::I64(vec![4_294_967_295])));
        assert_eq!(ElementType::U64.decode(&7u64.to_le_bytes()), Ok(Data::I64(vec![7])));
        assert!(ElementType::U64.decode(&[0xff; 8]).unwrap_err().contains("18446744073709551615"));
        // As PyTorch converts them: 1, 448 (the largest), 2^-9 (the least), -0.
        let small = ElementType::F8E4M3.decode(&[0x38, 0x7e, 0x01, 0x80]);
        assert_eq!(small, Ok(Data::F32(vec![1.0, 448.0, 0.001_953_125, -0.0])));
        assert_eq!(ElementType::F8E5M2.decode(&[0x3c, 0xfb]), Ok(Data::F32(vec![1.0, -57344.0])));
    }
}
