//! How many samples a second a call has, and how long a number of bytes sounds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Samples are 16 bits wide.
const BYTES_PER_SAMPLE: u32 = 2;

/// The sample rate of a call: what Exotel offers (`sample-rate` in the URL of the socket, `media_format.sample_rate` in
/// `start`). In JSON it is the number of hertz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub enum Rate {
    /// 8 000 Hz: the telephone network's, and what Exotel takes when nobody asks.
    #[default]
    Hz8000,
    /// 16 000 Hz.
    Hz16000,
    /// 24 000 Hz.
    Hz24000,
}

impl Rate {
    /// Every rate there is.
    pub const ALL: [Rate; 3] = [Rate::Hz8000, Rate::Hz16000, Rate::Hz24000];

    /// Samples a second.
    pub const fn hz(self) -> u32 {
        match self {
            Rate::Hz8000 => 8_000,
            Rate::Hz16000 => 16_000,
            Rate::Hz24000 => 24_000,
        }
    }

    /// The rate of so many samples a second; `None` when a call cannot have it.
    pub fn from_hz(hz: u32) -> Option<Rate> {
        Rate::ALL.into_iter().find(|rate| rate.hz() == hz)
    }

    /// Bytes of PCM a second.
    pub const fn bytes_per_second(self) -> u32 {
        self.hz() * BYTES_PER_SAMPLE
    }

    /// Whole milliseconds that so many bytes of PCM sound, rounded down.
    pub const fn ms_of_bytes(self, bytes: usize) -> u64 {
        bytes as u64 * 1000 / self.bytes_per_second() as u64
    }

    /// Bytes of PCM that sound so many milliseconds: whole samples, since every rate has them.
    pub const fn bytes_of_ms(self, ms: u64) -> usize {
        (ms * self.bytes_per_second() as u64 / 1000) as usize
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.hz())
    }
}

impl From<Rate> for u32 {
    fn from(rate: Rate) -> u32 {
        rate.hz()
    }
}

impl TryFrom<u32> for Rate {
    type Error = UnknownRate;

    fn try_from(hz: u32) -> Result<Self, UnknownRate> {
        Rate::from_hz(hz).ok_or(UnknownRate(hz))
    }
}

/// A number of samples a second that a call cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} Hz is no sample rate of a call; Exotel has 8000, 16000 and 24000")]
pub struct UnknownRate(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_100_ms_has_the_bytes_that_exotel_names() {
        let bytes: Vec<_> = Rate::ALL.iter().map(|rate| rate.bytes_of_ms(100)).collect();
        assert_eq!(bytes, [1_600, 3_200, 4_800]);
        for rate in Rate::ALL {
            assert_eq!(rate.ms_of_bytes(rate.bytes_of_ms(100)), 100);
            assert_eq!(rate.ms_of_bytes(rate.bytes_per_second() as usize), 1000);
        }
    }

    #[test]
    fn a_rate_is_its_hertz_in_json_and_nothing_else_is_a_rate() {
        assert_eq!(serde_json::to_string(&Rate::Hz16000).unwrap(), "16000");
        assert_eq!(serde_json::from_str::<Rate>("24000").unwrap(), Rate::Hz24000);
        let error = serde_json::from_str::<Rate>("44100").unwrap_err().to_string();
        assert!(error.contains("44100 Hz is no sample rate"), "{error}");
        assert_eq!(Rate::from_hz(0), None);
    }
}
