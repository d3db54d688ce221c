//! A menu that is added is built in: the compiler alone sees only files that were there before.

use std::io::Write;

fn main() -> std::io::Result<()> {
    if std::env::var_os("CARGO_FEATURE_BOTS").is_some() {
        writeln!(std::io::stdout(), "cargo:rerun-if-changed=../../menus")
    } else {
        writeln!(std::io::stdout(), "cargo:rerun-if-changed=build.rs")
    }
}
