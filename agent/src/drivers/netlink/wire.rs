//! Messages and attributes as bytes. Pure; arbitrary input gives an error, never a panic.

/// Bytes that are no well-formed netlink message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed netlink message: {0}")]
pub struct Malformed(pub(crate) &'static str);

const HEADER: usize = 16;
const NESTED: u16 = 0x8000;
/// Attribute types are fourteen bits; the other two are flags.
const TYPE_MASK: u16 = 0x3fff;

/// A message that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// What it is.
    pub(crate) kind: u16,
    /// `NLM_F_*`.
    pub(crate) flags: u16,
    /// The number of the request that it answers.
    pub(crate) seq: u32,
    /// What follows the header.
    pub(crate) body: &'a [u8],
}

/// The messages of one datagram.
pub(crate) fn messages(mut bytes: &[u8]) -> Result<Vec<Message<'_>>, Malformed> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let header = bytes.first_chunk::<HEADER>().ok_or(Malformed("short header"))?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let body = bytes.get(HEADER..length).ok_or(Malformed("length beyond the datagram"))?;
        found.push(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            seq: u32::from_ne_bytes([s0, s1, s2, s3]),
            body,
        });
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(found)
}

/// The attributes of a message or of another attribute: type and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> Result<Vec<(u16, &[u8])>, Malformed> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let [l0, l1, t0, t1] = *bytes.first_chunk::<4>().ok_or(Malformed("short attribute"))?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = bytes.get(4..length).ok_or(Malformed("attribute length"))?;
        found.push((u16::from_ne_bytes([t0, t1]) & TYPE_MASK, value));
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(found)
}

/// The first attribute of a type.
pub(crate) fn first<'a>(attributes: &[(u16, &'a [u8])], kind: u16) -> Option<&'a [u8]> {
    attributes.iter().find(|(k, _)| *k == kind).map(|(_, value)| *value)
}

/// A number in network order.
pub(crate) fn be32(value: &[u8]) -> Result<u32, Malformed> {
    value.try_into().map(u32::from_be_bytes).map_err(|_| Malformed("not a 32-bit number"))
}

/// A number in network order.
pub(crate) fn be64(value: &[u8]) -> Result<u64, Malformed> {
    value.try_into().map(u64::from_be_bytes).map_err(|_| Malformed("not a 64-bit number"))
}

/// A number in the machine's order.
pub(crate) fn ne32(value: &[u8]) -> Result<u32, Malformed> {
    value.try_into().map(u32::from_ne_bytes).map_err(|_| Malformed("not a 32-bit number"))
}

/// A number in the machine's order.
pub(crate) fn ne16(value: &[u8]) -> Result<u16, Malformed> {
    value.try_into().map(u16::from_ne_bytes).map_err(|_| Malformed("not a 16-bit number"))
}

/// A text that ends with a zero byte, or with the attribute.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

/// Builds messages, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// Where the last message begins.
    last: usize,
}

impl Writer {
    /// The bytes so far.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends one message; `body` writes what follows its header.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, seq: u32, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.last = start;
        self.raw(&[0; 4]);
        self.raw(&kind.to_ne_bytes());
        self.raw(&flags.to_ne_bytes());
        self.raw(&seq.to_ne_bytes());
        self.raw(&[0; 4]);
        body(self);
        // A message longer than 4 GiB cannot be sent anyway, and the kernel refuses a wrong length.
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(0);
        if let Some(slot) = self.bytes.get_mut(start..start + 4) {
            slot.copy_from_slice(&length.to_ne_bytes());
        }
        self.pad();
    }

    /// Sets further flags in the header of the last message.
    pub(crate) fn add_flags_to_last(&mut self, flags: u16) {
        if let Some([low, high]) = self.bytes.get_mut(self.last + 6..self.last + 8) {
            [*low, *high] = (u16::from_ne_bytes([*low, *high]) | flags).to_ne_bytes();
        }
    }

    /// Appends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends an attribute.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.raw(value);
        self.close(start);
    }

    /// Appends an attribute that holds a number in network order.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Appends an attribute that holds a number in network order.
    pub(crate) fn be64(&mut self, kind: u16, value: u64) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Appends an attribute that holds a text and its final zero byte.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.raw(value.as_bytes());
        self.raw(&[0]);
        self.close(start);
    }

    /// Appends an attribute that holds attributes.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NESTED);
        body(self);
        self.close(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.raw(&[0; 2]);
        self.raw(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        // Callers keep lists short enough; a length of zero makes the kernel refuse the message.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(0);
        if let Some(slot) = self.bytes.get_mut(start..start + 2) {
            slot.copy_from_slice(&length.to_ne_bytes());
        }
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let mut writer = Writer::default();
        writer.message(7, 5, 42, |w| {
            w.text(1, "digue");
            w.nest(2, |w| w.be32(3, 0x0102_0304));
        });
        writer.message(8, 0, 43, |w| w.be64(1, u64::MAX));
        let bytes = writer.into_bytes();
        let found = messages(&bytes).expect("messages");
        assert_eq!(
            found.iter().map(|m| (m.kind, m.flags, m.seq)).collect::<Vec<_>>(),
            [(7, 5, 42), (8, 0, 43)]
        );
        let outer = attributes(found[0].body).expect("attributes");
        assert_eq!(text(first(&outer, 1).expect("text")), "digue");
        let inner = attributes(first(&outer, 2).expect("nest")).expect("attributes");
        assert_eq!(be32(inner[0].1), Ok(0x0102_0304));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            _ = messages(&bytes);
            _ = attributes(&bytes);
        }
    }
}
