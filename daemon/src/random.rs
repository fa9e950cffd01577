//! Random bytes from the system, bought in bulk: ids need 16 each, many thousand times a second.

/// A supply of random bytes.
#[derive(Debug)]
pub struct RandomPool {
    bytes: Box<[u8; RandomPool::SIZE]>,
    used: usize,
}

impl RandomPool {
    const SIZE: usize = 4096;

    /// Filled on first use.
    pub fn new() -> RandomPool {
        RandomPool { bytes: Box::new([0; RandomPool::SIZE]), used: RandomPool::SIZE }
    }

    /// The next 128 bits. They are used once.
    pub fn next_u128(&mut self) -> u128 {
        const WIDTH: usize = size_of::<u128>();
        if self.used + WIDTH > RandomPool::SIZE {
            fill(self.bytes.as_mut_slice());
            self.used = 0;
        }
        let mut next = [0; WIDTH];
        next.copy_from_slice(&self.bytes[self.used..self.used + WIDTH]);
        self.used += WIDTH;
        u128::from_le_bytes(next)
    }
}

impl Default for RandomPool {
    fn default() -> RandomPool {
        RandomPool::new()
    }
}

/// A secret of 256 random bits as text of 43 characters, safe in URLs.
pub fn secret_text() -> String {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    fill(&mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Fills `bytes` from the system's source.
pub fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("a Linux kernel that runs this daemon gives random bytes");
}
