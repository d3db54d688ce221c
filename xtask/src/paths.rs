//! Where things lie.

use std::path::{Path, PathBuf};

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
        .to_owned()
}

/// What the local stack keeps, git-ignored.
pub(crate) fn local() -> PathBuf {
    root().join(".local")
}

/// The addresses of the running stack.
pub(crate) fn stack_file() -> PathBuf {
    local().join("stack.json")
}
