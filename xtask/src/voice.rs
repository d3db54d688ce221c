//! The demo's calls to voicebots: one says again what it hears, the other is a menu that is walked by keys.

use std::io::Cursor;

use anyhow::{Context, Result, bail, ensure};
use exotel_simulator::Track;
use reqwest::Client;
use serde_json::{Value, json};

use crate::{
    local::Running,
    steps::Step,
    walk::{Caller, items, text, until},
};

/// The least likeness of what the echo bot said to what it heard; the frames are kept with eight bits a sample.
const LIKENESS: f64 = 0.95;
/// How much later the bot may say it: when the caller has finished, and the bot was asked.
const LATEST_MS: u64 = 20_000;
/// What `menus/demo/menu.toml` has the menu say of opening hours.
const OPENING_HOURS: &str = "We are open from nine to seven.";

/// Lets a customer call both bots and looks at what came of it.
///
/// # Errors
/// Whatever a caller, Exotel or an administrator would have noticed, in words.
pub(crate) async fn talk(http: &Client, running: &Running, admin: &Caller<'_>, from: &str) -> Result<()> {
    let exotel = Exotel { http, running, from };
    echo(&exotel, admin).await?;
    menu(&exotel, admin).await
}

async fn echo(exotel: &Exotel<'_>, admin: &Caller<'_>) -> Result<()> {
    let step = Step::start("talking with the echo bot");
    let sid = exotel
        .call(
            "echo",
            // It greets with a beep.
            &json!([{"wait_for_quiet_ms": 500}, {"say_ms": 2_000}, {"wait_for_quiet_ms": 1_000}]),
        )
        .await?;
    let stream = exotel.stream(&sid, &step).await?;
    let said = exotel.track(&sid, "said", &stream).await?;
    let heard = exotel.track(&sid, "heard", &stream).await?;
    let (likeness, _) = said.likeness(&heard, LATEST_MS);
    ensure!(
        likeness >= LIKENESS,
        "the echo bot said something else than it heard: likeness {likeness:.3}, {} ms heard; {stream}",
        stream["heard_ms"]
    );
    ensure!(
        stream["gaps"].as_array().is_some_and(Vec::is_empty),
        "what the echo bot said had gaps: {stream}"
    );
    step.done(&format!(
        "the echo bot said again what it heard: likeness {likeness:.3}, {} ms of sound, no gap, no rule of Exotel's broken",
        stream["heard_ms"]
    ));
    let session = session(admin, &sid, "caller").await?;
    ensure!(
        session["bot_id"] == "echo",
        "the session should be the echo bot's: {session}"
    );
    println!(
        "✓ its session is on the list: {} turns, {}",
        session["turns"],
        text(&session["outcome"])
    );
    Ok(())
}

/// Interrupts the greeting by the key for opening hours, hears them and the greeting again, and asks for a person.
async fn menu(exotel: &Exotel<'_>, admin: &Caller<'_>) -> Result<()> {
    let step = Step::start("walking the menu");
    let script = json!([
        {"wait_for_voice_ms": 300}, {"digits": "1"},
        // What was being said goes on to the end of its chunk, and only then comes the answer.
        {"wait_for_quiet_ms": 2_500}, {"digits": "9"},
        {"silence_ms": 30_000},
    ]);
    let sid = exotel.call("demo", &script).await?;
    let stream = exotel.stream(&sid, &step).await?;
    ensure!(
        stream["disconnected_by"] == "bot" && stream["close_code"] == 1000,
        "the menu should have closed the socket: {stream}"
    );
    let cleared = stream["clears"].as_array().map_or(0, Vec::len);
    ensure!(
        cleared > 0,
        "the menu should have stopped speaking for the key: {stream}"
    );
    step.done(&format!(
        "walked the menu by keys, interrupting it: its greeting was heard after {} ms; {} ms of sound, no rule of Exotel's broken",
        stream["first_heard_ms"], stream["heard_ms"]
    ));
    let session = session(admin, &sid, "bot").await?;
    ensure!(
        session["bot_id"] == "demo" && session["outcome"] == "agent",
        "the menu's session should say that the call was handed on to an agent: {session}"
    );
    println!(
        "✓ its session is on the list, handed on to {}",
        text(&session["outcome"])
    );
    let [greeting, hours, person] = &lines(admin, &session, 3).await?[..] else {
        bail!("the menu's call should have three turns: {session}");
    };
    ensure!(
        greeting["heard"].is_null() && hours["heard"] == "1" && person["heard"] == "9",
        "the keys pressed were 1 and 9, the menu heard others: {greeting}, {hours}, {person}"
    );
    ensure!(
        text(&hours["said"]).starts_with(OPENING_HOURS),
        "key 1 should have had the opening hours said: {hours}"
    );
    println!("✓ its transcript has the keys, and the opening hours behind the first");
    Ok(())
}

/// The transcript of a session, once it has so many lines: nobody waits for them to be written.
async fn lines(admin: &Caller<'_>, session: &Value, count: usize) -> Result<Vec<Value>> {
    let path = format!("/api/admin/voicebot/sessions/{}", text(&session["id"]));
    let mut last = Value::Null;
    until(async || {
        last = admin.get(&path).await?;
        let lines = last["transcript"].as_array();
        Ok(lines.filter(|lines| lines.len() >= count).cloned())
    })
    .await?
    .with_context(|| format!("the transcript never had {count} lines: {last}"))
}

/// The session of the call, once it was ended by `ended_by`. Until the `stop` and the Passthru are there, which the
/// socket's `$disconnect` may overtake, another end may be told.
async fn session(admin: &Caller<'_>, sid: &str, ended_by: &str) -> Result<Value> {
    let mut last = Value::Null;
    until(async || {
        let list = admin.get("/voicebot/sessions").await?;
        let found = items(&list)?.iter().find(|entry| entry["call_sid"] == sid);
        last = found
            .with_context(|| format!("the call {sid} is not among the sessions: {list}"))?
            .clone();
        Ok((last["state"] == "ended" && last["ended_by"] == ended_by).then(|| last.clone()))
    })
    .await?
    .with_context(|| format!("the session was never ended by the {ended_by}: {last}"))
}

/// The simulator, and somebody who calls through it.
struct Exotel<'a> {
    http: &'a Client,
    running: &'a Running,
    from: &'a str,
}

impl Exotel<'_> {
    /// Calls the ExoPhone; its flow has a Voicebot applet that asks us where `bot` is, and a Passthru behind it.
    async fn call(&self, bot: &str, script: &Value) -> Result<String> {
        let file = &self.running.file;
        let (api, token) = (&file.http_url, &file.webhook_token);
        let call = json!({
            "from": self.from,
            "voicebot": {"url": format!("{api}/exotel/{bot}?token={token}")},
            "talk": {"script": script, "linger_ms": 500, "seed": 11},
            "passthru": format!("{api}/webhooks/exotel/passthru?token={token}"),
        });
        let answer = self
            .http
            .post(format!("{}/_sim/inbound", file.simulator_url))
            .json(&call)
            .send()
            .await
            .context("call the ExoPhone")?;
        let status = answer.status();
        let answer: Value = answer.json().await.context("understand the simulator")?;
        ensure!(status.is_success(), "the call was answered {status}: {answer}");
        Ok(text(&answer["sid"]).to_owned())
    }

    /// The call's stream when it is over. It must have been there, and the bot must have kept Exotel's rules.
    async fn stream(&self, sid: &str, step: &Step) -> Result<Value> {
        let url = format!("{}/_sim/streams/{sid}", self.running.file.simulator_url);
        let stream = until(async || {
            let answer = self.http.get(&url).send().await.context("look at the stream")?;
            // Until Exotel has asked where the bot is, there is none.
            if !answer.status().is_success() {
                return Ok(None);
            }
            let mut stream: Value = answer.json().await.context("understand the simulator")?;
            step.note(text(&stream["status"]));
            // Every frame of it.
            if let Some(stream) = stream.as_object_mut() {
                stream.remove("events");
            }
            let over = matches!(text(&stream["status"]), "completed" | "failed");
            Ok(over.then_some(stream))
        })
        .await?
        .with_context(|| format!("the stream of {sid} never ended"))?;
        ensure!(
            stream["status"] == "completed",
            "the bot was never on the line: {stream}"
        );
        ensure!(
            stream["violations"].as_array().is_some_and(Vec::is_empty),
            "the bot broke Exotel's rules: {}",
            stream["violations"]
        );
        Ok(stream)
    }

    /// What was `said` or `heard` on the line.
    async fn track(&self, sid: &str, which: &str, stream: &Value) -> Result<Track> {
        let url = format!(
            "{}/_sim/streams/{sid}/{which}.wav",
            self.running.file.simulator_url
        );
        let wav = self
            .http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?;
        let rate_hz = stream["rate_hz"]
            .as_u64()
            .and_then(|rate| u32::try_from(rate).ok());
        Track::read_wav(Cursor::new(wav), rate_hz.unwrap_or(8_000))
            .map_err(|problem| anyhow::anyhow!("what was {which} {problem}"))
    }
}
