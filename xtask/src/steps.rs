//! Says what is being done, with a spinner and the time for what takes long.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A line on the terminal for something that takes a while; it stays as a plain line once that is done.
pub(crate) struct Step {
    bar: ProgressBar,
    title: String,
    started: Instant,
}

impl Step {
    pub(crate) fn start(title: impl Into<String>) -> Self {
        let title = title.into();
        let style =
            ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("the style is well-formed");
        let bar = ProgressBar::new_spinner()
            .with_style(style)
            .with_message(title.clone());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self {
            bar,
            title,
            started: Instant::now(),
        }
    }

    /// What exactly is being done now.
    pub(crate) fn note(&self, what: &str) {
        self.bar.set_message(format!("{}: {what}", self.title));
    }

    /// It is done; `said` is what came of it.
    pub(crate) fn done(self, said: &str) {
        self.bar.finish_and_clear();
        println!("✓ {said} ({:.1} s)", self.started.elapsed().as_secs_f64());
    }
}

/// A heading between steps.
pub(crate) fn heading(text: &str) {
    println!("\n{text}");
}
