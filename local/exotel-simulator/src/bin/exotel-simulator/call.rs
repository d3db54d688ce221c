//! `exotel-simulator call`: one call to anybody's bot, and a report of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use exotel_simulator::{
    Ask, Faults, Numbers, Step, StreamCall, StreamOptions, StreamReport, StreamStatus, Talk, Target, Track,
};

/// Calls a voicebot as Exotel's AgentStream does, and judges it.
///
/// Dials the bot's WebSocket, speaks for the caller in real time, plays out what the bot sends, echoes its marks, honours
/// clear, and prints what was seen: how the handshake went, when the bot was first heard, every chunk that breaks
/// Exotel's rules, gaps, and who hung up. Exit code 1 when the bot broke a rule or could not be reached.
///
/// Without --wav, --script and --digits the caller says something for a second and a half.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The bot's ws:// or wss:// URL. user:password@ becomes Basic authentication, ?sample-rate= the rate, up to three
    /// other parameters custom_parameters.
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "connect",
        required_unless_present = "connect"
    )]
    wss: Option<String>,

    /// An http:// or https:// endpoint that answers {"url": "wss://…"} for each call, asked by GET as Exotel's Voicebot
    /// applet does.
    #[arg(long, value_name = "URL")]
    connect: Option<String>,

    /// Ask the endpoint by POST with a JSON body instead.
    #[arg(long, requires = "connect")]
    post: bool,

    /// Samples per second: 8000, 16000 or 24000, in the place of the URL's sample-rate.
    #[arg(long, value_name = "HZ", conflicts_with = "connect")]
    rate: Option<u32>,

    /// What the caller says first: a WAV file of any rate, 8 to 32 bits or floats.
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,

    /// What the caller does then: a JSON array of steps such as {"say_ms": 1500}, {"silence_ms": 500}, {"wav": "a.wav"},
    /// {"digits": "12"}, {"wait_for_mark": "greeting"}, {"wait_for_voice_ms": 300}, {"wait_for_quiet_ms": 800},
    /// {"hang_up": true}.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// Keys that the caller presses after that.
    #[arg(long, value_name = "KEYS")]
    digits: Option<String>,

    /// Write what the caller heard to this WAV file, from the stream's start on.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,

    /// Milliseconds that the caller stays on the line when all is said and done.
    #[arg(long, value_name = "MS", default_value_t = Talk::default().linger_ms)]
    linger_ms: u64,

    /// Milliseconds after which a step that waits for the bot gives up; that counts as a violation.
    #[arg(long, value_name = "MS", default_value_t = Talk::default().patience_ms)]
    patience_ms: u64,

    /// Who calls.
    #[arg(long, value_name = "NUMBER", default_value = "09811109999")]
    from: String,

    /// The ExoPhone called.
    #[arg(long, value_name = "NUMBER", default_value = "08045550100")]
    to: String,

    /// Account SID.
    #[arg(long, default_value = "acme1")]
    account: String,

    /// CustomField, for the endpoint of --connect.
    #[arg(long, value_name = "TEXT", requires = "connect")]
    custom_field: Option<String>,

    /// Write numbers as numbers instead of strings.
    #[arg(long)]
    ints: bool,

    /// Milliseconds of sound in each frame.
    #[arg(long, value_name = "MS", default_value_t = StreamOptions::default().frame_ms)]
    frame_ms: u64,

    /// Milliseconds that the bot's sound waits before it is played when there was none.
    #[arg(long, value_name = "MS", default_value_t = StreamOptions::default().jitter_ms)]
    jitter_ms: u64,

    /// Milliseconds of sound that may wait when a chunk comes, besides a tenth of what was said; more is a violation.
    #[arg(long, value_name = "MS", default_value_t = StreamOptions::default().most_ahead_ms)]
    most_ahead_ms: u64,

    /// Never echo the marks whose sound a clear dropped.
    #[arg(long)]
    drop_cleared_marks: bool,

    /// What goes wrong on the way: a JSON object as PUT /_sim/faults takes it, e.g. {"seed": 7, "stream": [{"fault":
    /// "lose", "rate": 0.02}]}.
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,

    /// Trust the certificate authority in this PEM file, too.
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,

    /// Seed of sids, synthetic speech and faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|err| format!("cannot read {}: {err}", path.display()))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T, String> {
    serde_json::from_str(&read(path)?).map_err(|err| format!("{} is no {what}: {err}", path.display()))
}

/// The URL with this rate in the place of its own.
fn with_rate(url: &str, rate: u32) -> Result<String, String> {
    let mut url = url::Url::parse(url).map_err(|err| format!("--wss is no URL: {err}"))?;
    let pieces = url.query().unwrap_or_default().split('&');
    let mut pieces: Vec<String> = pieces
        .filter(|piece| !piece.is_empty() && !piece.starts_with("sample-rate="))
        .map(str::to_owned)
        .collect();
    pieces.push(format!("sample-rate={rate}"));
    url.set_query(Some(&pieces.join("&")));
    Ok(url.into())
}

impl Call {
    fn stream_call(&self) -> Result<StreamCall, String> {
        let target = match (&self.wss, &self.connect) {
            (Some(url), _) => Target::Stream(match self.rate {
                Some(rate) => with_rate(url, rate)?,
                None => url.clone(),
            }),
            (None, Some(url)) => Target::Connect(url.clone(), if self.post { Ask::Post } else { Ask::Get }),
            (None, None) => return Err("--wss or --connect is needed".to_owned()),
        };
        let mut script: Vec<Step> = match &self.script {
            Some(path) => read_json(path, "array of steps")?,
            None => Vec::new(),
        };
        script.extend(self.digits.clone().map(Step::Digits));
        Ok(StreamCall {
            talk: Talk {
                wav: self.wav.clone(),
                script,
                linger_ms: self.linger_ms,
                patience_ms: self.patience_ms,
                seed: None,
            },
            options: StreamOptions {
                numbers: if self.ints {
                    Numbers::Ints
                } else {
                    Numbers::Strings
                },
                frame_ms: self.frame_ms,
                jitter_ms: self.jitter_ms,
                most_ahead_ms: self.most_ahead_ms,
                echo_cleared_marks: !self.drop_cleared_marks,
                ..StreamOptions::default()
            },
            faults: match &self.faults {
                Some(path) => read_json(path, "set of faults")?,
                None => Faults::default(),
            },
            from: self.from.clone(),
            to: self.to.clone(),
            account: self.account.clone(),
            custom_field: self.custom_field.clone(),
            seed: self.seed,
            trusted: self
                .trust
                .iter()
                .map(|path| read(path))
                .collect::<Result<_, _>>()?,
            ..StreamCall::to(target)
        })
    }

    /// Places the call. Answers what to print, and whether all went well.
    pub(crate) async fn run(self) -> Result<(String, bool), String> {
        let report = self.stream_call()?.place().await?;
        if let Some(path) = &self.record {
            std::fs::write(path, report.heard.to_wav())
                .map_err(|err| format!("cannot write {}: {err}", path.display()))?;
        }
        let well = report.view.violations.is_empty() && report.view.status == StreamStatus::Completed;
        let text = if self.json {
            serde_json::to_string_pretty(&report.view)
                .map_err(|err| format!("the report cannot be written: {err}"))?
                + "\n"
        } else {
            summary(&report)
        };
        Ok((text, well))
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03} s", ms / 1_000, ms % 1_000)
}

/// The report in words.
fn summary(report: &StreamReport) -> String {
    let view = &report.view;
    let mut text = String::new();
    let mut line = |name: &str, what: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<13} {what}");
    };
    for handshake in &view.handshakes {
        line(
            "handshake",
            match (&handshake.error, handshake.status) {
                (None, _) => format!("101 after {} ms", handshake.ms),
                (Some(error), _) => format!("failed after {} ms: {error}", handshake.ms),
            },
        );
    }
    if view.started.is_some() {
        line(
            "stream",
            format!(
                "{} at {} Hz, {}",
                view.stream_sid,
                view.rate_hz,
                seconds(view.duration_ms)
            ),
        );
        line(
            "first audio",
            match (view.first_audio_ms, view.first_heard_ms) {
                (Some(came), Some(heard)) => format!("after {came} ms, heard after {heard} ms"),
                (Some(came), None) => format!("after {came} ms, never heard"),
                _ => "none".to_owned(),
            },
        );
        line(
            "chunks",
            format!(
                "{} with {} bytes; {} heard, at most {} ahead",
                view.chunks,
                view.chunk_bytes,
                seconds(view.heard_ms),
                seconds(view.most_ahead_ms)
            ),
        );
        let echoed = view.marks.iter().filter(|mark| mark.echoed_ms.is_some()).count();
        line("marks", format!("{} received, {echoed} echoed", view.marks.len()));
        line("clears", view.clears.len().to_string());
        let gaps: Vec<String> = view
            .gaps
            .iter()
            .map(|gap| format!("{} ms at {}", gap.ms, seconds(gap.at_ms)))
            .collect();
        line(
            "gaps heard",
            match gaps.as_slice() {
                [] => "none".to_owned(),
                some => format!("{}: {}", some.len(), some.join(", ")),
            },
        );
        if let Some((likeness, delay_ms)) = echo(&report.said, &report.heard) {
            line(
                "echo",
                format!("what was heard is what was said, {delay_ms} ms later ({likeness:.3})"),
            );
        }
        if view.left_off > 0 {
            let more = format!(
                "{} marks, clears, gaps, violations and events more",
                view.left_off
            );
            line("left off", more);
        }
        if view.unheard_ms > 0 {
            line(
                "unheard",
                format!("{} waited to be played at the end", seconds(view.unheard_ms)),
            );
        }
    }
    let by = view.disconnected_by.map_or("nobody", |by| by.as_str());
    let how = match (&view.stop_reason, view.close_code, &view.error) {
        (_, _, Some(error)) => format!(" ({error})"),
        (Some(reason), _, _) => format!(" (stop: {reason})"),
        (None, Some(code), _) => format!(" (close code {code})"),
        (None, None, None) => String::new(),
    };
    line("ended by", format!("{by}{how}"));
    line("violations", view.violations.len().to_string());
    for violation in &view.violations {
        let _ = writeln!(text, "  at {}: {}", seconds(violation.at_ms), violation.detail);
    }
    text
}

/// Whether the bot is an echo, and how late.
fn echo(said: &Track, heard: &Track) -> Option<(f64, u64)> {
    let (likeness, delay_ms) = said.likeness(heard, 3_000);
    (likeness >= 0.8).then_some((likeness, delay_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_takes_the_place_of_the_urls_own() {
        let with = |url: &str| with_rate(url, 16_000).unwrap();
        assert_eq!(
            with("ws://b.example.in/x"),
            "ws://b.example.in/x?sample-rate=16000"
        );
        assert_eq!(
            with("ws://u:p@b.example.in/x?sample-rate=8000&lead=7%203"),
            "ws://u:p@b.example.in/x?lead=7%203&sample-rate=16000"
        );
    }

    #[test]
    fn a_failed_call_says_why() {
        let mut report = StreamReport::default();
        report.view.error = Some("the handshake was answered with 403 Forbidden".to_owned());
        let text = summary(&report);
        assert!(
            text.contains("ended by      nobody (the handshake was answered with 403 Forbidden)"),
            "{text}"
        );
    }
}
