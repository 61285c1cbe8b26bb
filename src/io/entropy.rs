//! The door to randomness that must not be guessed: VM passwords, epochs, CSRF tokens.

/// Where unpredictable bytes come from.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// Letters and digits of one's choice, without bias: bytes that do not fit are drawn again.
pub fn text(entropy: &dyn Entropy, alphabet: &[u8], length: usize) -> String {
    let fair = 256 - 256 % alphabet.len().max(1);
    let mut drawn = String::with_capacity(length);
    let mut buffer = [0u8; 32];
    while drawn.len() < length {
        entropy.fill(&mut buffer);
        let letters = buffer.iter().filter(|byte| usize::from(**byte) < fair);
        drawn.extend(
            letters.map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).take(length - drawn.len()),
        );
    }
    drawn
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system has randomness once it has booted");
    }
}
