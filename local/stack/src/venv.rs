//! The Python virtual environment that MiniStack, the SAM translator and cfn-lint live in.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};

use crate::Error;

/// The oldest Python that MiniStack runs on.
const OLDEST: (u32, u32) = (3, 10);

/// Prints the version, or says which module is missing.
const PROBE: &str = "import sys\ntry:\n import venv, ensurepip\nexcept ImportError as e: print(sys.version_info[0], \
                     sys.version_info[1], e.name)\nelse: print(sys.version_info[0], sys.version_info[1])";

/// A virtual environment that holds exactly what its requirements file names.
#[derive(Debug, Clone)]
pub struct Venv {
    dir: PathBuf,
}

impl Venv {
    /// Makes the virtual environment `dir`, unless it is there already with these `requirements` (the text of a
    /// `pip` requirements file). Downloads from PyPI, as `pip` is configured. `note` hears what takes long.
    ///
    /// # Errors
    /// [`Error::Python`] when no Python of 3.10 or later with its `venv` module is found, [`Error::Program`] when
    /// `pip` fails, with its last lines.
    pub fn make(dir: &Path, requirements: &str, note: impl Fn(&str)) -> Result<Self, Error> {
        let venv = Self { dir: dir.to_owned() };
        let parent = dir.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(Error::file("make", parent))?;
        // Two commands at once must not install into one directory.
        let lock_path = dir.with_extension("lock");
        let lock = File::create(&lock_path).map_err(Error::file("create", &lock_path))?;
        lock.lock().map_err(Error::file("lock", &lock_path))?;

        let mark = dir.join("requirements.sha256");
        let wanted = hex(&Sha256::digest(requirements));
        if venv.python().exists() && fs::read_to_string(&mark).is_ok_and(|found| found == wanted) {
            return Ok(venv);
        }
        let python = find_python()?;
        note(&format!(
            "making a Python environment with {python} in {}",
            dir.display()
        ));
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(Error::file("remove", dir))?;
        }
        run(
            Command::new(&python).args(["-m", "venv"]).arg(dir),
            "python -m venv",
        )?;
        let list = dir.join("requirements.txt");
        fs::write(&list, requirements).map_err(Error::file("write", &list))?;
        note("installing its packages from PyPI");
        run(
            Command::new(venv.python())
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--no-deps",
                    "-r",
                ])
                .arg(&list),
            "pip install",
        )?;
        fs::write(&mark, wanted).map_err(Error::file("write", &mark))?;
        Ok(venv)
    }

    /// Its Python.
    pub fn python(&self) -> PathBuf {
        self.program("python")
    }

    /// A program that a package of it brought.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }
}

/// The first Python that will do, by the names it goes by.
fn find_python() -> Result<String, Error> {
    let mut tried = String::new();
    let newer = (OLDEST.1..=20).rev().map(|minor| format!("python3.{minor}"));
    for name in ["python3".to_owned()]
        .into_iter()
        .chain(newer)
        .chain(["python".to_owned()])
    {
        let Ok(answer) = Command::new(&name)
            .args(["-c", PROBE])
            .stderr(Stdio::null())
            .output()
        else {
            continue;
        };
        if !answer.status.success() {
            continue;
        }
        match judge(&String::from_utf8_lossy(&answer.stdout)) {
            Verdict::Good => return Ok(name),
            Verdict::Bad(why) => write!(tried, "\n  {name}: {why}").expect("writing to a String cannot fail"),
        }
    }
    if tried.is_empty() {
        tried = "\n  no python3 is on the PATH".to_owned();
    }
    Err(Error::Python(format!(
        "Python {}.{} or later with its venv module is needed, for the local AWS emulator:{tried}\nInstall it, for \
         instance `sudo apt install python3 python3-venv` (Debian, Ubuntu), `sudo dnf install python3` (Fedora) or \
         `brew install python` (macOS), then try again.",
        OLDEST.0, OLDEST.1,
    )))
}

enum Verdict {
    Good,
    Bad(String),
}

/// Judges what [`PROBE`] printed: `3 11`, or `3 11 ensurepip` when that module is missing.
fn judge(answer: &str) -> Verdict {
    let mut words = answer.split_whitespace();
    let mut number = || words.next().and_then(|word| word.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (number(), number()) else {
        return Verdict::Bad("it does not tell its version".to_owned());
    };
    if (major, minor) < OLDEST {
        return Verdict::Bad(format!("it is {major}.{minor}, too old"));
    }
    match words.next() {
        None => Verdict::Good,
        Some(module) => Verdict::Bad(format!(
            "{major}.{minor}, but its module {module} is missing (python3-venv)"
        )),
    }
}

fn run(command: &mut Command, name: &str) -> Result<(), Error> {
    let answer = command
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io(format!("start {name}")))?;
    if answer.status.success() {
        return Ok(());
    }
    let said = [answer.stdout, answer.stderr].concat();
    Err(Error::Program(format!(
        "{name} failed:\n{}",
        last_lines(&String::from_utf8_lossy(&said), 15)
    )))
}

pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_without_venv_or_too_old_is_refused_with_the_reason() {
        assert!(matches!(judge("3 11\n"), Verdict::Good));
        assert!(matches!(judge("3 10"), Verdict::Good));
        for (answer, says) in [
            ("3 9\n", "too old"),
            ("2 7", "too old"),
            ("3 12 ensurepip", "ensurepip"),
            ("?", "version"),
        ] {
            let Verdict::Bad(why) = judge(answer) else {
                panic!("{answer} was taken")
            };
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn the_last_lines_are_the_last() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
