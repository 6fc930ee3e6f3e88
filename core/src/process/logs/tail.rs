use std::collections::VecDeque;

/// The last bytes of a stream, in memory.
#[derive(Debug, Clone)]
pub struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
}

impl Default for Tail {
    /// 8 KiB, as an account of an exit carries.
    fn default() -> Tail {
        Tail::new(8 * 1024)
    }
}

impl Tail {
    /// Keeps `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Tail {
        Tail { bytes: VecDeque::new(), limit }
    }

    /// Takes what was printed.
    pub fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(self.limit)..];
        let over = (self.bytes.len() + bytes.len()).saturating_sub(self.limit);
        self.bytes.drain(..over);
        self.bytes.extend(bytes);
    }

    /// What is kept.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }
}
