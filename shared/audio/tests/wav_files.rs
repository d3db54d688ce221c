//! WAV files as recorders write them, and as nobody should.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::io::Cursor;

use audio::{LONGEST_SECONDS, WavError, from_wav, to_wav};
use domain::voicebot::Rate;
use hound::{Sample, SampleFormat, WavSpec, WavWriter};
use proptest::prelude::*;

/// A WAV file of these samples.
fn wav<S: Sample + Copy>(channels: u16, sample_rate: u32, bits: u16, samples: &[S]) -> Vec<u8> {
    let float = bits == 32 && std::any::type_name::<S>() == "f32";
    let spec = WavSpec {
        channels,
        sample_rate,
        bits_per_sample: bits,
        sample_format: if float {
            SampleFormat::Float
        } else {
            SampleFormat::Int
        },
    };
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    for sample in samples {
        writer.write_sample(*sample).unwrap();
    }
    writer.finalize().unwrap();
    file.into_inner()
}

fn samples(pcm: &[u8]) -> Vec<i16> {
    pcm.chunks_exact(2)
        .map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]]))
        .collect()
}

fn read(wav: &[u8]) -> Result<Vec<i16>, WavError> {
    from_wav(wav, Rate::Hz8000).map(|pcm| samples(&pcm))
}

#[test]
fn every_width_of_sample_says_the_same() {
    let quarters = [0.0_f32, 0.25, -0.5, 0.75];
    let expected = [0, 8_192, -16_384, 24_576];
    let ints = |bits: u32| quarters.map(|sample| (sample * (1_u64 << (bits - 1)) as f32) as i32);
    for (bits, ints) in [(8, ints(8)), (16, ints(16)), (24, ints(24)), (32, ints(32))] {
        assert_eq!(
            read(&wav(1, 8_000, bits, &ints)).unwrap(),
            expected,
            "{bits} bits"
        );
    }
    assert_eq!(read(&wav(1, 8_000, 32, &quarters)).unwrap(), expected, "float");
}

#[test]
fn two_channels_become_one_and_what_is_too_loud_is_as_loud_as_can_be() {
    assert_eq!(
        read(&wav(2, 8_000, 16, &[100_i16, 300, -32_768, -32_768, 0, 1_000])).unwrap(),
        [200, -32_768, 500]
    );
    let wild = [2.0_f32, -7.5, f32::NAN, f32::INFINITY, 0.5];
    assert_eq!(
        read(&wav(1, 8_000, 32, &wild)).unwrap(),
        [32_767, -32_768, 0, 0, 16_384]
    );
}

#[test]
fn every_common_rate_sounds_as_long_as_before() {
    for from in [
        8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000,
    ] {
        let tenth = vec![1_000_i16; from as usize / 10];
        let file = wav(1, from, 16, &tenth);
        for rate in Rate::ALL {
            let pcm = from_wav(&file, rate).unwrap();
            assert!(
                (99..=100).contains(&rate.ms_of_bytes(pcm.len())),
                "{from} to {rate}"
            );
            // A steady tone of 0 Hz stays what it is, away from its edges.
            let heard = samples(&pcm);
            let middle = heard[heard.len() / 2];
            assert!((990..=1_010).contains(&middle), "{from} to {rate}: {middle}");
        }
    }
}

#[test]
fn our_own_files_are_read_as_they_were_written() {
    let pcm: Vec<u8> = (0..=255).cycle().take(9_001).collect();
    for rate in Rate::ALL {
        let file = to_wav(&pcm, rate);
        assert_eq!(file.len(), 44 + 9_000);
        assert_eq!(from_wav(&file, rate).unwrap(), pcm[..9_000]);
    }
    assert_eq!(read(&to_wav(&[], Rate::Hz8000)), Err(WavError::Empty));
}

/// A file of one second with this written over it at this place.
fn broken(at: usize, with: &[u8]) -> Vec<u8> {
    let mut file = to_wav(&vec![1; 16_000], Rate::Hz8000);
    file[at..at + with.len()].copy_from_slice(with);
    file
}

#[test]
fn what_is_wrong_with_a_file_is_said_in_words_that_help() {
    let second = to_wav(&vec![1; 16_000], Rate::Hz8000);
    for (file, says) in [
        (b"ID3\x04 this is an MP3".to_vec(), "no WAV file"),
        (Vec::new(), "cut off"),
        (b"RIFF".to_vec(), "cut off"),
        (second[..40].to_vec(), "cut off"),
        (second[..10_001].to_vec(), "cut off"),
        (broken(22, &[0, 0]), "zero channels"),
        (broken(24, &[0; 8]), "0 samples a second"),
        (broken(24, &u32::MAX.to_le_bytes()), "no WAV file"),
        (broken(40, &0xffff_fffe_u32.to_le_bytes()), "cut off"),
        (broken(40, &u32::MAX.to_le_bytes()), "no WAV file"),
        (broken(40, &[0; 4]), "no sound"),
        (broken(20, &[7, 0]), "compressed"),
        (broken(34, &[0, 0]), "no WAV file"),
        (wav(6, 8_000, 16, &[0_i16; 6]), "6 channels"),
        (wav(1, 1_000, 16, &[0_i16; 6]), "1000 samples a second"),
        (wav(1, 400_000, 16, &[0_i16; 6]), "400000 samples a second"),
        (
            wav(1, 4_000, 8, &vec![0_i8; 4_000 * LONGEST_SECONDS as usize + 1]),
            "300 s",
        ),
    ] {
        let error = from_wav(&file, Rate::Hz16000).unwrap_err().to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
}

/// A chunk that says it is this long.
fn chunk(id: &[u8; 4], length: usize, body: &[u8]) -> Vec<u8> {
    [id.as_slice(), &(length as u32).to_le_bytes(), body].concat()
}

/// A WAV file of these chunks.
fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let chunks = chunks.concat();
    chunk(b"RIFF", chunks.len() + 4, &[b"WAVE".as_slice(), &chunks].concat())
}

/// The chunk of samples.
fn data(bytes: &[u8]) -> Vec<u8> {
    chunk(b"data", bytes.len(), bytes)
}

/// A description of mono at 8 kHz, as WAVE_FORMAT_PCM.
fn plain(container_bytes: u16, bits: u16) -> Vec<u8> {
    let fields = [
        [1, 1].map(u16::to_le_bytes).concat(),
        [8_000, 8_000 * u32::from(container_bytes)]
            .map(u32::to_le_bytes)
            .concat(),
        [container_bytes, bits].map(u16::to_le_bytes).concat(),
    ];
    chunk(b"fmt ", 16, &fields.concat())
}

/// The same as WAVE_FORMAT_EXTENSIBLE, of integers.
fn extensible(container_bytes: u16, valid_bits: u16) -> Vec<u8> {
    let mut format = plain(container_bytes, container_bytes * 8);
    format[4] = 40;
    format[8..10].copy_from_slice(&[0xfe, 0xff]);
    format.extend([22, valid_bits].map(u16::to_le_bytes).concat());
    format.extend(4_u32.to_le_bytes());
    format.extend(b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71");
    format
}

#[test]
fn fewer_bits_than_their_container_are_its_highest() {
    let wide = [
        0x4000_0000_i32,
        -0x4000_0000,
        0x2000_0000,
        0x0012_3400,
        -0x0100_0000,
    ];
    let expected = [16_384, -16_384, 8_192, 18, -256];
    for (container_bytes, valid_bits) in [
        (4, 0),
        (4, 17),
        (4, 20),
        (4, 24),
        (4, 31),
        (4, 32),
        (3, 20),
        (3, 24),
        (2, 12),
        (2, 16),
    ] {
        let highest = |sample: i32| sample.to_le_bytes()[4 - usize::from(container_bytes)..].to_vec();
        let file = riff(&[
            extensible(container_bytes, valid_bits),
            data(&wide.map(highest).concat()),
        ]);
        assert_eq!(
            read(&file).unwrap(),
            expected,
            "{valid_bits} bits in {container_bytes} bytes"
        );
    }
    // Not so without that form: `arecord -f S24_LE` has them lowest.
    let lowest = wide.map(|sample| (sample >> 8).to_le_bytes()).concat();
    assert_eq!(read(&riff(&[plain(4, 24), data(&lowest)])).unwrap(), expected);
}

#[test]
fn a_form_longer_than_known_is_read_as_far_as_it_is_known() {
    let mut format = extensible(2, 16);
    format[4] = 44;
    format.extend(b"more");
    assert_eq!(read(&riff(&[format, data(&[1, 0, 2, 0])])).unwrap(), [1, 2]);
}

#[test]
fn more_bits_than_a_sample_can_have_are_refused() {
    for valid_bits in [33, 64, 65, 66, 128, 32_768, u16::MAX] {
        for samples in [[0; 8].as_slice(), &[]] {
            let file = riff(&[extensible(4, valid_bits), data(samples)]);
            assert_eq!(read(&file), Err(WavError::Encoding), "{valid_bits} bits");
        }
    }
}

#[test]
fn a_chunk_of_odd_length_is_skipped_with_its_padding_or_without() {
    // The second length ends in a letter: `ata@`, without padding, looks like an id.
    for bytes in [8, 0x140] {
        let samples: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
        let expected = self::samples(&samples);
        for extra in [
            b"".as_slice(),
            b"abc",
            b"abc\0",
            b"abc\xff",
            b"abc ",
            b"abcLIST\x03\0\0\0abc",
        ] {
            for at in [0, 1] {
                let mut chunks = vec![plain(2, 16), data(&samples)];
                if !extra.is_empty() {
                    chunks.insert(at, chunk(b"LIST", 3, extra));
                }
                assert_eq!(read(&riff(&chunks)).unwrap(), expected, "{extra:?} at {at}");
            }
        }
        // Of even length, nothing is padded.
        let file = riff(&[
            plain(2, 16),
            chunk(b"fact", 4, &[4, 0, 0, 0]),
            chunk(b"LIST", 0, b""),
            data(&samples),
        ]);
        assert_eq!(read(&file).unwrap(), expected);
    }
}

#[test]
fn chunks_that_lack_something_are_said_to() {
    for (chunks, expected) in [
        (vec![], WavError::CutOff),
        (vec![plain(2, 16)], WavError::CutOff),
        (
            vec![data(&[0; 8]), plain(2, 16)],
            WavError::Unreadable("missing fmt chunk"),
        ),
        (
            vec![plain(2, 16), chunk(b"LIST", 9, b"abc"), data(&[0; 8])],
            WavError::CutOff,
        ),
        (
            vec![
                plain(2, 16),
                chunk(b"LIST", u32::MAX as usize, b"abc"),
                data(&[0; 8]),
            ],
            WavError::CutOff,
        ),
        (vec![plain(2, 16), chunk(b"LIST", 3, b"abc")], WavError::CutOff),
        (
            vec![plain(2, 16), chunk(b"data", 9_999, &[0; 8])],
            WavError::Unreadable("data chunk length is not a multiple of sample size"),
        ),
        (
            vec![plain(2, 16), chunk(b"data", 9_998, &[0; 8])],
            WavError::CutOff,
        ),
    ] {
        assert_eq!(read(&riff(&chunks)), Err(expected), "{chunks:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = from_wav(&bytes, Rate::Hz8000);
    }

    #[test]
    fn no_damage_to_a_header_makes_reading_panic_or_invents_sound(
        at in 0_usize..44, with in any::<[u8; 4]>(), cut in 0_usize..1_000
    ) {
        let mut file = to_wav(&[3; 800], Rate::Hz8000);
        let end = file.len().min(at + 4);
        file[at..end].copy_from_slice(&with[..end - at]);
        file.truncate(cut);
        if let Ok(pcm) = from_wav(&file, Rate::Hz8000) {
            prop_assert!(!pcm.is_empty());
            // From 4 kHz and 8 bits it is twice the time and twice the bytes at most.
            prop_assert!(pcm.len() <= 4 * file.len() + 4);
        }
    }

    #[test]
    fn no_damage_to_a_longer_header_makes_reading_panic_or_invents_sound(
        at in 0_usize..92, with in any::<[u8; 4]>(), cut in 0_usize..1_000
    ) {
        let mut file = riff(&[extensible(4, 24), chunk(b"LIST", 11, b"INFOISFT\x02\0\0\0"), data(&[3; 800])]);
        file[at..at + 4].copy_from_slice(&with);
        file.truncate(cut);
        if let Ok(pcm) = from_wav(&file, Rate::Hz8000) {
            prop_assert!(!pcm.is_empty());
            prop_assert!(pcm.len() <= 4 * file.len() + 4);
        }
    }
}
