//! The bot that says again what it hears, to try a line with.

use domain::voicebot::Rate;

use super::{Reply, Said, Turn};

/// The tone that stands for what has no sound of its own.
const BEEP_HZ: f32 = 440.0;
const BEEP_MS: u64 = 150;
const PAUSE_MS: u64 = 100;

/// The caller's words; a beep for each key, one for the beginning and one for silence.
pub(super) fn answer(turn: &Turn<'_>) -> Reply {
    let beeps = match turn.said {
        Said::Speech(pcm) => return Reply::listening(pcm.clone()),
        Said::Digits(digits) => digits.len().max(1),
        Said::Start | Said::Silence(_) => 1,
    };
    Reply::listening(beep(turn.rate).repeat(beeps))
}

/// A beep and a pause.
fn beep(rate: Rate) -> Vec<u8> {
    let step = BEEP_HZ * std::f32::consts::TAU / rate.hz() as f32;
    let samples = rate.bytes_of_ms(BEEP_MS) / 2;
    let tone = (0..samples).map(|n| {
        // Eased in and out over a sixteenth, or it clicks.
        let edge = n.min(samples - n) as f32 * 16.0 / samples as f32;
        (8_000.0 * edge.min(1.0) * (step * n as f32).sin()) as i16
    });
    let mut pcm: Vec<u8> = tone.flat_map(i16::to_le_bytes).collect();
    pcm.resize(pcm.len() + rate.bytes_of_ms(PAUSE_MS), 0);
    pcm
}
