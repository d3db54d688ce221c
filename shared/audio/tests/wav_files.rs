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
}
