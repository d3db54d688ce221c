//! Samples and the bytes that hold them.

/// The samples in PCM bytes. Half a sample at the end is none.
pub(crate) fn samples(pcm: &[u8]) -> impl ExactSizeIterator<Item = i16> + '_ {
    pcm.chunks_exact(2)
        .map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]]))
}

/// The bytes of samples.
pub(crate) fn bytes(samples: impl Iterator<Item = i16>) -> Vec<u8> {
    samples.flat_map(i16::to_le_bytes).collect()
}

/// Samples between -1 and 1.
pub(crate) fn to_float(sample: i16) -> f32 {
    f32::from(sample) / 32_768.0
}

/// The nearest sample; what is louder than loud is as loud as can be.
pub(crate) fn from_float(sample: f32) -> i16 {
    // The cast saturates.
    (sample * 32_768.0).round() as i16
}
