//! The way of a caller's frame, from API Gateway's envelope to what the session decides, beside a bare base64 decode of the
//! same frame. `frame-path <rate in Hz> <passes>` prints nanoseconds of CPU time per frame as JSON; with `--envelopes` it
//! prints the envelopes, a line each, for a peer to read.

#![expect(clippy::print_stdout, reason = "it prints its figures")]

use std::{error::Error, hint::black_box, io::Write, time::Duration};

use domain::voicebot::{Event, Listen, Message, Rate, Rules, Session, Then};
use exotel::stream::Incoming;
use jiff::{SignedDuration, Timestamp};
use lambda_kit::websocket;
use nix::time::ClockId;
use serde_json::json;

const STREAM: &str = "4e1c9a70d25b4f83a6c0e7d19b52193w";
/// Frames of a pass: more than a minute of a call, a third of it speech.
const FRAMES: u64 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let usage = "usage: frame-path <rate in Hz> <passes> | frame-path <rate in Hz> --envelopes";
    let [_, rate, passes] = &arguments[..] else {
        return Err(usage.into());
    };
    let rate = Rate::from_hz(rate.parse()?).ok_or("the rate is 8000, 16000 or 24000")?;
    let payloads: Vec<String> = (0..FRAMES).map(|n| payload(n, rate)).collect();
    let envelopes: Vec<String> = (0..FRAMES)
        .zip(&payloads)
        .map(|(n, payload)| envelope(n + 2, payload))
        .collect();
    if passes == "--envelopes" {
        let mut out = std::io::stdout().lock();
        for envelope in &envelopes {
            writeln!(out, "{envelope}")?;
        }
        return Ok(());
    }
    let passes: u32 = passes.parse()?;
    // CPU time, since others may have the core in between; the first passes warm caches and the branch predictor.
    let each = |pass: &dyn Fn() -> Result<u64, Box<dyn Error>>| -> Result<u128, Box<dyn Error>> {
        for _ in 0..passes.div_ceil(10) {
            black_box(pass()?);
        }
        let began = cpu_time()?;
        for _ in 0..passes {
            black_box(pass()?);
        }
        let took = cpu_time()? - began;
        Ok(took.as_nanos() / u128::from(passes) / u128::from(FRAMES))
    };
    let bare = each(&|| bare_pass(&payloads))?;
    let path = each(&|| path_pass(&envelopes, rate, false))?;
    let with_session = each(&|| path_pass(&envelopes, rate, true))?;
    println!(
        "{}",
        json!({"bare": bare, "path": path, "with_session": with_session})
    );
    Ok(())
}

/// What the process has used so far.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    Ok(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into())
}

/// 100 ms of a call: two seconds of a line's noise, then one of a voice.
fn payload(n: u64, rate: Rate) -> String {
    let samples = rate.bytes_of_ms(100) / 2;
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let speaks = n % 30 >= 20;
    let pcm: Vec<u8> = (0..samples)
        .flat_map(|i| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let noise = (state % 41) as f64 - 20.0;
            let seconds = (n as usize * samples + i) as f64 / f64::from(rate.hz());
            let voice = (seconds * 180.0 * std::f64::consts::TAU).sin() * 4_000.0;
            ((noise + if speaks { voice } else { 0.0 }) as i16).to_le_bytes()
        })
        .collect();
    base64_simd::STANDARD.encode_to_string(pcm)
}

/// As Lambda gets it from API Gateway, of what Exotel sends: in this order, without white space.
fn envelope(number: u64, payload: &str) -> String {
    let at = number * 100;
    let body = format!(
        r#"{{"event":"media","sequence_number":"{number}","stream_sid":"{STREAM}","media":{{"chunk":"{number}","timestamp":"{at}","payload":"{payload}"}}}}"#
    );
    format!(
        r#"{{"requestContext":{{"routeKey":"$default","messageId":"L0SNJd5nBcwCIhw=","eventType":"MESSAGE","extendedRequestId":"L0SNJH3mBcwFbNg=","requestTime":"26/Nov/2026:10:00:00 +0000","messageDirection":"IN","stage":"voicebot","connectedAt":1795687200000,"requestTimeEpoch":1795687200000,"identity":{{"sourceIp":"203.0.113.7"}},"requestId":"L0SNJH3mBcwFbNg=","domainName":"abcdefghij.execute-api.ap-south-1.amazonaws.com","connectionId":"L0SM9cOFvHcCIhw=","apiId":"abcdefghij"}},"body":{},"isBase64Encoded":false}}"#,
        json!(body)
    )
}

fn bare_pass(payloads: &[String]) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    for payload in payloads {
        let pcm = base64_simd::STANDARD.decode_to_vec(black_box(payload))?;
        bytes += black_box(pcm).len() as u64;
    }
    Ok(bytes)
}

/// A call whose bot has said nothing and listens.
fn session(rate: Rate, rules: &Rules, now: Timestamp) -> Session {
    let mut session = Session::new(now);
    let start = Message {
        stream_sid: Some(STREAM),
        sequence_number: 1,
        event: Event::Start(rate),
    };
    let _ = session.step(rules, &start, now);
    if let Some((epoch, _)) = session.begin_answer(0, now) {
        session.answer(epoch, Then::Listen(Listen::default()), now);
        let _ = session.finish_answer(epoch, now);
    }
    session
}

/// Every frame of a call. `stored` has the session read from its text for each and written as text when it changed, as the
/// table holds it.
fn path_pass(envelopes: &[String], rate: Rate, stored: bool) -> Result<u64, Box<dyn Error>> {
    let rules = Rules::default();
    let mut now: Timestamp = "2026-11-26T10:00:00Z".parse()?;
    let mut session = session(rate, &rules, now);
    let mut text = serde_json::to_string(&session)?;
    let mut kept = 0;
    for envelope in envelopes {
        now += SignedDuration::from_millis(100);
        let (connection, escaped) = websocket::skim(black_box(envelope.as_bytes())).ok_or("an event")?;
        let message = exotel::stream::Message::skim(escaped).ok_or("a message")?;
        let _ = black_box(connection);
        let Incoming::Media(media) = &message.incoming else {
            return Err("a frame".into());
        };
        let pcm = media.pcm().ok_or("base64")?;
        if stored {
            session = serde_json::from_str(&text)?;
        }
        let message = Message {
            stream_sid: message.stream_sid.as_deref(),
            sequence_number: message.sequence_number.ok_or("a number")?,
            event: Event::Media(&pcm),
        };
        let step = session.step(&rules, &message, now);
        kept += u64::from(step.keep);
        if stored && step.write {
            text = serde_json::to_string(&session)?;
        }
        // The bot has nothing to say: the caller's turn again.
        if let Some(ask) = &step.ask
            && let Some((epoch, _)) = session.begin_answer(ask.turn, now)
        {
            session.answer(epoch, Then::Listen(Listen::default()), now);
            let _ = session.finish_answer(epoch, now);
            text = serde_json::to_string(&session)?;
        }
        let _ = black_box(step);
    }
    if kept < FRAMES / 5 {
        return Err(format!("only {kept} frames were heard as speech").into());
    }
    Ok(kept)
}
