//! PCM in the pieces that Exotel plays.

use std::borrow::Cow;

/// Every chunk is a multiple of so many bytes; anything else sounds with gaps.
pub const UNIT_BYTES: usize = 320;
/// A shorter chunk sounds with jitter.
pub const LEAST_BYTES: usize = 3_200;
/// The longest we send: 1.5, 0.75 and 0.5 s at 8, 16 and 24 kHz. Exotel takes 100 000; but as base64 in a message it has to
/// fit the 32 KB of a WebSocket frame at API Gateway, and what has been sent cannot be interrupted piece by piece.
pub const MOST_BYTES: usize = 24_000;

/// PCM as chunks in order, each of which may be sent as it is: the last one has silence at its end where it would be too
/// short or no multiple. None for no sound; half a sample at the end is dropped.
pub fn chunks(pcm: &[u8]) -> Vec<Cow<'_, [u8]>> {
    let whole = pcm.len() - pcm.len() % 2;
    pcm[..whole].chunks(MOST_BYTES).map(legal).collect()
}

fn legal(chunk: &[u8]) -> Cow<'_, [u8]> {
    let length = chunk.len().next_multiple_of(UNIT_BYTES).max(LEAST_BYTES);
    if chunk.len() == length {
        return Cow::Borrowed(chunk);
    }
    let mut padded = chunk.to_vec();
    padded.resize(length, 0);
    Cow::Owned(padded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_sound_goes_in_chunks_of_the_longest() {
        let pcm = vec![7; 3 * MOST_BYTES];
        let chunks = chunks(&pcm);
        assert_eq!(chunks.len(), 3);
        assert!(chunks.iter().all(|chunk| matches!(chunk, Cow::Borrowed(_))));
    }

    #[test]
    fn no_sound_is_no_chunk_and_a_click_is_the_shortest() {
        assert_eq!(chunks(&[]).len(), 0);
        assert_eq!(chunks(&[1]).len(), 0);
        assert_eq!(chunks(&[1, 1])[0].len(), LEAST_BYTES);
    }

    proptest! {
        #[test]
        fn every_chunk_is_legal_and_together_they_are_the_sound(pcm in prop::collection::vec(any::<u8>(), 0..60_000)) {
            let sent = chunks(&pcm);
            for chunk in &sent {
                prop_assert!((LEAST_BYTES..=MOST_BYTES).contains(&chunk.len()), "{}", chunk.len());
                prop_assert_eq!(chunk.len() % UNIT_BYTES, 0);
            }
            for chunk in sent.iter().rev().skip(1) {
                prop_assert_eq!(chunk.len(), MOST_BYTES);
            }
            let heard = sent.concat();
            let whole = pcm.len() / 2 * 2;
            prop_assert_eq!(&heard[..whole], &pcm[..whole]);
            prop_assert!(heard[whole..].iter().all(|byte| *byte == 0));
            prop_assert!(heard.len() - whole < LEAST_BYTES);
        }
    }
}
