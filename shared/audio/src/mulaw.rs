//! G.711 μ-law: a byte per sample, with 14 bits' worth of range.
//!
//! Its noise is some 38 dB below speech, loud or quiet, which is what every call through the telephone network has
//! been through anyway. Quiet stays exact: silence comes back as silence.

use audio_codec_algorithms::{decode_ulaw, encode_ulaw};

use crate::pcm;

/// PCM in half its bytes. Half a sample at the end is dropped.
pub fn compress(pcm: &[u8]) -> Vec<u8> {
    pcm::samples(pcm).map(encode_ulaw).collect()
}

/// PCM again.
pub fn expand(mulaw: &[u8]) -> Vec<u8> {
    pcm::bytes(mulaw.iter().copied().map(decode_ulaw))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_points_of_the_standard() {
        let pcm = pcm::bytes([0, 32_124, -32_124, 8, i16::MAX, i16::MIN].into_iter());
        let compressed = compress(&pcm);
        assert_eq!(compressed, [0xff, 0x80, 0x00, 0xfe, 0x80, 0x00]);
        let expanded: Vec<_> = pcm::samples(&expand(&compressed)).collect();
        assert_eq!(expanded, [0, 32_124, -32_124, 8, 32_124, -32_124]);
    }

    proptest! {
        #[test]
        fn what_comes_back_is_near_and_stays_the_same(samples in prop::collection::vec(any::<i16>(), 0..400)) {
            let pcm = pcm::bytes(samples.iter().copied());
            let once = expand(&compress(&pcm));
            prop_assert_eq!(once.len(), pcm.len());
            for (before, after) in samples.iter().zip(pcm::samples(&once)) {
                let (before, after) = (i32::from(*before), i32::from(after));
                // Steps grow with loudness: a 16th of the sample, 8 near silence, and what is above the loudest step.
                prop_assert!((before - after).abs() <= before.abs() / 16 + 8, "{before} became {after}");
            }
            prop_assert_eq!(expand(&compress(&once)), once);
        }
    }
}
