//! Python's pickles, as far as files of tensors need them. A pickle is a program for a small stack machine, which can import and
//! call anything; here it only builds a tree. A name is two texts and a call a node of the tree, whatever is called: nothing is ever
//! imported or executed, and what a caller doesn't know lies in the tree as it is.

use std::collections::HashMap;

use super::Read;

/// A place in [`Pickle::values`]. Parts are named by place, so that a pickle that holds itself is no trouble.
pub(super) type Id = usize;

/// What a pickle builds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PickleValue<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// Bytes, and whole numbers beyond `i64`.
    Other,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name of a module's.
    Global(&'a str, &'a str),
    /// A call that isn't made, and the members that what it returns was given.
    Call {
        function: (&'a str, &'a str),
        arguments: Id,
        members: Vec<(Id, Id)>,
    },
    /// What lies outside of the pickle.
    Persistent(Id),
}

/// All that a pickle built, and what it ends with.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub values: Vec<PickleValue<'a>>,
    pub root: Id,
    /// How many bytes it took.
    pub size: usize,
}

/// Reads the pickle that bytes begin with.
pub(super) fn read(bytes: &[u8]) -> Read<Pickle<'_>> {
    let mut machine = Machine {
        bytes,
        at: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        let at = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => return Ok(Pickle { values: machine.values, root, size: machine.at }),
            Err(error) => return Err(format!("{error} (byte {at} of the pickle)")),
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<PickleValue<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack that were marked.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// Does one operation; the last one gives what was built.
    fn step(&mut self) -> Read<Option<Id>> {
        let [operation] = self.take_array()?;
        match operation {
            // The version, and how many bytes follow, which says nothing new.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }

            b'N' => self.push(PickleValue::None),
            0x88 => self.push(PickleValue::Bool(true)),
            0x89 => self.push(PickleValue::Bool(false)),
            b'K' => {
                let [byte] = self.take_array()?;
                self.push(PickleValue::Int(byte.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.take_array()?);
                self.push(PickleValue::Int(number.into()));
            }
            b'J' => {
                let number = i32::from_le_bytes(self.take_array()?);
                self.push(PickleValue::Int(number.into()));
            }
            0x8a => {
                let size = self.size::<1>()?;
                self.long(size)?;
            }
            0x8b => {
                let size = self.size::<4>()?;
                self.long(size)?;
            }
            b'G' => {
                let number = f64::from_be_bytes(self.take_array()?);
                self.push(PickleValue::Float(number));
            }
            0x8c => self.text::<1>()?,
            b'X' => self.text::<4>()?,
            0x8d => self.text::<8>()?,
            b'C' | b'U' => self.skip::<1>()?,
            b'B' | b'T' => self.skip::<4>()?,
            0x8e | 0x96 => self.skip::<8>()?,
            // Sets hold no tensors that have names.
            0x8f => self.push(PickleValue::Other),
            0x90 => drop(self.pop_mark()?),
            0x91 => {
                self.pop_mark()?;
                self.push(PickleValue::Other);
            }

            b']' => self.push(PickleValue::List(Vec::new())),
            b'}' => self.push(PickleValue::Dict(Vec::new())),
            b')' => self.push(PickleValue::Tuple(Vec::new())),
            b'l' => {
                let items = self.pop_mark()?;
                self.push(PickleValue::List(items));
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(PickleValue::Tuple(items));
            }
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x85..=operation {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(PickleValue::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(items)?;
            }

            b'q' => {
                let at = self.size::<1>()?;
                self.remember(at as u32)?;
            }
            b'r' => {
                let at = self.size::<4>()?;
                self.remember(at as u32)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let at = self.size::<1>()?;
                self.recall(at as u32)?;
            }
            b'j' => {
                let at = self.size::<4>()?;
                self.recall(at as u32)?;
            }

            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(PickleValue::Global(module, name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (PickleValue::Text(module), PickleValue::Text(name)) =
                    (&self.values[module], &self.values[name])
                else {
                    return Err("a name is no text".to_string());
                };
                let name = PickleValue::Global(module, name);
                self.push(name);
            }
            // A call, and a new object of a class: with a tuple, and also with names.
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments);
            }
            0x92 => {
                let (_, arguments, function) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(function, arguments);
            }
            // What an object is given besides: notes on versions, hooks. Nothing of it is numbers.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                self.push(PickleValue::Persistent(id));
            }
            other => {
                return Err(format!("operation {other:#04x} isn't one that files of tensors need"));
            }
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("it is cut off")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn take_array<const COUNT: usize>(&mut self) -> Read<[u8; COUNT]> {
        let mut array = [0; COUNT];
        array.copy_from_slice(self.take(COUNT)?);
        Ok(array)
    }

    fn size<const BYTES: usize>(&mut self) -> Read<usize> {
        let bytes = self.take(BYTES)?;
        let number = bytes.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        usize::try_from(number).map_err(|_| "it is cut off".to_string())
    }

    fn line(&mut self) -> Read<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().take(1 << 10).position(|&byte| byte == b'\n').ok_or("a name has no end")?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| "a name is no text".to_string())
    }

    fn push(&mut self, value: PickleValue<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Read<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = if self.stack.len() > floor { self.stack.pop() } else { None };
        top.ok_or_else(|| "it takes more than it has".to_string())
    }

    fn top(&mut self) -> Read<Id> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(top)
    }

    /// What lies above the last mark.
    fn pop_mark(&mut self) -> Read<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn text<const BYTES: usize>(&mut self) -> Read<()> {
        let size = self.size::<BYTES>()?;
        let text = std::str::from_utf8(self.take(size)?).map_err(|_| "a text isn't UTF-8")?;
        self.push(PickleValue::Text(text));
        Ok(())
    }

    fn skip<const BYTES: usize>(&mut self) -> Read<()> {
        let size = self.size::<BYTES>()?;
        self.take(size)?;
        self.push(PickleValue::Other);
        Ok(())
    }

    fn long(&mut self, size: usize) -> Read<()> {
        let bytes = self.take(size)?;
        let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut number = if is_negative { [0xff; 8] } else { [0; 8] };
        self.push(match number.get_mut(..size) {
            Some(low) => {
                low.copy_from_slice(bytes);
                PickleValue::Int(i64::from_le_bytes(number))
            }
            None => PickleValue::Other,
        });
        Ok(())
    }

    fn call(&mut self, function: Id, arguments: Id) {
        // What is called may itself be the result of a call.
        let value = match self.values[function] {
            PickleValue::Global(module, name) => {
                PickleValue::Call { function: (module, name), arguments, members: Vec::new() }
            }
            _ => PickleValue::Other,
        };
        self.push(value);
    }

    fn append(&mut self, new: Vec<Id>) -> Read<()> {
        let list = self.top()?;
        match &mut self.values[list] {
            PickleValue::List(items) => items.extend(new),
            // An object that is also a list.
            PickleValue::Call { .. } | PickleValue::Other => {}
            _ => return Err("it adds to no list".to_string()),
        }
        Ok(())
    }

    fn set(&mut self, new: Vec<Id>) -> Read<()> {
        let dict = self.top()?;
        let members = match &mut self.values[dict] {
            PickleValue::Dict(members) | PickleValue::Call { members, .. } => members,
            PickleValue::Other => return Ok(()),
            _ => return Err("it adds to no dictionary".to_string()),
        };
        let (pairs, rest) = new.as_chunks();
        if !rest.is_empty() {
            return Err("a key has no value".to_string());
        }
        members.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn remember(&mut self, at: u32) -> Read<()> {
        let top = self.top()?;
        self.memo.insert(at, top);
        Ok(())
    }

    fn recall(&mut self, at: u32) -> Read<()> {
        let id = *self.memo.get(&at).ok_or("it recalls what it didn't remember")?;
        self.stack.push(id);
        Ok(())
    }
}
