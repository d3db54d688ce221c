//! Seeded chance: a draw depends on the seed and on what is being decided, never on the order of arrival,
//! so that a schedule repeats although requests race.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// A source of draws.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dice {
    pub(crate) seed: u64,
}

impl Dice {
    fn rng(self, key: &str) -> ChaCha8Rng {
        // FNV-1a: stable between versions of Rust, unlike the standard hasher.
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        ChaCha8Rng::seed_from_u64(self.seed ^ hash)
    }

    /// Draws in a row for `key`.
    pub(crate) fn draws(self, key: &str) -> Draws {
        Draws { rng: self.rng(key) }
    }

    /// Whether something that happens at `rate` (0 to 1) happens to `key`.
    pub(crate) fn happens(self, rate: f64, key: &str) -> bool {
        self.draws(key).unit() < rate
    }

    /// An id as Exotel makes them: 32 lower-case characters, hexadecimal but for the tail.
    pub(crate) fn sid(self, key: &str) -> String {
        let mut rng = self.rng(key);
        let tail = char::from(b'g' + (rng.next_u32() % 19) as u8);
        format!("{:016x}{:012x}196{tail}", rng.next_u64(), rng.next_u64() >> 16)
    }

    /// A 64-digit hexadecimal signature over `key`.
    pub(crate) fn signature(self, key: &str) -> String {
        let mut rng = self.rng(key);
        (0..4).map(|_| format!("{:016x}", rng.next_u64())).collect()
    }
}

/// Draws in a row for one key.
#[derive(Debug)]
pub(crate) struct Draws {
    rng: ChaCha8Rng,
}

impl Draws {
    /// From 0 up to, but not, 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 up to and including `most`.
    pub(crate) fn up_to(&mut self, most: u64) -> u64 {
        // The range is far below 2^53: no value is favoured by more than a hair.
        ((self.unit() * (most as f64 + 1.0)) as u64).min(most)
    }

    /// An index below `length`, which is not 0.
    pub(crate) fn below(&mut self, length: usize) -> usize {
        usize::try_from(self.up_to(length.saturating_sub(1) as u64)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_and_a_seed_repeats() {
        let dice = Dice { seed: 7 };
        let hits = |dice: Dice| {
            (0..10_000)
                .filter(|n| dice.happens(0.3, &format!("call {n}")))
                .collect::<Vec<_>>()
        };
        assert!((2_800..3_200).contains(&hits(dice).len()));
        assert_eq!(hits(dice), hits(dice));
        assert_ne!(hits(dice), hits(Dice { seed: 8 }));
        assert!(dice.happens(1.0, "x") && !dice.happens(0.0, "x"));
    }

    #[test]
    fn a_sid_is_32_characters_and_no_hexadecimal_number() {
        let sid = Dice { seed: 1 }.sid("call 1");
        assert_eq!(sid.len(), 32);
        assert!(sid.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
        assert!(!sid.chars().all(|c| c.is_ascii_hexdigit()));
    }
}
