//! Sound as samples: WAV in and out, change of rate, synthetic speech, likeness of two tracks.

use std::f64::consts::PI;
use std::io::{Cursor, Read};
use std::path::Path;

use crate::draw::Draws;

/// Zero crossings of the resampling kernel on each side: enough for telephone speech, few enough for an unoptimised
/// build.
const HALF_WIDTH: f64 = 16.0;
/// Peak of synthetic speech, of 32 767: what a normal voice has on a telephone line.
const SPEECH_PEAK: f64 = 11_000.0;

/// One track of 16-bit mono samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Track {
    /// Samples per second.
    pub rate_hz: u32,
    /// The samples, from the stream's start on.
    pub samples: Vec<i16>,
}

/// Delays of those that fit a tenth of a second best which are judged by the whole track.
const DELAYS_JUDGED: usize = 64;

impl Track {
    /// How long it lasts, in milliseconds.
    pub fn ms(&self) -> u64 {
        to_ms(self.samples.len(), self.rate_hz)
    }

    /// The track as a WAV file of 16 bits, mono.
    pub fn to_wav(&self) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: self.rate_hz.max(1),
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = Vec::with_capacity(44 + 2 * self.samples.len());
        let written = hound::WavWriter::new(Cursor::new(&mut bytes), spec).and_then(|mut writer| {
            for sample in &self.samples {
                writer.write_sample(*sample)?;
            }
            writer.finalize()
        });
        // Only a track of more than 4 GiB does not fit; a stream ends long before.
        debug_assert!(written.is_ok());
        bytes
    }

    /// Reads a WAV file of any rate, with 8 to 32 bits or floats, and changes it to `rate_hz`, mono.
    ///
    /// # Errors
    ///
    /// In words, when the file cannot be read or is no WAV of uncompressed sound.
    pub fn from_wav(path: &Path, rate_hz: u32) -> Result<Self, String> {
        let file =
            std::fs::File::open(path).map_err(|err| format!("cannot open {}: {err}", path.display()))?;
        Self::read_wav(std::io::BufReader::new(file), rate_hz)
            .map_err(|problem| format!("{}: {problem}", path.display()))
    }

    /// The same from a reader.
    ///
    /// # Errors
    ///
    /// As [`Track::from_wav`].
    pub fn read_wav(mut reader: impl Read, rate_hz: u32) -> Result<Self, String> {
        let problem = |err: hound::Error| format!("is no WAV file of uncompressed sound: {err}");
        let mut file = Vec::new();
        reader.read_to_end(&mut file).map_err(|err| problem(err.into()))?;
        let mut wav = hound::WavReader::new(Cursor::new(for_hound(&file))).map_err(problem)?;
        let spec = wav.spec();
        let values: Vec<f32> = match spec.sample_format {
            hound::SampleFormat::Float => wav.samples::<f32>().collect::<Result<_, _>>().map_err(problem)?,
            hound::SampleFormat::Int => {
                let full = 2.0_f32.powi(i32::from(spec.bits_per_sample) - 1);
                wav.samples::<i32>()
                    .map(|sample| sample.map(|sample| sample as f32 / full))
                    .collect::<Result<_, _>>()
                    .map_err(problem)?
            }
        };
        let channels = usize::from(spec.channels.max(1));
        let mono: Vec<f32> = values
            .chunks_exact(channels)
            .map(|frame| frame.iter().sum::<f32>() / channels as f32)
            .collect();
        let samples = resample(&mono, spec.sample_rate, rate_hz)
            .into_iter()
            .map(|value| (value * 32_767.0).round().clamp(-32_768.0, 32_767.0) as i16)
            .collect();
        Ok(Self { rate_hz, samples })
    }

    /// How alike this track and a later copy of it are: the correlation, -1 to 1, at the delay at which they fit best,
    /// and that delay in milliseconds. The delay is looked for up to `most_ms`. 0 when one of them is silent.
    pub fn likeness(&self, copy: &Track, most_ms: u64) -> (f64, u64) {
        // Delays are looked for by the loudest tenth of a second, and judged by all of it: a full search over minutes of
        // sound would take longer than the call. A voice repeats itself every few milliseconds, so that a tenth of a
        // second fits well at several delays.
        let piece = to_samples(100, self.rate_hz).min(self.samples.len());
        let Some(start) = self.loudest(piece) else {
            return (0.0, 0);
        };
        let most = to_samples(most_ms, self.rate_hz);
        // First as if both were at 8 kHz, which holds most of a voice, then to the sample around the best.
        let stride = usize::try_from(self.rate_hz / 8_000).unwrap_or(1).max(1);
        let fits = |lag: usize, stride: usize| {
            let there = copy.samples.get(start + lag..start + lag + piece)?;
            let here = &self.samples[start..start + piece];
            let pairs = here.iter().zip(there).step_by(stride);
            Some((correlation(pairs.map(|(a, b)| (*a, *b))), lag))
        };
        let better = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0);
        let mut rough: Vec<_> = (0..=most)
            .step_by(stride)
            .filter_map(|lag| fits(lag, stride))
            .collect();
        rough.sort_by(|a, b| better(b, a));
        rough.truncate(DELAYS_JUDGED);
        let best = rough
            .into_iter()
            .filter_map(|(_, near)| {
                (near.saturating_sub(stride)..=(near + stride).min(most))
                    .filter_map(|lag| fits(lag, 1))
                    .max_by(better)
            })
            .map(|(_, lag)| (self.alike(copy, lag, stride), lag))
            .max_by(better);
        match best {
            Some((_, lag)) => (self.alike(copy, lag, 1), to_ms(lag, self.rate_hz)),
            None => (0.0, 0),
        }
    }

    /// The correlation with a copy that is late by `lag` samples, over every so many samples. What was said after the copy
    /// ends is not in it, and counts as missing where it is not silence.
    fn alike(&self, copy: &Track, lag: usize, stride: usize) -> f64 {
        let delayed = copy.samples.get(lag..).unwrap_or_default();
        let common = self.samples.len().min(delayed.len());
        let padded = delayed[..common].iter().copied().chain(std::iter::repeat(0));
        correlation(self.samples.iter().copied().zip(padded).step_by(stride))
    }

    /// Where the loudest `length` samples begin; `None` where all is silent.
    fn loudest(&self, length: usize) -> Option<usize> {
        let step = (length / 4).max(1);
        let energy = |start: &usize| -> i64 {
            let piece = &self.samples[*start..*start + length];
            piece.iter().map(|sample| i64::from(*sample).pow(2)).sum()
        };
        let last = self.samples.len().checked_sub(length)?;
        let start = (0..=last).step_by(step).max_by_key(energy)?;
        (energy(&start) > 0).then_some(start)
    }
}

/// The same sound as hound reads it rightly: only the chunks that say something about it. What is wrong with a file is
/// left for hound to find.
fn for_hound(file: &[u8]) -> Vec<u8> {
    let (riff, mut rest) = file.split_at(file.len().min(12));
    let mut kept = riff.to_vec();
    while let Some((&[a, b, c, d, length @ ..], body)) = rest.split_first_chunk::<8>() {
        let length = u32::from_le_bytes(length) as usize;
        let Some((content, next)) = body.split_at_checked(length) else {
            break;
        };
        match &[a, b, c, d] {
            b"data" => break,
            b"fmt " => {
                kept.extend_from_slice(&rest[..8]);
                kept.extend_from_slice(&with_whole_containers(content));
            }
            _ => {}
        }
        // Hound does not skip the zero after a chunk of odd length. A file without that zero is wrong, but clear.
        rest = match next {
            [0, next @ ..] if length % 2 == 1 => next,
            next => next,
        };
    }
    kept.extend_from_slice(rest);
    kept
}

/// In WAVEFORMATEXTENSIBLE, samples of fewer bits than their containers fill these from the top, with zeros below: as
/// many bits as the container has say the same. Hound would look for them at the bottom.
fn with_whole_containers(format: &[u8]) -> Vec<u8> {
    let mut format = format.to_vec();
    if format.len() >= 40 && format.starts_with(&[0xfe, 0xff]) {
        let bits = |at: usize| u16::from_le_bytes([format[at], format[at + 1]]);
        if bits(18) < bits(14) {
            format.copy_within(14..16, 18);
        }
    }
    format
}

/// Pearson's correlation without the means: sound has none.
fn correlation(pairs: impl Iterator<Item = (i16, i16)>) -> f64 {
    let (mut ab, mut aa, mut bb) = (0_i64, 0_i64, 0_i64);
    for (a, b) in pairs {
        let (a, b) = (i64::from(a), i64::from(b));
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    if aa == 0 || bb == 0 {
        return 0.0;
    }
    ab as f64 / ((aa as f64).sqrt() * (bb as f64).sqrt())
}

/// Samples in so many milliseconds.
pub(crate) fn to_samples(ms: u64, rate_hz: u32) -> usize {
    usize::try_from(ms.saturating_mul(u64::from(rate_hz)) / 1_000).unwrap_or(usize::MAX)
}

/// Milliseconds in so many samples, rounded down.
pub(crate) fn to_ms(samples: usize, rate_hz: u32) -> u64 {
    samples as u64 * 1_000 / u64::from(rate_hz.max(1))
}

/// Changes the rate by a windowed sinc, cut off at the lower of the two Nyquist frequencies.
fn resample(input: &[f32], from_hz: u32, to_hz: u32) -> Vec<f32> {
    if from_hz == to_hz || from_hz == 0 || input.is_empty() {
        return input.to_vec();
    }
    let common = gcd(from_hz, to_hz);
    let (up, down) = (u64::from(to_hz / common), u64::from(from_hz / common));
    // Relative to the input's rate; a little below Nyquist, so that the slope of the filter is below it too.
    let cutoff = 0.95 * (f64::from(to_hz) / f64::from(from_hz)).min(1.0);
    let reach = (HALF_WIDTH / cutoff).ceil();
    let taps = 2 * reach as i64;
    // One set of taps per position between two input samples; there are `up` of them.
    let mut phases: Vec<Vec<f32>> = vec![Vec::new(); up as usize];
    let length = (input.len() as u64 * up).div_ceil(down);
    (0..length)
        .map(|at| {
            let (whole, phase) = (at * down / up, at * down % up);
            let set = &mut phases[phase as usize];
            if set.is_empty() {
                let fraction = phase as f64 / up as f64;
                *set = kernel(fraction, cutoff, reach, taps);
            }
            let first = whole as i64 - reach as i64 + 1;
            set.iter()
                .zip(first..)
                .filter_map(|(tap, at)| Some(tap * input.get(usize::try_from(at).ok()?)?))
                .sum()
        })
        .collect()
}

/// The taps for a place `fraction` of the way from one input sample to the next. They add up to 1.
fn kernel(fraction: f64, cutoff: f64, reach: f64, taps: i64) -> Vec<f32> {
    let value = |tap: i64| {
        let distance = (tap as f64 - reach + 1.0) - fraction;
        let x = PI * cutoff * distance;
        let sinc = if x.abs() < 1e-9 { 1.0 } else { x.sin() / x };
        let place = distance / reach;
        let window = if place.abs() >= 1.0 {
            0.0
        } else {
            // Blackman's.
            0.42 + 0.5 * (PI * place).cos() + 0.08 * (2.0 * PI * place).cos()
        };
        sinc * window
    };
    let raw: Vec<f64> = (0..taps).map(value).collect();
    let sum: f64 = raw.iter().sum();
    raw.iter().map(|tap| (tap / sum) as f32).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A resonance of the mouth: a filter with two poles.
struct Formant {
    gain: f64,
    back1: f64,
    back2: f64,
    last1: f64,
    last2: f64,
}

impl Formant {
    fn new(hz: f64, width_hz: f64, rate_hz: u32) -> Self {
        let rate = f64::from(rate_hz);
        let radius = (-PI * width_hz / rate).exp();
        Self {
            gain: 1.0 - radius,
            back1: 2.0 * radius * (2.0 * PI * hz / rate).cos(),
            back2: -radius * radius,
            last1: 0.0,
            last2: 0.0,
        }
    }

    fn pass(&mut self, input: f64) -> f64 {
        let output = self.gain * input + self.back1 * self.last1 + self.back2 * self.last2;
        (self.last2, self.last1) = (self.last1, output);
        output
    }
}

/// Sound with the rhythm and the spectrum of speech, which no two draws make alike: syllables of a sixth of a second,
/// voiced or hissed, with the short dips between them that a voice has.
pub(crate) fn speech(ms: u64, rate_hz: u32, draws: &mut Draws) -> Vec<i16> {
    let wanted = to_samples(ms, rate_hz);
    let mut out: Vec<i16> = Vec::with_capacity(wanted);
    while out.len() < wanted {
        let length = to_samples(130 + draws.up_to(110), rate_hz).min(wanted - out.len());
        let voiced = draws.unit() < 0.8;
        let between = |draws: &mut Draws, low: f64, high: f64| low + draws.unit() * (high - low);
        let pitch_hz = between(draws, 100.0, 190.0);
        let bands = if voiced {
            [
                (300.0, 800.0, 80.0),
                (900.0, 2_200.0, 110.0),
                (2_400.0, 3_200.0, 160.0),
            ]
        } else {
            [
                (1_800.0, 2_200.0, 400.0),
                (2_600.0, 3_000.0, 500.0),
                (3_200.0, 3_600.0, 600.0),
            ]
        };
        let mut formants = bands.map(|(low, high, width)| {
            let hz = between(draws, low, high);
            Formant::new(hz, width, rate_hz)
        });
        let loudness = SPEECH_PEAK
            * between(
                draws,
                if voiced { 0.6 } else { 0.3 },
                if voiced { 1.0 } else { 0.5 },
            );
        let period = (f64::from(rate_hz) / pitch_hz).max(2.0);
        let mut since_pulse = 0.0;
        let syllable: Vec<f64> = (0..length)
            .map(|_| {
                since_pulse += 1.0;
                let mut source = (draws.unit() - 0.5) * if voiced { 0.15 } else { 1.0 };
                if voiced && since_pulse >= period {
                    since_pulse -= period;
                    source += period.sqrt();
                }
                formants.iter_mut().map(|formant| formant.pass(source)).sum()
            })
            .collect();
        let peak = syllable
            .iter()
            .fold(1e-9_f64, |peak, value| peak.max(value.abs()));
        for (at, value) in syllable.iter().enumerate() {
            let place = (at as f64 + 0.5) / length as f64;
            let envelope = (place / 0.2).min((1.0 - place) / 0.3).min(1.0);
            out.push((value / peak * loudness * envelope) as i16);
        }
        let dip = to_samples(25 + draws.up_to(40), rate_hz).min(wanted - out.len());
        out.resize(out.len() + dip, 0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Dice;

    fn tone(hz: f64, rate_hz: u32, length: usize) -> Vec<f32> {
        (0..length)
            .map(|at| (2.0 * PI * hz * at as f64 / f64::from(rate_hz)).sin() as f32 * 0.5)
            .collect()
    }

    fn wav(spec: hound::WavSpec, write: impl FnOnce(&mut hound::WavWriter<Cursor<&mut Vec<u8>>>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = hound::WavWriter::new(Cursor::new(&mut bytes), spec).unwrap();
        write(&mut writer);
        writer.finalize().unwrap();
        bytes
    }

    fn spec(rate: u32, bits: u16, channels: u16, sample_format: hound::SampleFormat) -> hound::WavSpec {
        hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: bits,
            sample_format,
        }
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_strength_at_every_rate() {
        for from in [8_000, 11_025, 16_000, 22_050, 44_100, 48_000] {
            for to in [8_000, 16_000, 24_000] {
                let out = resample(&tone(440.0, from, from as usize / 2), from, to);
                assert!(
                    out.len().abs_diff(to as usize / 2) <= 1,
                    "{from} -> {to}: {}",
                    out.len()
                );
                let wanted = tone(440.0, to, to as usize / 2);
                let edge = to as usize / 50;
                let error = out[edge..out.len() - edge]
                    .iter()
                    .zip(&wanted[edge..])
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                assert!(error < 0.01, "{from} -> {to}: {error}");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_taken_out() {
        let out = resample(&tone(6_000.0, 48_000, 24_000), 48_000, 8_000);
        let loudest = out[200..out.len() - 200]
            .iter()
            .fold(0.0_f32, |peak, value| peak.max(value.abs()));
        assert!(loudest < 0.005, "{loudest}");
    }

    #[test]
    fn a_wav_of_any_width_is_read() {
        use hound::SampleFormat::{Float, Int};
        for (bits, format) in [(8, Int), (16, Int), (24, Int), (32, Int), (32, Float)] {
            let bytes = wav(spec(8_000, bits, 2, format), |writer| {
                for _ in 0..800 {
                    for value in [0.5_f32, 0.0] {
                        match format {
                            Float => writer.write_sample(value).unwrap(),
                            Int => writer
                                .write_sample((f64::from(value) * 2.0_f64.powi(i32::from(bits) - 1)) as i32)
                                .unwrap(),
                        }
                    }
                }
            });
            let track = Track::read_wav(Cursor::new(bytes), 8_000).unwrap();
            assert_eq!(track.ms(), 100);
            // Half on the left, nothing on the right: a quarter.
            assert!(
                track.samples.iter().all(|sample| (8_100..8_300).contains(sample)),
                "{bits} {format:?}"
            );
        }
        assert!(
            Track::read_wav(Cursor::new(b"RIFFnonsense"), 8_000)
                .unwrap_err()
                .contains("no WAV")
        );
    }

    #[test]
    fn a_wav_of_wide_containers_and_odd_chunks_is_read() {
        let chunk =
            |id: &[u8; 4], length: u32, body: &[u8]| [id.as_slice(), &length.to_le_bytes(), body].concat();
        // WAVEFORMATEXTENSIBLE: mono, 8 kHz, 24 valid bits in 32, PCM.
        let format = [
            b"\xfe\xff\x01\0\x40\x1f\0\0\0\x7d\0\0\x04\0\x20\0\x16\0\x18\0".as_slice(),
            b"\x04\0\0\0\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71",
        ]
        .concat();
        let halves = [1_i32 << 30, -(1 << 30), 256, -256 * 1_000];
        let data = halves.map(i32::to_le_bytes).concat();
        for list in [b"abc\0".as_slice(), b"abc"] {
            let file = [
                b"RIFF\0\0\0\0WAVE".to_vec(),
                chunk(b"fmt ", 40, &format),
                chunk(b"LIST", 3, list),
                chunk(b"data", 16, &data),
            ]
            .concat();
            let track = Track::read_wav(Cursor::new(file), 8_000).unwrap();
            assert_eq!(track.samples, [16_384, -16_384, 0, -4]);
        }
    }

    #[test]
    fn a_track_written_reads_back() {
        let samples = speech(500, 16_000, &mut Dice { seed: 3 }.draws("x"));
        let track = Track {
            rate_hz: 16_000,
            samples,
        };
        let back = Track::read_wav(Cursor::new(track.to_wav()), 16_000).unwrap();
        assert_eq!(back.samples.len(), track.samples.len());
        assert!(
            back.samples
                .iter()
                .zip(&track.samples)
                .all(|(a, b)| a.abs_diff(*b) <= 1)
        );
    }

    #[test]
    fn speech_repeats_by_seed_and_is_loud_enough_to_be_heard() {
        for rate_hz in [8_000, 16_000, 24_000] {
            let make = |seed| speech(2_000, rate_hz, &mut Dice { seed }.draws("x"));
            assert_eq!(make(1), make(1));
            assert_ne!(make(1), make(2));
            let samples = make(1);
            assert_eq!(samples.len(), 2 * rate_hz as usize);
            // No stretch of a fifth of a second is silent: it is one utterance.
            let window = rate_hz as usize / 5;
            for piece in samples.chunks_exact(window) {
                let mean: f64 = piece.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / window as f64;
                assert!(mean.sqrt() > 300.0, "{rate_hz}: {}", mean.sqrt());
            }
        }
    }

    #[test]
    fn likeness_finds_the_delay_and_sees_what_is_missing() {
        let samples = speech(2_000, 8_000, &mut Dice { seed: 3 }.draws("x"));
        let said = Track {
            rate_hz: 8_000,
            samples: samples.clone(),
        };
        let delayed = |tail: &[i16]| Track {
            rate_hz: 8_000,
            samples: [vec![0; 2_400], tail.to_vec()].concat(),
        };
        let (like, lag_ms) = said.likeness(&delayed(&samples), 2_000);
        assert!(like > 0.999 && lag_ms == 300, "{like} {lag_ms}");
        let (like, _) = said.likeness(&delayed(&samples[..8_000]), 2_000);
        assert!(like < 0.9, "half of it is missing: {like}");
        let other = speech(2_000, 8_000, &mut Dice { seed: 4 }.draws("x"));
        assert!(said.likeness(&delayed(&other), 2_000).0 < 0.5);
        let silent = Track {
            rate_hz: 8_000,
            samples: vec![0; 16_000],
        };
        assert_eq!(said.likeness(&silent, 2_000).0, 0.0);
    }
}
