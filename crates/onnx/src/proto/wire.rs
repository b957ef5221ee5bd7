//! Messages of protobuf as bytes: each field is its number and kind, and then its value; fields that aren't known are skipped. Bytes of
//! a file aren't copied.

use bytes::Bytes;

/// How deep messages may stand in each other.
const DEEPEST: usize = 100;

/// The kinds of values: of as many bytes as a number needs, of 8, of as many as it says, and of 4.
const VARINT: u8 = 0;
const EIGHT: u8 = 1;
const SIZED: u8 = 2;
const FOUR: u8 = 5;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no message can be read: {0}")]
pub struct Damaged(&'static str);

type Result<T> = std::result::Result<T, Damaged>;

/// A message: fields by number.
pub trait Message: Default {
    /// Takes over the value of a field, if the message has it.
    ///
    /// # Errors
    /// Where it isn't of the field's type.
    fn read_field(&mut self, field: Field, reader: &mut Reader) -> Result<()>;

    /// How many bytes it takes.
    fn size(&self) -> usize;

    /// Writes it.
    fn write(&self, to: &mut Vec<u8>);

    /// Reads one. What is bytes in it shares the memory of these.
    ///
    /// # Errors
    /// Where they are cut off, or no message of this type.
    fn decode(bytes: impl Into<Bytes>) -> Result<Self> {
        let bytes = bytes.into();
        let mut message = Self::default();
        Reader { bytes: &bytes, at: 0, end: bytes.len(), depth: 0 }.message(&mut message)?;
        Ok(message)
    }

    /// Its bytes.
    fn encode_to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size());
        self.write(&mut bytes);
        bytes
    }
}

impl<M: Message> Message for Box<M> {
    fn read_field(&mut self, field: Field, reader: &mut Reader) -> Result<()> {
        (**self).read_field(field, reader)
    }

    fn size(&self) -> usize {
        (**self).size()
    }

    fn write(&self, to: &mut Vec<u8>) {
        (**self).write(to);
    }
}

/// What stands before a value.
#[derive(Clone, Copy)]
pub struct Field {
    pub number: u32,
    pub kind: u8,
}

impl Field {
    fn key(number: u32, kind: u8) -> u64 {
        u64::from(number << 3) | u64::from(kind)
    }
}

/// A place in bytes.
pub struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
    end: usize,
    depth: usize,
}

impl Reader<'_> {
    /// All fields that are left.
    fn message(&mut self, message: &mut impl Message) -> Result<()> {
        while self.at < self.end {
            let key = self.varint()?;
            let number = u32::try_from(key >> 3).ok().filter(|number| *number > 0);
            let number = number.ok_or(Damaged("a field's number makes no sense"))?;
            message.read_field(Field { number, kind: (key & 7) as u8 }, self)?;
        }
        Ok(())
    }

    /// What stands in the next bytes, of which it says how many they are.
    fn sized(&mut self) -> Result<Reader<'_>> {
        let size = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let at = self.advance(size)?;
        Ok(Reader { bytes: self.bytes, at, end: at + size, depth: self.depth })
    }

    fn inside(&mut self, message: &mut impl Message) -> Result<()> {
        let mut reader = self.sized()?;
        reader.depth += 1;
        match reader.depth > DEEPEST {
            true => Err(Damaged("messages stand too deep in each other")),
            false => reader.message(message),
        }
    }

    /// Goes on by so many bytes; gives where they are.
    fn advance(&mut self, count: usize) -> Result<usize> {
        let at = self.at;
        let end = at.checked_add(count).filter(|end| *end <= self.end);
        self.at = end.ok_or(Damaged("it ends in the middle of a value"))?;
        Ok(at)
    }

    fn array<const BYTES: usize>(&mut self) -> Result<[u8; BYTES]> {
        let at = self.advance(BYTES)?;
        let bytes = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or(Damaged("it ends in the middle of a value"))
    }

    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                return match shift == 63 && byte > 1 {
                    true => Err(Damaged("a number has more than 64 bits")),
                    false => Ok(number),
                };
            }
        }
        Err(Damaged("a number has more than 64 bits"))
    }

    /// Goes past a value that nobody knows.
    pub fn skip(&mut self, kind: u8) -> Result<()> {
        match kind {
            VARINT => self.varint().map(drop),
            EIGHT => self.advance(8).map(drop),
            SIZED => self.sized().map(drop),
            FOUR => self.advance(4).map(drop),
            _ => Err(Damaged("a value is of a kind that isn't known")),
        }
    }
}

/// What a field can hold.
pub trait WireValue: Default {
    const KIND: u8;
    /// What is seen of one that may be missing.
    type Seen<'a>
    where
        Self: 'a;

    fn read(&mut self, reader: &mut Reader) -> Result<()>;
    fn size(&self) -> usize;
    fn write(&self, to: &mut Vec<u8>);
    fn seen(value: Option<&Self>) -> Self::Seen<'_>;
}

impl<M: Message> WireValue for M {
    const KIND: u8 = SIZED;
    type Seen<'a>
        = Option<&'a M>
    where
        M: 'a;

    fn read(&mut self, reader: &mut Reader) -> Result<()> {
        reader.inside(self)
    }

    fn size(&self) -> usize {
        let size = Message::size(self);
        varint_size(size as u64) + size
    }

    fn write(&self, to: &mut Vec<u8>) {
        write_varint(Message::size(self) as u64, to);
        Message::write(self, to);
    }

    fn seen(value: Option<&M>) -> Option<&M> {
        value
    }
}

/// Numbers of as many bytes as they need; negative ones as their 64 bits.
macro_rules! varints {
    ($($type:ty)*) => {$(
        impl WireValue for $type {
            const KIND: u8 = VARINT;
            type Seen<'a> = $type;

            fn read(&mut self, reader: &mut Reader) -> Result<()> {
                *self = reader.varint()? as $type;
                Ok(())
            }

            fn size(&self) -> usize {
                varint_size(*self as i64 as u64)
            }

            fn write(&self, to: &mut Vec<u8>) {
                write_varint(*self as i64 as u64, to);
            }

            fn seen(value: Option<&$type>) -> $type {
                value.copied().unwrap_or_default()
            }
        }
    )*};
}
varints!(i32 i64 u64);

macro_rules! floats {
    ($($type:ty = $kind:ident;)*) => {$(
        impl WireValue for $type {
            const KIND: u8 = $kind;
            type Seen<'a> = $type;

            fn read(&mut self, reader: &mut Reader) -> Result<()> {
                *self = <$type>::from_le_bytes(reader.array()?);
                Ok(())
            }

            fn size(&self) -> usize {
                size_of::<$type>()
            }

            fn write(&self, to: &mut Vec<u8>) {
                to.extend(self.to_le_bytes());
            }

            fn seen(value: Option<&$type>) -> $type {
                value.copied().unwrap_or_default()
            }
        }
    )*};
}
floats! { f32 = FOUR; f64 = EIGHT; }

impl WireValue for Bytes {
    const KIND: u8 = SIZED;
    type Seen<'a> = &'a [u8];

    fn read(&mut self, reader: &mut Reader) -> Result<()> {
        let Reader { bytes, at, end, .. } = reader.sized()?;
        *self = bytes.slice(at..end);
        Ok(())
    }

    fn size(&self) -> usize {
        varint_size(self.len() as u64) + self.len()
    }

    fn write(&self, to: &mut Vec<u8>) {
        write_varint(self.len() as u64, to);
        to.extend_from_slice(self);
    }

    fn seen(value: Option<&Bytes>) -> &[u8] {
        value.map_or(&[], |bytes| bytes)
    }
}

impl WireValue for String {
    const KIND: u8 = SIZED;
    type Seen<'a> = &'a str;

    fn read(&mut self, reader: &mut Reader) -> Result<()> {
        let Reader { bytes, at, end, .. } = reader.sized()?;
        let text = std::str::from_utf8(bytes.get(at..end).unwrap_or_default());
        *self = text.map_err(|_| Damaged("a text isn't UTF-8"))?.to_string();
        Ok(())
    }

    fn size(&self) -> usize {
        varint_size(self.len() as u64) + self.len()
    }

    fn write(&self, to: &mut Vec<u8>) {
        write_varint(self.len() as u64, to);
        to.extend_from_slice(self.as_bytes());
    }

    fn seen(value: Option<&String>) -> &str {
        value.map_or("", String::as_str)
    }
}

fn varint_size(number: u64) -> usize {
    (64 - (number | 1).leading_zeros()).div_ceil(7) as usize
}

pub(super) fn write_varint(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// What a message has under a number: a value that may be missing, several, or one of several types.
pub trait FieldValue {
    type Seen<'a>
    where
        Self: 'a;

    fn read(&mut self, field: Field, reader: &mut Reader) -> Result<()>;
    /// Packed: the values of one field behind each other, without its number before each.
    fn size(&self, number: u32, packed: bool) -> usize;
    fn write(&self, number: u32, packed: bool, to: &mut Vec<u8>);
    fn seen(&self) -> Self::Seen<'_>;
}

fn expect(kind: u8, field: Field) -> Result<()> {
    match field.kind == kind {
        true => Ok(()),
        false => Err(Damaged("a value isn't of its field's type")),
    }
}

impl<V: WireValue> FieldValue for Option<V> {
    type Seen<'a>
        = V::Seen<'a>
    where
        V: 'a;

    fn read(&mut self, field: Field, reader: &mut Reader) -> Result<()> {
        expect(V::KIND, field)?;
        self.get_or_insert_default().read(reader)
    }

    fn size(&self, number: u32, _: bool) -> usize {
        self.as_ref().map_or(0, |value| varint_size(Field::key(number, V::KIND)) + value.size())
    }

    fn write(&self, number: u32, _: bool, to: &mut Vec<u8>) {
        if let Some(value) = self {
            write_varint(Field::key(number, V::KIND), to);
            value.write(to);
        }
    }

    fn seen(&self) -> V::Seen<'_> {
        V::seen(self.as_ref())
    }
}

impl<V: WireValue> FieldValue for Vec<V> {
    type Seen<'a>
        = &'a [V]
    where
        V: 'a;

    fn read(&mut self, field: Field, reader: &mut Reader) -> Result<()> {
        let mut add = |reader: &mut Reader| {
            let mut value = V::default();
            value.read(reader)?;
            self.push(value);
            Ok(())
        };
        if field.kind == SIZED && V::KIND != SIZED {
            let mut packed = reader.sized()?;
            while packed.at < packed.end {
                add(&mut packed)?;
            }
            return Ok(());
        }
        expect(V::KIND, field)?;
        add(reader)
    }

    fn size(&self, number: u32, packed: bool) -> usize {
        let values = self.iter().map(WireValue::size).sum::<usize>();
        match packed {
            _ if self.is_empty() => 0,
            true => varint_size(Field::key(number, SIZED)) + varint_size(values as u64) + values,
            false => self.len() * varint_size(Field::key(number, V::KIND)) + values,
        }
    }

    fn write(&self, number: u32, packed: bool, to: &mut Vec<u8>) {
        if packed && !self.is_empty() {
            write_varint(Field::key(number, SIZED), to);
            write_varint(self.iter().map(WireValue::size).sum::<usize>() as u64, to);
        }
        for value in self {
            if !packed {
                write_varint(Field::key(number, V::KIND), to);
            }
            value.write(to);
        }
    }

    fn seen(&self) -> &[V] {
        self
    }
}

pub(super) fn one_size<V: WireValue>(number: u32, value: &V) -> usize {
    varint_size(Field::key(number, V::KIND)) + value.size()
}

pub(super) fn write_one<V: WireValue>(number: u32, value: &V, to: &mut Vec<u8>) {
    write_varint(Field::key(number, V::KIND), to);
    value.write(to);
}
