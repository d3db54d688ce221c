//! WAV files.

use std::io::{Cursor, ErrorKind, Read};

use domain::voicebot::Rate;
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::{pcm, resample::resample_floats};

/// A file that sounds longer is refused: nobody listens so long, and its samples need memory.
pub const LONGEST_SECONDS: u32 = 300;
/// Rates that are sound.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;
/// How long the description of the samples is in its longest form.
const LONGEST_FORMAT: usize = 40;
/// The tag of that form, WAVEFORMATEXTENSIBLE.
const EXTENSIBLE: u16 = 0xfffe;

/// Why bytes are not taken as a WAV file, and what to do. To be said after the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// It is something else, or its header contradicts itself.
    #[error("it is no WAV file that can be read ({0}); export it as WAV, PCM, 16 bits")]
    Unreadable(&'static str),
    /// Compressed, or a kind of sample that nobody writes.
    #[error("its samples are compressed or of a rare kind; export it as WAV, PCM, 16 bits")]
    Encoding,
    /// It ends before its header says so.
    #[error(
        "it ends before its header says so; it was cut off, or written without its length: export it again"
    )]
    CutOff,
    /// More than two channels.
    #[error("it has {0} channels; export it in mono")]
    Channels(u16),
    /// No rate of sound.
    #[error("it claims {0} samples a second; export it at 8000, 16000, 24000, 44100 or 48000")]
    SampleRate(u32),
    /// Nothing to hear.
    #[error("there is no sound in it")]
    Empty,
    /// Too much to hear.
    #[error("it sounds longer than {LONGEST_SECONDS} s; cut it")]
    TooLong,
}

impl From<hound::Error> for WavError {
    fn from(error: hound::Error) -> Self {
        match error {
            hound::Error::IoError(err) if err.kind() == ErrorKind::UnexpectedEof => WavError::CutOff,
            // Hound's own words for a slice that ends.
            hound::Error::IoError(_) => WavError::CutOff,
            hound::Error::FormatError(what) => WavError::Unreadable(what),
            hound::Error::UnfinishedSample => WavError::CutOff,
            hound::Error::Unsupported | hound::Error::TooWide | hound::Error::InvalidSampleFormat => {
                WavError::Encoding
            }
        }
    }
}

/// The PCM of a WAV file at a rate of a call: two channels become one, other rates are resampled.
pub fn from_wav(wav: &[u8], rate: Rate) -> Result<Vec<u8>, WavError> {
    let Parts {
        format,
        data_bytes,
        data,
    } = Parts::of(wav)?;
    let mut reader = WavReader::new(Cursor::new(head(&format, data_bytes)).chain(data))?;
    let spec = reader.spec();
    if !(1..=2).contains(&spec.channels) {
        return Err(WavError::Channels(spec.channels));
    }
    if !RATES.contains(&spec.sample_rate) {
        return Err(WavError::SampleRate(spec.sample_rate));
    }
    // Hound takes any number for the valid bits.
    if !(1..=32).contains(&spec.bits_per_sample) {
        return Err(WavError::Encoding);
    }
    // What the header promises is not what there is; nothing is reserved for it.
    if reader.duration() > LONGEST_SECONDS.saturating_mul(spec.sample_rate) {
        let there = wav.len() as u64 / u64::from(spec.channels * spec.bits_per_sample.div_ceil(8)).max(1);
        let is_cut_off = u64::from(reader.duration()) > there;
        return Err(if is_cut_off {
            WavError::CutOff
        } else {
            WavError::TooLong
        });
    }
    let samples: Vec<f32> = match spec.sample_format {
        SampleFormat::Float => reader
            .samples::<f32>()
            .map(|sample| sample.map(|sample| if sample.is_finite() { sample } else { 0.0 }))
            .collect::<Result<_, _>>()?,
        SampleFormat::Int => {
            let loudest = (1_u64 << (spec.bits_per_sample - 1)) as f32;
            reader
                .samples::<i32>()
                .map(|sample| sample.map(|sample| sample as f32 / loudest))
                .collect::<Result<_, _>>()?
        }
    };
    if samples.is_empty() {
        return Err(WavError::Empty);
    }
    let mono = if spec.channels == 2 {
        samples
            .chunks_exact(2)
            .map(|both| (both[0] + both[1]) / 2.0)
            .collect()
    } else {
        samples
    };
    let resampled = resample_floats(mono, spec.sample_rate, rate.hz());
    Ok(pcm::bytes(resampled.into_iter().map(pcm::from_float)))
}

/// What of a WAV file is sound.
struct Parts<'a> {
    /// The description of the samples, as hound reads it rightly.
    format: Vec<u8>,
    /// How many bytes the header says the samples have; not how many there are.
    data_bytes: u32,
    /// The samples, and what follows them.
    data: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Hound's own walk over the chunks takes the byte that pads an odd one for the next chunk's first.
    fn of(wav: &'a [u8]) -> Result<Self, WavError> {
        let mut rest = wav;
        hound::read_wave_header(&mut rest)?;
        let mut format = None;
        loop {
            let (id, after) = rest.split_first_chunk::<4>().ok_or(WavError::CutOff)?;
            let (length, body) = after.split_first_chunk::<4>().ok_or(WavError::CutOff)?;
            let length = u32::from_le_bytes(*length);
            if id == b"data" {
                return Ok(Self {
                    format: format.ok_or(WavError::Unreadable("missing fmt chunk"))?,
                    data_bytes: length,
                    data: body,
                });
            }
            let (chunk, next) = usize::try_from(length)
                .ok()
                .and_then(|length| body.split_at_checked(length))
                .ok_or(WavError::CutOff)?;
            if id == b"fmt " {
                format = Some(as_hound_reads(chunk));
            }
            rest = if length % 2 == 1 {
                without_padding(next)
            } else {
                next
            };
        }
    }
}

/// What follows an odd chunk, without the byte that pads it. Some writers forget that byte: then an id begins in its
/// place.
fn without_padding(next: &[u8]) -> &[u8] {
    let padded = next.get(1..).unwrap_or_default();
    // The rest of an unpadded id and a length may look like an id, but not like one of these.
    let is_padded = padded.starts_with(b"data") || padded.starts_with(b"fmt ");
    let is_id = |id: &[u8; 4]| id.iter().all(|letter| (b' '..=b'~').contains(letter));
    if !is_padded && next.first_chunk().is_some_and(is_id) {
        next
    } else {
        padded
    }
}

/// A description of samples in which hound finds them where they are. Where WAVEFORMATEXTENSIBLE has fewer valid bits than
/// its container, they are the container's highest (["left-aligned"][remarks]) and the rest is zero, but hound takes
/// the lowest. The whole container says the same.
///
/// [remarks]: https://learn.microsoft.com/windows-hardware/drivers/ddi/ksmedia/ns-ksmedia-waveformatextensible#remarks
fn as_hound_reads(format: &[u8]) -> Vec<u8> {
    // Hound would take more for the next chunk.
    let mut format = format[..format.len().min(LONGEST_FORMAT)].to_vec();
    if format.len() == LONGEST_FORMAT {
        let field = |at: usize| u16::from_le_bytes([format[at], format[at + 1]]);
        let (tag, channels, frame_bytes) = (field(0), field(2), field(12));
        let (container_bits, valid_bits) = (field(14), field(18));
        let is_whole = u32::from(channels) * u32::from(container_bits) == u32::from(frame_bytes) * 8;
        if tag == EXTENSIBLE && is_whole && valid_bits < container_bits {
            format.copy_within(14..16, 18);
        }
    }
    format
}

/// A header of nothing but what hound needs.
fn head(format: &[u8], data_bytes: u32) -> Vec<u8> {
    let format_bytes = format.len() as u32;
    [
        // The file's own length, which hound does not heed.
        b"RIFF\0\0\0\0WAVEfmt ".as_slice(),
        &format_bytes.to_le_bytes(),
        format,
        b"data",
        &data_bytes.to_le_bytes(),
    ]
    .concat()
}

/// PCM as a WAV file. Half a sample at the end is dropped.
pub fn to_wav(pcm: &[u8], rate: Rate) -> Vec<u8> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: rate.hz(),
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut wav = Cursor::new(Vec::with_capacity(44 + pcm.len()));
    let write = |wav: &mut Cursor<Vec<u8>>| -> hound::Result<()> {
        let mut writer = WavWriter::new(wav, spec)?;
        let samples = pcm::samples(pcm);
        let mut block = writer.get_i16_writer(samples.len() as u32);
        for sample in samples {
            block.write_sample(sample);
        }
        block.flush()?;
        writer.finalize()
    };
    write(&mut wav).expect("memory takes what is written to it, and an hour of sound is far below 4 GB");
    wav.into_inner()
}
