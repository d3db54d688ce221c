//! The menus and prompts that are built in: the folder `menus/` of the repository, as it was when this was compiled.

use std::collections::BTreeMap;

use include_dir::{Dir, include_dir};

use super::menu::{Menu, Prompt};

static MENUS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../menus");

/// The menu in the folder of this name.
pub(super) fn menu(name: &str) -> Result<Menu, String> {
    let names: Vec<_> = MENUS.dirs().filter_map(|dir| dir.path().to_str()).collect();
    let dir = MENUS.get_dir(name).ok_or_else(|| {
        format!(
            "there is no menu \"{name}\"; make a folder menus/{name}, or use one of: {}",
            names.join(", ")
        )
    })?;
    let text = dir
        .get_file(format!("{name}/menu.toml"))
        .and_then(|file| file.contents_utf8())
        .ok_or_else(|| format!("there is no menus/{name}/menu.toml, or it is not UTF-8"))?;
    let wavs = dir.files().filter_map(|file| {
        let wav = file.path().extension()? == "wav";
        let prompt = file.path().file_stem()?.to_str()?.to_owned();
        wav.then(|| (prompt, Prompt::new(file.contents())))
    });
    let prompts: BTreeMap<_, _> = wavs.collect();
    Menu::new(text, prompts).map_err(|problem| format!("menus/{name}: {problem}"))
}

/// What a caller hears when a bot does not answer.
pub(super) fn excuse() -> Prompt {
    let wav = MENUS.get_file("fallback.wav").map(|file| file.contents());
    Prompt::new(wav.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use domain::voicebot::Rate;

    use super::*;

    #[test]
    fn every_menu_of_the_repository_can_be_used_and_every_prompt_heard() {
        let names: Vec<_> = MENUS.dirs().map(|dir| dir.path().to_str().unwrap()).collect();
        assert!(names.contains(&"demo"), "{names:?}");
        for name in names {
            let menu = menu(name).unwrap_or_else(|problem| panic!("{problem}"));
            for (prompt, sound) in menu.prompts() {
                let file = format!("menus/{name}/{prompt}.wav");
                for rate in Rate::ALL {
                    let pcm = sound
                        .at(rate)
                        .unwrap_or_else(|problem| panic!("{file}: {problem}"));
                    assert!(
                        rate.ms_of_bytes(pcm.len()) >= 100,
                        "{file} is too short to be heard"
                    );
                }
            }
        }
        let excuse = excuse()
            .at(Rate::Hz16000)
            .expect("menus/fallback.wav is a WAV file");
        assert!(Rate::Hz16000.ms_of_bytes(excuse.len()) > 1_000);
    }

    #[test]
    fn a_menu_that_is_not_there_is_told_with_those_that_are() {
        let problem = menu("nowhere").err().unwrap();
        assert!(
            problem.contains("menus/nowhere") && problem.contains("demo"),
            "{problem}"
        );
    }
}
