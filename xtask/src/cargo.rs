//! Starts cargo from within cargo.

use std::{env, process::Command};

use crate::paths;

/// Cargo as a person would start it in the repository: without what `cargo run` has told us of ourselves. `ring` looks
/// at that and would be built anew, with everything above it, each time that the two take turns.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(paths::root());
    for (name, _) in env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
    }
    cargo
}
