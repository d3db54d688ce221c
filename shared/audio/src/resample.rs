//! Other rates.

use domain::voicebot::Rate;
use rubato::{
    Async, FixedAsync, Resampler, SincInterpolationParameters, WindowFunction,
    audioadapter_buffers::direct::InterleavedSlice,
};

use crate::pcm;

/// Points of the filter per period of the lower rate: what lies above half the lower rate is 90 dB down.
const FILTER_POINTS: usize = 64;
/// Samples that go through the resampler at a time.
const AT_A_TIME: usize = 1_024;

/// PCM at another rate of a call. It sounds as long as before; half a sample at the end is dropped.
pub fn resample(pcm: &[u8], from: Rate, to: Rate) -> Vec<u8> {
    if from == to {
        return pcm[..pcm.len() - pcm.len() % 2].to_vec();
    }
    let samples: Vec<_> = pcm::samples(pcm).map(pcm::to_float).collect();
    let resampled = resample_floats(samples, from.hz(), to.hz());
    pcm::bytes(resampled.into_iter().map(pcm::from_float))
}

/// Samples at another rate, neither of which is 0.
pub(crate) fn resample_floats(samples: Vec<f32>, from: u32, to: u32) -> Vec<f32> {
    if from == to || samples.is_empty() {
        return samples;
    }
    // The filter works at the rate it reads, so for the same steepness it is as much longer as that is higher.
    let points = FILTER_POINTS * from.div_ceil(to).max(1) as usize;
    let filter = SincInterpolationParameters::new(points, WindowFunction::BlackmanHarris2);
    let ratio = f64::from(to) / f64::from(from);
    let mut resampler = Async::<f32>::new_sinc(ratio, 1.0, &filter, AT_A_TIME, 1, FixedAsync::Input)
        .expect("a ratio of two positive rates is finite and positive");
    let input = InterleavedSlice::new(&samples, 1, samples.len()).expect("one channel of as many frames");
    resampler
        .process_all(&input, samples.len(), None)
        .expect("the input has the one channel and the frames it was said to have")
        .take_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tone of 0.5 s at half the loudest.
    fn tone(hz: f32, rate: Rate) -> Vec<u8> {
        let step = hz * std::f32::consts::TAU / rate.hz() as f32;
        let samples = (0..rate.hz() / 2).map(|n| pcm::from_float(0.5 * (step * n as f32).sin()));
        pcm::bytes(samples)
    }

    /// How loud all of it is, and how loud a tone in it is, both as the square of an amplitude; without the edges.
    fn loudness(pcm: &[u8], hz: f64, rate: Rate) -> (f64, f64) {
        let samples: Vec<_> = pcm::samples(pcm)
            .map(|sample| f64::from(sample) / 32_768.0)
            .collect();
        let edge = samples.len() / 10;
        let middle = &samples[edge..samples.len() - edge];
        let all: f64 = middle.iter().map(|sample| sample * sample).sum();
        let step = hz * std::f64::consts::TAU / f64::from(rate.hz());
        let (mut along, mut across) = (0.0, 0.0);
        for (n, sample) in middle.iter().enumerate() {
            along += sample * (step * n as f64).cos();
            across += sample * (step * n as f64).sin();
        }
        let half = middle.len() as f64 / 2.0;
        (all / half, (along * along + across * across) / (half * half))
    }

    #[test]
    fn a_tone_of_1_khz_survives_every_change_of_rate() {
        for from in Rate::ALL {
            for to in Rate::ALL {
                let resampled = resample(&tone(1_000.0, from), from, to);
                assert_eq!(to.ms_of_bytes(resampled.len()), 500, "{from} to {to}");
                let (all, at_tone) = loudness(&resampled, 1_000.0, to);
                assert!((at_tone.sqrt() - 0.5).abs() < 0.005, "{from} to {to}: {at_tone}");
                // Everything else together is 50 dB below.
                assert!(
                    (all - at_tone).abs() < 0.25 * 1e-5,
                    "{from} to {to}: {all} {at_tone}"
                );
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone_rather_than_folded_down() {
        for from in [Rate::Hz16000, Rate::Hz24000] {
            // 5.5 kHz would be heard at 2.5 kHz.
            let resampled = resample(&tone(5_500.0, from), from, Rate::Hz8000);
            let (all, _) = loudness(&resampled, 2_500.0, Rate::Hz8000);
            assert!(all < 0.25 * 1e-5, "{from}: {all}");
        }
    }

    #[test]
    fn a_few_samples_are_resampled_too() {
        for count in 0..5 {
            let pcm = vec![1; 2 * count];
            assert_eq!(resample(&pcm, Rate::Hz8000, Rate::Hz24000).len(), 6 * count);
            assert_eq!(
                resample(&pcm, Rate::Hz24000, Rate::Hz8000).len(),
                2 * count.div_ceil(3)
            );
        }
        assert_eq!(resample(&[1, 2, 3], Rate::Hz8000, Rate::Hz8000), [1, 2]);
    }
}
