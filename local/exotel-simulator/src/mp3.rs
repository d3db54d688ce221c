//! Playable MP3 of any length without memory: two voices of tones taking turns, frame by frame.
//!
//! MPEG-1 Layer III at 32 kHz, constant bit rate, so that every frame has the same size and any byte range can be
//! made from the frame numbers it covers. A voice is one spectral line, whose sign turns with the phase of the tone.

use bytes::Bytes;

/// Bytes of a frame of one channel: 144 × 32 kbit/s ÷ 32 kHz. Two channels take twice that.
const FRAME_BYTES: u64 = 144;
/// A frame holds 1152 samples at 32 kHz.
const FRAME_MS: u64 = 36;
/// Frames before the other party speaks: about two seconds.
const TURN_FRAMES: u64 = 56;
/// Frames in a syllable, of which the last is silent.
const SYLLABLE_FRAMES: u64 = 6;
/// Loudness of a line, a quarter of full scale (Layer III's global gain of 210 is full scale, 4 a halving).
const GAIN: u32 = 202;

/// A recording's sound: which voices, how many channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sound {
    /// Moves the pitch, so that recordings differ.
    pub(crate) variety: u64,
    /// Left is the first leg, right the second; otherwise both on one channel.
    pub(crate) dual: bool,
}

impl Sound {
    fn frame_bytes(self) -> u64 {
        if self.dual { 2 * FRAME_BYTES } else { FRAME_BYTES }
    }

    /// The size of a recording of this length, whole frames.
    pub(crate) fn bytes_for(self, duration_ms: u64) -> u64 {
        duration_ms.div_ceil(FRAME_MS).max(1) * self.frame_bytes()
    }

    /// Up to `length` bytes from `offset`.
    pub(crate) fn read(self, offset: u64, length: usize) -> Bytes {
        let size = self.frame_bytes();
        let skip = usize::try_from(offset % size).expect("a frame is a few hundred bytes");
        let mut out = Vec::with_capacity(skip + length + 288);
        let mut index = offset / size;
        while out.len() < skip + length {
            out.extend_from_slice(&self.frame(index));
            index += 1;
        }
        Bytes::from(out).slice(skip..skip + length)
    }

    /// The spectral lines (27.8 Hz each) that sound in a frame, per channel; `None` is silence.
    fn lines(self, index: u64) -> Vec<Option<u32>> {
        let turn = index / TURN_FRAMES % 2;
        let syllable = index / SYLLABLE_FRAMES;
        let step = ((syllable + self.variety) % 7) as usize;
        // Lines that the decoder's alias reduction leaves alone: away from the multiples of 18.
        let pitch = if turn == 0 {
            [6, 8, 7, 9, 7, 6, 8][step]
        } else {
            [26, 27, 27, 26, 27, 26, 27][step]
        };
        let line = (index % SYLLABLE_FRAMES + 1 < SYLLABLE_FRAMES).then_some(pitch);
        match (self.dual, turn) {
            (false, _) => vec![line],
            (true, 0) => vec![line, None],
            (true, _) => vec![None, line],
        }
    }

    fn frame(self, index: u64) -> Vec<u8> {
        let lines = self.lines(index);
        let mut bits = Bits::default();
        // Sync, MPEG-1, Layer III, no CRC; bit rate; 32 kHz; channel mode.
        bits.push(0xfffb, 16);
        bits.push(if self.dual { 0b0101 } else { 0b0001 }, 4);
        bits.push(0b1000, 4);
        bits.push(if self.dual { 0b0000_0000 } else { 0b1100_0000 }, 8);
        // Main data begins in this frame; private bits; no shared scale factors.
        bits.push(0, 9);
        bits.push(0, if self.dual { 3 } else { 5 });
        bits.push(0, if self.dual { 8 } else { 4 });
        for _granule in 0..2 {
            for line in &lines {
                granule_side_info(&mut bits, *line);
            }
        }
        for granule in 0..2 {
            for line in lines.iter().flatten() {
                granule_data(&mut bits, *line, (2 * index + granule) % 4);
            }
        }
        let mut bytes = bits.bytes;
        bytes.resize(
            usize::try_from(self.frame_bytes()).expect("a frame is a few hundred bytes"),
            0,
        );
        bytes
    }
}

/// Bits of main data for a line: an empty pair takes 1, the pair with the line 2 or 3, the sign 1.
fn data_bits(line: u32) -> u32 {
    line / 2 + if line.is_multiple_of(2) { 2 } else { 3 } + 1
}

fn granule_side_info(bits: &mut Bits, line: Option<u32>) {
    bits.push(line.map_or(0, data_bits), 12); // part2_3_length
    bits.push(line.map_or(0, |line| line / 2 + 1), 9); // big_values, in pairs
    bits.push(if line.is_some() { GAIN } else { 0 }, 8); // global_gain
    bits.push(0, 4); // scalefac_compress: no bits for scale factors
    bits.push(0, 1); // window_switching: long blocks
    for _region in 0..3 {
        bits.push(1, 5); // table_select: Huffman table 1, values up to 1
    }
    bits.push(0, 4 + 3); // region boundaries; all use the same table
    bits.push(0, 3); // preflag, scalefac_scale, count1table_select
}

fn granule_data(bits: &mut Bits, line: u32, phase: u64) {
    for _pair in 0..line / 2 {
        bits.push(0b1, 1);
    }
    if line.is_multiple_of(2) {
        bits.push(0b01, 2);
    } else {
        bits.push(0b001, 3);
    }
    // A steady tone in the middle of a line turns a quarter per granule, even and odd lines in opposite senses.
    let negative = if line.is_multiple_of(2) {
        matches!(phase, 2 | 3)
    } else {
        matches!(phase, 1 | 2)
    };
    bits.push(u32::from(negative), 1);
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> at & 1) as u8;
            let last = self
                .bytes
                .last_mut()
                .expect("a byte was pushed when the last was full");
            *last |= bit << (7 - self.used % 8);
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONO: Sound = Sound {
        variety: 3,
        dual: false,
    };

    #[test]
    fn any_range_is_a_part_of_the_whole() {
        for sound in [
            MONO,
            Sound {
                variety: 3,
                dual: true,
            },
        ] {
            let whole = sound.read(0, 10_000);
            for (from, length) in [(0, 1), (143, 2), (144, 144), (1_001, 777), (9_999, 1)] {
                assert_eq!(sound.read(from as u64, length), whole.slice(from..from + length));
            }
        }
    }

    /// Decodes a sound and gives the samples of each channel.
    fn decode(bytes: Bytes) -> Vec<Vec<f32>> {
        use symphonia::core::audio::SampleBuffer;
        use symphonia::core::io::MediaSourceStream;
        let source = MediaSourceStream::new(Box::new(std::io::Cursor::new(bytes)), Default::default());
        let probe = symphonia::default::get_probe();
        let hint = symphonia::core::probe::Hint::new();
        let mut file = probe
            .format(&hint, source, &Default::default(), &Default::default())
            .unwrap()
            .format;
        let codec = file.default_track().unwrap().codec_params.clone();
        assert_eq!(codec.sample_rate, Some(32_000));
        let mut decoder = symphonia::default::get_codecs()
            .make(&codec, &Default::default())
            .unwrap();
        let mut channels = Vec::new();
        while let Ok(packet) = file.next_packet() {
            let frame = decoder.decode(&packet).unwrap();
            let count = frame.spec().channels.count();
            let mut samples = SampleBuffer::<f32>::new(frame.capacity() as u64, *frame.spec());
            samples.copy_planar_ref(frame);
            channels.resize(count, Vec::new());
            let each = samples.samples().len() / count;
            for (channel, part) in channels.iter_mut().zip(samples.samples().chunks(each)) {
                channel.extend_from_slice(part);
            }
        }
        channels
    }

    /// The share of a frequency in the energy of some samples.
    fn share(samples: &[f32], hertz: f32) -> f32 {
        let (mut re, mut im, mut energy) = (0.0_f32, 0.0_f32, 0.0_f32);
        for (at, sample) in samples.iter().enumerate() {
            let angle = std::f32::consts::TAU * hertz * at as f32 / 32_000.0;
            re += sample * angle.cos();
            im += sample * angle.sin();
            energy += sample * sample;
        }
        2.0 * (re * re + im * im) / (energy * samples.len() as f32)
    }

    #[test]
    fn a_decoder_hears_the_two_parties_take_turns() {
        let sound = Sound {
            variety: 0,
            dual: true,
        };
        let channels = decode(sound.read(0, 288 * 112));
        assert_eq!(channels.len(), 2);
        assert_eq!(channels[0].len(), 112 * 1_152);
        let silent = |samples: &[f32]| samples.iter().all(|sample| sample.abs() < 1e-3);
        // The first syllable of each party, away from its edges.
        let (left, right) = (1_152 * 2..1_152 * 4, 1_152 * 62..1_152 * 64);
        let hertz = |line: f32| (line + 0.5) * 16_000.0 / 576.0;
        assert!(share(&channels[0][left.clone()], hertz(6.0)) > 0.7);
        assert!(silent(&channels[1][left]));
        assert!(share(&channels[1][right.clone()], hertz(26.0)) > 0.7);
        assert!(silent(&channels[0][right]));
        assert_eq!(decode(MONO.read(0, 144 * 10)).len(), 1);
    }

    #[test]
    fn every_frame_starts_with_its_header() {
        let sound = MONO.read(0, 144 * 50);
        assert!(
            sound
                .chunks(144)
                .all(|frame| frame.starts_with(&[0xff, 0xfb, 0x18, 0xc0]))
        );
        assert_eq!(MONO.bytes_for(36_000), 144_000);
    }
}
