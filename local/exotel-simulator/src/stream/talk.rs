//! What the person on the line says and does while a voicebot listens.

use std::collections::VecDeque;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::playback::Playback;
use super::sound::{Track, speech, to_samples};
use crate::draw::Dice;

/// How far apart two digits of one step are, in milliseconds.
const DIGIT_MS: u64 = 200;

/// One thing that the person does; each begins when the one before is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Speaks for so many milliseconds: synthetic speech, by seed.
    SayMs(u64),
    /// Is silent for so many milliseconds.
    SilenceMs(u64),
    /// Plays a WAV file, of any rate and width.
    Wav(PathBuf),
    /// Presses keys (0-9, *, #, A-D), a fifth of a second apart.
    Digits(String),
    /// Is silent until this mark was echoed: everything before it was played.
    WaitForMark(String),
    /// Is silent until the bot's voice has been heard for so many milliseconds without a break; a silence of up to 200 ms
    /// is a breath, and none.
    WaitForVoiceMs(u64),
    /// Is silent until the bot has said something since the person last did, and nothing for so many milliseconds; sound
    /// that is 50 dB below full scale or softer says nothing.
    WaitForQuietMs(u64),
    /// Hangs up; what follows is never done. `false` does nothing.
    HangUp(bool),
}

/// What the person on the line says and does: the WAV, then the script. With neither, a second and a half of synthetic
/// speech.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Talk {
    /// A WAV file to begin with.
    pub wav: Option<PathBuf>,
    /// What is done then.
    pub script: Vec<Step>,
    /// Milliseconds that the person stays on the line, silent, when all is done, before hanging up.
    pub linger_ms: u64,
    /// Milliseconds after which a step that waits gives up; that is a violation.
    pub patience_ms: u64,
    /// Seed of the synthetic speech; the simulator's own if not set.
    pub seed: Option<u64>,
}

impl Default for Talk {
    fn default() -> Self {
        Self {
            wav: None,
            script: Vec::new(),
            linger_ms: 3_000,
            patience_ms: 30_000,
            seed: None,
        }
    }
}

impl Talk {
    /// Only this.
    pub fn script(steps: impl Into<Vec<Step>>) -> Self {
        Self {
            script: steps.into(),
            ..Self::default()
        }
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = self.wav.iter().cloned().map(Step::Wav).collect();
        steps.extend(self.script.iter().cloned());
        if steps.is_empty() {
            steps.push(Step::SayMs(1_500));
        }
        steps
    }

    /// Whether it can be done: the digits are keys, the WAV files can be read.
    pub(crate) fn check(&self) -> Result<(), String> {
        for step in self.steps() {
            match step {
                Step::Digits(digits) => {
                    if let Some(wrong) = digits.chars().find(|digit| !is_key(*digit)) {
                        return Err(format!("`digits` has {wrong:?}; keys are 0-9, *, # and A-D"));
                    }
                }
                Step::Wav(path) => {
                    hound::WavReader::open(&path).map_err(|err| {
                        format!("{} is no WAV file that can be read: {err}", path.display())
                    })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads and makes all sound, so that nothing is waited for while the stream runs.
    pub(crate) fn prepare(&self, rate_hz: u32, dice: Dice, key: &str) -> Result<Source, String> {
        self.check()?;
        let dice = self.seed.map_or(dice, |seed| Dice { seed });
        let mut draws = dice.draws(&format!("speech {key}"));
        let mut acts = VecDeque::new();
        for step in self.steps() {
            acts.push_back(match step {
                Step::SayMs(ms) => Act::Sound(speech(ms, rate_hz, &mut draws)),
                Step::SilenceMs(ms) => Act::Silence(to_samples(ms, rate_hz)),
                Step::Wav(path) => Act::Sound(Track::from_wav(&path, rate_hz)?.samples),
                Step::Digits(digits) => Act::Keys(digits.chars().collect()),
                Step::WaitForMark(name) => Act::Wait(Wait::Mark(name)),
                Step::WaitForVoiceMs(ms) => Act::Wait(Wait::Voice(to_samples(ms, rate_hz))),
                Step::WaitForQuietMs(ms) => Act::Wait(Wait::Quiet(to_samples(ms, rate_hz))),
                Step::HangUp(false) => continue,
                Step::HangUp(true) => Act::HangUp,
            });
        }
        acts.push_back(Act::Silence(to_samples(self.linger_ms, rate_hz)));
        acts.push_back(Act::HangUp);
        Ok(Source {
            acts,
            done: 0,
            digit: to_samples(DIGIT_MS, rate_hz),
            patience: to_samples(self.patience_ms, rate_hz),
            voiced_before: 0,
            marks_before: 0,
        })
    }
}

fn is_key(digit: char) -> bool {
    matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D')
}

#[derive(Debug)]
enum Act {
    Sound(Vec<i16>),
    Silence(usize),
    Keys(VecDeque<char>),
    Wait(Wait),
    HangUp,
}

#[derive(Debug)]
enum Wait {
    Mark(String),
    Voice(usize),
    Quiet(usize),
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wait::Mark(name) => write!(f, "the mark {name:?}"),
            Wait::Voice(_) => write!(f, "the bot's voice"),
            Wait::Quiet(_) => write!(f, "the end of what the bot says"),
        }
    }
}

/// The person's sound, frame by frame.
#[derive(Debug)]
pub(crate) struct Source {
    acts: VecDeque<Act>,
    /// Samples of the first act that are over.
    done: usize,
    digit: usize,
    patience: usize,
    /// What the bot had said when the person last did something.
    voiced_before: usize,
    /// Marks that a step has waited for already.
    marks_before: usize,
}

/// What happens during one frame.
#[derive(Debug, Default)]
pub(crate) struct Moment {
    pub(crate) samples: Vec<i16>,
    /// Keys pressed.
    pub(crate) keys: Vec<char>,
    /// What was waited for in vain.
    pub(crate) in_vain: Option<String>,
    /// The person hangs up at the end of `samples`, which may be shorter than a frame.
    pub(crate) hangs_up: bool,
}

impl Source {
    /// The next `length` samples, given what the person has heard so far.
    pub(crate) fn next(&mut self, length: usize, heard: &Playback) -> Moment {
        let mut moment = Moment::default();
        while moment.samples.len() < length {
            let room = length - moment.samples.len();
            let Some(act) = self.acts.front_mut() else { break };
            match act {
                Act::Sound(samples) => {
                    let until = samples.len().min(self.done + room);
                    moment.samples.extend_from_slice(&samples[self.done..until]);
                    self.done = until;
                    if until == samples.len() {
                        self.spoke(heard);
                    }
                }
                Act::Silence(all) => {
                    let silent = room.min(*all - self.done);
                    moment.samples.resize(moment.samples.len() + silent, 0);
                    self.done += silent;
                    if self.done == *all {
                        self.over();
                    }
                }
                Act::Keys(keys) => match keys.pop_front() {
                    Some(key) => {
                        moment.keys.push(key);
                        self.acts.push_front(Act::Silence(self.digit));
                    }
                    None => self.spoke(heard),
                },
                Act::Wait(wait) => {
                    let came = match wait {
                        Wait::Mark(name) => {
                            let played = heard.mark_played(name, self.marks_before);
                            self.marks_before = played.unwrap_or(self.marks_before);
                            played.is_some()
                        }
                        Wait::Voice(wanted) => heard.voice_in_a_row() >= *wanted,
                        Wait::Quiet(wanted) => {
                            heard.voiced() > self.voiced_before && heard.quiet_for() >= *wanted
                        }
                    };
                    if came {
                        self.over();
                    } else if self.done >= self.patience {
                        moment.in_vain = Some(wait.to_string());
                        self.over();
                    } else {
                        // What is waited for is looked at once per frame.
                        moment.samples.resize(length, 0);
                        self.done += room;
                    }
                }
                Act::HangUp => break,
            }
        }
        // Who has nothing more to do hangs up now, not a frame later.
        loop {
            match self.acts.front() {
                Some(Act::Silence(all)) if *all == self.done => self.over(),
                Some(Act::Keys(keys)) if keys.is_empty() => self.spoke(heard),
                _ => break,
            }
        }
        moment.hangs_up = matches!(self.acts.front(), None | Some(Act::HangUp));
        moment
    }

    fn over(&mut self) {
        self.acts.pop_front();
        self.done = 0;
    }

    fn spoke(&mut self, heard: &Playback) {
        self.over();
        self.voiced_before = heard.voiced();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(talk: &Talk) -> Source {
        talk.prepare(8_000, Dice { seed: 1 }, "x").unwrap()
    }

    #[test]
    fn a_script_is_done_step_by_step_and_the_person_lingers() {
        let talk: Talk = serde_json::from_str(
            r#"{"script": [{"say_ms": 150}, {"silence_ms": 50}, {"digits": "1#"}], "linger_ms": 100}"#,
        )
        .unwrap();
        let (mut source, heard) = (source(&talk), Playback::new(8_000, 0));
        let first = source.next(1_600, &heard);
        assert!(first.samples[..1_200].iter().any(|sample| *sample != 0));
        assert!(first.samples[1_200..].iter().all(|sample| *sample == 0));
        assert!(first.keys.is_empty() && !first.hangs_up);
        let second = source.next(1_600, &heard);
        assert_eq!((second.keys, second.samples.len()), (vec!['1'], 1_600));
        let third = source.next(1_600, &heard);
        assert_eq!((third.keys, third.hangs_up), (vec!['#'], false));
        let last = source.next(1_600, &heard);
        assert_eq!((last.samples.len(), last.hangs_up), (800, true));
    }

    #[test]
    fn a_wait_ends_with_the_mark_or_with_patience() {
        let talk = Talk {
            patience_ms: 300,
            linger_ms: 0,
            ..Talk::script([
                Step::WaitForMark("a".to_owned()),
                Step::WaitForMark("a".to_owned()),
            ])
        };
        let (mut source, mut heard) = (source(&talk), Playback::new(8_000, 0));
        assert_eq!(source.next(800, &heard).samples.len(), 800);
        heard.push_mark("a".to_owned());
        heard.advance(800);
        // The first wait is over; the second wants another echo of the same name.
        for _ in 0..3 {
            assert!(!source.next(800, &heard).hangs_up);
        }
        let last = source.next(800, &heard);
        assert_eq!(
            (last.hangs_up, last.in_vain.as_deref()),
            (true, Some("the mark \"a\""))
        );
    }

    #[test]
    fn quiet_counts_only_after_the_bot_has_answered() {
        let talk = Talk {
            linger_ms: 0,
            ..Talk::script([Step::SayMs(100), Step::WaitForQuietMs(200)])
        };
        let (mut source, mut heard) = (source(&talk), Playback::new(8_000, 0));
        for at in 1..=5 {
            heard.advance(at * 800);
            assert!(!source.next(800, &heard).hangs_up, "the bot has said nothing yet");
        }
        heard.push_chunk(vec![5_000; 1_600]);
        heard.advance(5_600);
        assert!(!source.next(800, &heard).hangs_up, "it has only just ended");
        heard.advance(7_200);
        assert!(source.next(800, &heard).hangs_up);
    }

    #[test]
    fn what_cannot_be_done_is_said_before_the_call() {
        let keys = Talk::script([Step::Digits("1x".to_owned())]);
        assert!(keys.check().unwrap_err().contains("'x'"));
        let wav = Talk {
            wav: Some("/nowhere/in.wav".into()),
            ..Talk::default()
        };
        assert!(wav.check().unwrap_err().contains("/nowhere/in.wav"));
        assert!(serde_json::from_str::<Talk>(r#"{"script": [{"shout_ms": 1}]}"#).is_err());
    }
}
