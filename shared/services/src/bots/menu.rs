//! A menu of prompts and keys, see [`domain::voicebot::menu`].

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use audio::WavError;
use domain::voicebot::{
    Heard, Input, Rate,
    menu::{Place, Tree},
};
use serde::Deserialize;

use super::{Reply, Said, Turn};

/// A prompt: a WAV file, and its sound at each rate that was asked for.
pub(super) struct Prompt {
    wav: Cow<'static, [u8]>,
    sounds: [OnceLock<Result<Arc<[u8]>, WavError>>; Rate::ALL.len()],
}

impl Prompt {
    /// The prompt of a WAV file, which is read when it is asked for.
    pub(super) fn new(wav: impl Into<Cow<'static, [u8]>>) -> Self {
        Self {
            wav: wav.into(),
            sounds: Default::default(),
        }
    }

    /// Its PCM, converted once.
    pub(super) fn at(&self, rate: Rate) -> Result<Arc<[u8]>, WavError> {
        let index = Rate::ALL
            .iter()
            .position(|known| *known == rate)
            .unwrap_or_default();
        self.sounds[index]
            .get_or_init(|| audio::from_wav(&self.wav, rate).map(Arc::from))
            .clone()
    }
}

/// A tree with its prompts.
pub(super) struct Menu {
    tree: Tree,
    /// What prompts say, in words.
    texts: BTreeMap<String, String>,
    prompts: BTreeMap<String, Prompt>,
}

/// A file `menu.toml`: a tree, and the words of its prompts.
#[derive(Deserialize)]
struct Texts {
    #[serde(default)]
    texts: BTreeMap<String, String>,
}

impl Menu {
    /// Reads a `menu.toml`, with prompts by name. The error says everything that is wrong.
    pub(super) fn new(text: &str, prompts: BTreeMap<String, Prompt>) -> Result<Self, String> {
        let mut table: toml::Table = text.parse().map_err(|problem| format!("menu.toml: {problem}"))?;
        let texts = table
            .remove("texts")
            .map(|texts| toml::Table::from_iter([("texts".to_owned(), texts)]));
        let Texts { texts } = texts
            .unwrap_or_default()
            .try_into()
            .map_err(|problem| format!("menu.toml, [texts]: {problem}"))?;
        let tree: Tree = table
            .try_into()
            .map_err(|problem| format!("menu.toml: {problem}"))?;
        let mut wrong = Vec::new();
        if let Err(problems) = tree.validate() {
            wrong.extend(problems.iter().map(|problem| format!("menu.toml: {problem}")));
        }
        let missing = tree
            .prompts()
            .into_iter()
            .filter(|name| !prompts.contains_key(*name));
        wrong.extend(missing.map(|name| format!("there is no {name}.wav, which menu.toml says")));
        let unknown = texts.keys().filter(|name| !prompts.contains_key(*name));
        wrong.extend(unknown.map(|name| format!("menu.toml, [texts]: there is no {name}.wav")));
        if wrong.is_empty() {
            Ok(Self { tree, texts, prompts })
        } else {
            Err(wrong.join("; "))
        }
    }

    #[cfg(test)]
    pub(super) fn prompts(&self) -> impl Iterator<Item = (&str, &Prompt)> {
        self.prompts.iter().map(|(name, prompt)| (name.as_str(), prompt))
    }

    /// What the menu says to a turn, from the place that its last answer led to.
    pub(super) fn answer(&self, turn: &Turn<'_>, state: Option<&str>) -> Result<Reply, String> {
        let place = state.and_then(|state| serde_json::from_str::<Place>(state).ok());
        let input = match turn.said {
            Said::Start => Input::Start,
            // A menu does not listen to what is said, only that something is.
            Said::Speech(_) => Input::Speech(Heard {
                first: 0,
                last: 0,
                frames: 0,
                others: Vec::new(),
            }),
            Said::Digits(digits) => Input::Digits(digits.clone()),
            Said::Silence(times) => Input::Silence(*times),
        };
        let reply = self.tree.answer(place, &input);
        let mut audio = Vec::new();
        for name in &reply.say {
            let prompt = self
                .prompts
                .get(*name)
                .ok_or_else(|| format!("there is no {name}.wav"))?;
            let sound = prompt
                .at(turn.rate)
                .map_err(|problem| format!("{name}.wav: {problem}"))?;
            audio.extend_from_slice(&sound);
        }
        let words = reply.say.iter().map(|name| match self.texts.get(*name) {
            Some(text) => text.clone(),
            None => format!("[{name}]"),
        });
        let words: Vec<_> = words.collect();
        let state = serde_json::to_string(&reply.place).map_err(|problem| problem.to_string())?;
        Ok(Reply {
            audio,
            then: reply.then,
            state: Some(state),
            heard: None,
            said: (!words.is_empty()).then(|| words.join(" ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = r#"
        start = "welcome"
        [nodes.welcome]
        say = ["hello", "choose"]
        keys = { 1 = "hang_up" }
        [texts]
        hello = "Hello."
    "#;

    fn prompts(names: &[&str]) -> BTreeMap<String, Prompt> {
        let wav = audio::to_wav(&[1; 1_600], Rate::Hz8000);
        let prompt = |name: &&str| ((*name).to_owned(), Prompt::new(wav.clone()));
        names.iter().map(prompt).collect()
    }

    #[test]
    fn everything_that_is_wrong_with_a_menu_is_said_at_once() {
        assert!(Menu::new(TREE, prompts(&["hello", "choose", "unused"])).is_ok());
        for (text, says) in [
            ("start = ", vec!["menu.toml"]),
            ("start = 7", vec!["menu.toml", "start"]),
            (&TREE.replace("say", "says"), vec!["menu.toml", "says"]),
            (&TREE.replace("\"Hello.\"", "7"), vec!["[texts]"]),
            (
                &TREE.replace("start = \"welcome\"", "start = \"nowhere\""),
                vec!["nowhere", "there is no choose.wav"],
            ),
            (
                &TREE.replace("hello =", "hallo ="),
                vec!["[texts]: there is no hallo.wav"],
            ),
        ] {
            let problem = Menu::new(text, prompts(&["hello"])).err().unwrap();
            for part in says {
                assert!(problem.contains(part), "{text}: {problem} does not say {part}");
            }
        }
    }

    #[test]
    fn a_prompt_is_converted_once_for_each_rate() {
        let prompts = prompts(&["hello"]);
        let first = prompts["hello"].at(Rate::Hz24000).unwrap();
        assert_eq!(first.len(), 4_800);
        assert!(Arc::ptr_eq(&first, &prompts["hello"].at(Rate::Hz24000).unwrap()));
        assert_eq!(prompts["hello"].at(Rate::Hz8000).unwrap().len(), 1_600);
        assert_eq!(Prompt::new(&b"MP3"[..]).at(Rate::Hz8000), Err(WavError::CutOff));
    }
}
