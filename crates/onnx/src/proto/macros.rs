//! The forms of the table of messages.

/// Structs of messages. A field is its name, type and number, or the numbers of a [`choice`].
macro_rules! messages {
    ($($message:ident { $($(#[$packed:ident])? $field:ident: $type:ty = $first:literal $(| $other:literal)*,)* })*) => {$(
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $message {
            $(pub $field: $type,)*
        }

        impl $message {
            $(
                pub fn $field(&self) -> <$type as $crate::proto::wire::FieldValue>::Seen<'_> {
                    $crate::proto::wire::FieldValue::seen(&self.$field)
                }
            )*
        }

        impl $crate::proto::wire::Message for $message {
            fn read_field(
                &mut self,
                field: $crate::proto::wire::Field,
                reader: &mut $crate::proto::wire::Reader,
            ) -> Result<(), $crate::proto::wire::Damaged> {
                match field.number {
                    $($first $(| $other)* => $crate::proto::wire::FieldValue::read(&mut self.$field, field, reader),)*
                    _ => reader.skip(field.kind),
                }
            }

            fn size(&self) -> usize {
                0 $(+ $crate::proto::wire::FieldValue::size(&self.$field, $first, !stringify!($($packed)?).is_empty()))*
            }

            fn write(&self, to: &mut Vec<u8>) {
                $($crate::proto::wire::FieldValue::write(&self.$field, $first, !stringify!($($packed)?).is_empty(), to);)*
            }
        }
    )*};
}
pub(super) use messages;

/// One of several types, each with its number. The last that a message has counts.
macro_rules! choice {
    ($choice:ident { $($name:ident($type:ty) = $number:literal,)* }) => {
        #[derive(Clone, Debug, PartialEq)]
        pub enum $choice {
            $($name($type),)*
        }

        impl $crate::proto::wire::FieldValue for Option<$choice> {
            type Seen<'a> = Option<&'a $choice>;

            fn read(
                &mut self,
                field: $crate::proto::wire::Field,
                reader: &mut $crate::proto::wire::Reader,
            ) -> Result<(), $crate::proto::wire::Damaged> {
                match field.number {
                    $($number => {
                        let mut value = match self.take() {
                            Some($choice::$name(value)) => Some(value),
                            _ => None,
                        };
                        $crate::proto::wire::FieldValue::read(&mut value, field, reader)?;
                        *self = value.map($choice::$name);
                        Ok(())
                    })*
                    _ => reader.skip(field.kind),
                }
            }

            fn size(&self, _: u32, _: bool) -> usize {
                match self {
                    $(Some($choice::$name(value)) => $crate::proto::wire::one_size($number, value),)*
                    None => 0,
                }
            }

            fn write(&self, _: u32, _: bool, to: &mut Vec<u8>) {
                match self {
                    $(Some($choice::$name(value)) => $crate::proto::wire::write_one($number, value, to),)*
                    None => {}
                }
            }

            fn seen(&self) -> Option<&$choice> {
                self.as_ref()
            }
        }
    };
}
pub(super) use choice;

/// Names of numbers.
macro_rules! numbers {
    ($name:ident { $($word:ident = $number:literal,)* }) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        pub enum $name {
            $($word = $number,)*
        }
    };
}
pub(super) use numbers;
