//! Reads Thrift's compact protocol, as far as the sizes in footers and page headers have to be checked before the
//! `parquet` crate, or a buffer, relies on them.

/// How deep values may nest. Real footers nest six deep.
const DEPTH_LIMIT: u8 = 32;

/// The type of a value, as the protocol numbers it.
type Type = u8;

const TRUE: Type = 1;
const FALSE: Type = 2;
const BYTE: Type = 3;
const INTEGERS: std::ops::RangeInclusive<Type> = 4..=6;
const DOUBLE: Type = 7;
const BINARY: Type = 8;
const LIST: Type = 9;
const SET: Type = 10;
const MAP: Type = 11;
pub(super) const STRUCT: Type = 12;
const UUID: Type = 13;

/// Why bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end within a value.
    Ends,
    /// The bytes are not of the protocol.
    Invalid,
}

type Result<T> = std::result::Result<T, Fault>;

/// Reads values from bytes.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// A field of a struct.
pub(super) struct Field {
    pub(super) id: i16,
    pub(super) value_type: Type,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Number of bytes read.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self.bytes.get(self.position).ok_or(Fault::Ends)?;
        self.position += 1;
        Ok(byte)
    }

    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::Invalid)
    }

    /// An integer with a sign.
    pub(super) fn integer(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The header of the next field of a struct whose `last` field had that id; `None` at the end of the struct.
    fn field(&mut self, last: i16) -> Result<Option<Field>> {
        let header = self.byte()?;
        if header == 0 {
            return Ok(None);
        }
        let id = match header >> 4 {
            0 => i16::try_from(self.integer()?).map_err(|_| Fault::Invalid)?,
            delta => last.checked_add(i16::from(delta)).ok_or(Fault::Invalid)?,
        };
        Ok(Some(Field { id, value_type: header & 0xf }))
    }

    /// Calls `read` for each field of a struct. It returns `false` if it has not read the value, which is then skipped.
    pub(super) fn fields(&mut self, mut read: impl FnMut(&mut Self, &Field) -> Result<bool>) -> Result<()> {
        let mut last = 0;
        while let Some(field) = self.field(last)? {
            last = field.id;
            if !read(self, &field)? {
                self.skip(field.value_type, DEPTH_LIMIT)?;
            }
        }
        Ok(())
    }

    /// The type and number of the values of a list.
    pub(super) fn list(&mut self) -> Result<(Type, usize)> {
        let header = self.byte()?;
        let length = match header >> 4 {
            15 => usize::try_from(self.varint()?).map_err(|_| Fault::Invalid)?,
            short => usize::from(short),
        };
        // every value takes a byte at least
        if length > self.bytes.len() - self.position {
            return Err(Fault::Ends);
        }
        Ok((header & 0xf, length))
    }

    fn skip_bytes(&mut self, count: usize) -> Result<()> {
        if count > self.bytes.len() - self.position {
            return Err(Fault::Ends);
        }
        self.position += count;
        Ok(())
    }

    fn skip(&mut self, value_type: Type, depth: u8) -> Result<()> {
        let Some(depth) = depth.checked_sub(1) else { return Err(Fault::Invalid) };
        match value_type {
            // of a field, the type is the value
            TRUE | FALSE => Ok(()),
            BYTE => self.skip_bytes(1),
            DOUBLE => self.skip_bytes(8),
            UUID => self.skip_bytes(16),
            BINARY => {
                let length = usize::try_from(self.varint()?).map_err(|_| Fault::Invalid)?;
                self.skip_bytes(length)
            }
            LIST | SET => {
                let (item, length) = self.list()?;
                (0..length).try_for_each(|_| self.skip_item(item, depth))
            }
            MAP => {
                let length = usize::try_from(self.varint()?).map_err(|_| Fault::Invalid)?;
                if length == 0 {
                    return Ok(());
                }
                let types = self.byte()?;
                (0..length).try_for_each(|_| {
                    self.skip_item(types >> 4, depth)?;
                    self.skip_item(types & 0xf, depth)
                })
            }
            STRUCT => {
                let mut last = 0;
                while let Some(field) = self.field(last)? {
                    last = field.id;
                    self.skip(field.value_type, depth)?;
                }
                Ok(())
            }
            integer if INTEGERS.contains(&integer) => self.varint().map(drop),
            _ => Err(Fault::Invalid),
        }
    }

    /// Skips an item of a list or map, where a truth value takes a byte.
    fn skip_item(&mut self, item: Type, depth: u8) -> Result<()> {
        match item {
            TRUE | FALSE => self.skip_bytes(1),
            other => self.skip(other, depth),
        }
    }
}

impl Field {
    /// Whether the field is an integer.
    pub(super) fn is_integer(&self) -> bool {
        INTEGERS.contains(&self.value_type)
    }

    /// The truth value of the field, if it is one.
    pub(super) fn truth(&self) -> Option<bool> {
        match self.value_type {
            TRUE => Some(true),
            FALSE => Some(false),
            _ => None,
        }
    }
}
