//! The voicebot's sockets, as Exotel opens them and as nobody should: who gets in, and what may come down the line.

use std::{cell::Cell, collections::BTreeMap, f64::consts::TAU, mem, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::{SinkExt as _, StreamExt as _, future::join};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use crate::house::{Answer, House, PATIENCE, until};

/// Bytes of 100 ms at 8 kHz.
const FRAME: usize = 1_600;

/// Asks where the echo bot is, as the Voicebot applet of a call does.
async fn ask(house: &House, call_sid: &str) -> Answer {
    let token = house.url("webhook_token");
    let path = format!(
        "/exotel/echo?token={token}&CallSid={call_sid}&CallFrom={}&CallTo=08047112345&Direction=incoming",
        house.phone("7001")
    );
    house.nobody().get(&path).await
}

/// The URL that is answered. While all tests run at once, the local table may take longer than Exotel waits, which is a 503.
pub(crate) async fn offered(house: &House, call_sid: &str) -> String {
    until(PATIENCE, "the echo bot's URL is answered", async || {
        let answer = ask(house, call_sid).await;
        match answer.status {
            503 => Err(format!("{answer:?}")),
            _ => Ok(answer.is(200).text_of("url")),
        }
    })
    .await
}

/// A call's id that nobody else has.
pub(crate) fn call_sid(house: &House, tag: &str) -> String {
    format!("e2e{}{tag}", house.name)
}

/// The call's session, when `holds` of it.
async fn session(house: &House, call_sid: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    until(
        PATIENCE,
        &format!("the session of {call_sid} {what}"),
        async || {
            let list = house.admin().get("/voicebot/sessions?limit=100").await.is(200);
            let found = list
                .items()
                .into_iter()
                .find(|entry| entry["call_sid"] == call_sid);
            match found {
                Some(session) if holds(&session) => Ok(session),
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await
}

/// The call's session, once it was ended by `ended_by`: `$disconnect` may overtake the `stop` before it, and then somebody
/// else seems to have ended it for a moment.
pub(crate) async fn ended(house: &House, call_sid: &str, ended_by: &str) -> Value {
    session(
        house,
        call_sid,
        &format!("is ended by the {ended_by}"),
        |session| session["state"] == "ended" && session["ended_by"] == ended_by,
    )
    .await
}

/// A session with its transcript.
async fn told(house: &House, session: &Value) -> Value {
    let path = format!("/api/admin/voicebot/sessions/{}", session["id"].as_str().unwrap());
    house.admin().get(&path).await.is(200).json
}

/// What was heard, line by line of a transcript. The echo bot's has a line for keys alone.
fn heard(told: &Value) -> Vec<&str> {
    let lines = told["transcript"].as_array().expect("a transcript").iter();
    lines.filter_map(|line| line["heard"].as_str()).collect()
}

/// The items of a socket, by key.
type Items = BTreeMap<(String, String), Value>;

/// Waits until nothing came of so many messages of the call. Gives how many it were by then, and everything else that is
/// kept of its socket. Messages overtake each other: what must not come before them may follow now.
async fn ignored(house: &House, call_sid: &str, at_least: usize) -> (usize, Items) {
    let offered = session(house, call_sid, "is on the list", |_| true).await;
    let id = offered["id"].as_str().unwrap();
    let what = format!("{at_least} messages of {call_sid} are ignored");
    until(PATIENCE, &what, async || {
        let mut kept = house.items_with("SOCKET#").await;
        let is_context = |item: &Value| item["ignored"].is_object() && item.to_string().contains(id);
        let (socket, _) = kept
            .iter()
            .find_map(|(key, item)| is_context(item).then(|| key.clone()))
            .expect("the socket has a context");
        kept.retain(|(partition, _), _| *partition == socket);
        let count = kept
            .values_mut()
            .find_map(|item| item.as_object_mut().unwrap().remove("ignored"))
            .and_then(|count| count["N"].as_str()?.parse().ok())
            .expect("a count");
        if count >= at_least {
            Ok((count, kept))
        } else {
            Err(format!("{count} are"))
        }
    })
    .await
}

/// Exotel's end of a stream.
struct Line {
    socket: WebSocketStream<TcpStream>,
    call_sid: String,
    stream_sid: String,
    sequence: u64,
    /// Sequence numbers are sent as numbers; live ones are text.
    numbers: bool,
}

impl Line {
    /// The status that a handshake was refused with, or the line.
    async fn dial(url: &str, authorization: Option<&str>, call_sid: &str) -> Result<Self, u16> {
        let mut request = url.into_client_request().unwrap();
        if let Some(value) = authorization {
            request
                .headers_mut()
                .insert("authorization", value.parse().unwrap());
        }
        let address = request.uri().authority().unwrap().to_string();
        let stream = TcpStream::connect(address).await.unwrap();
        match timeout(PATIENCE, client_async(request, stream)).await.unwrap() {
            Ok((socket, _)) => Ok(Self {
                socket,
                call_sid: call_sid.to_owned(),
                stream_sid: format!("{call_sid}stream"),
                sequence: 1,
                numbers: false,
            }),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(err) => panic!("the handshake broke: {err}"),
        }
    }

    async fn open(house: &House, tag: &str) -> Self {
        let sid = call_sid(house, tag);
        let url = offered(house, &sid).await;
        Self::dial(&url, None, &sid)
            .await
            .expect("the token lets Exotel in")
    }

    async fn text(&mut self, text: impl Into<String>) {
        self.socket
            .send(Message::text(text.into()))
            .await
            .expect("the socket is open");
    }

    fn number(&self, number: u64) -> Value {
        if self.numbers {
            json!(number)
        } else {
            json!(number.to_string())
        }
    }

    /// A message with the next sequence number.
    async fn send(&mut self, event: &str, what: Value) {
        let message = json!({"event": event, "sequence_number": self.number(self.sequence),
            "stream_sid": self.stream_sid, event: what});
        self.sequence += 1;
        self.text(message.to_string()).await;
    }

    /// Begins the stream, and hears the bot's greeting: a beep.
    async fn start(&mut self) {
        self.text(r#"{"event":"connected"}"#).await;
        let start = json!({"stream_sid": self.stream_sid, "call_sid": self.call_sid, "account_sid": "acme1",
            "from": "09811107001", "to": "08047112345", "custom_parameters": {},
            "media_format": {"encoding": "base64", "sample_rate": self.number(8_000), "bit_rate": "128kbps"}});
        self.send("start", start).await;
        self.say(0).await;
    }

    async fn media(&mut self, sound: &[u8]) {
        let chunk = self.number(self.sequence - 1);
        let media = json!({"chunk": chunk, "timestamp": self.number(self.sequence * 100),
            "payload": STANDARD.encode(sound)});
        self.send("media", media).await;
    }

    /// Says so many tenths of a second, then listens in silence until the bot has answered, which its mark tells, and
    /// echoes that. Gives what the bot said.
    async fn say(&mut self, tenths: u32) -> Vec<i16> {
        let (mut heard, mut said) = (Vec::new(), 0);
        let mut clock = tokio::time::interval(Duration::from_millis(100));
        let talk = async {
            loop {
                tokio::select! {
                    _ = clock.tick() => {
                        let sound = if said < tenths { tone(said) } else { vec![0; FRAME] };
                        said += 1;
                        self.media(&sound).await;
                    }
                    message = self.socket.next() => {
                        let Some(Ok(Message::Text(text))) = message else {
                            panic!("the bot left in the middle: {message:?}")
                        };
                        let message: Value = serde_json::from_str(&text).unwrap();
                        assert_eq!(message["stream_sid"], self.stream_sid, "{message}");
                        match message["event"].as_str().unwrap() {
                            "media" => heard.extend(samples(&message["media"]["payload"])),
                            "mark" => {
                                let mark = json!({"name": message["mark"]["name"]});
                                self.send("mark", mark).await;
                                return heard;
                            }
                            "clear" => {}
                            other => panic!("Exotel knows no {other}"),
                        }
                    }
                }
            }
        };
        timeout(PATIENCE, talk).await.expect("the bot answers")
    }

    /// Says a second of sound and hears it again.
    async fn is_heard(&mut self) {
        let heard = self.say(10).await;
        let loud = heard
            .iter()
            .filter(|sample| sample.unsigned_abs() > 2_000)
            .count();
        assert!(
            loud > 8_000 / 2,
            "a second of sound came back as {loud} loud samples"
        );
    }

    /// Hangs up as Exotel does.
    async fn hang_up(mut self) {
        let stop = json!({"call_sid": self.call_sid, "account_sid": "acme1", "reason": "callended"});
        self.send("stop", stop).await;
        self.close().await;
    }

    async fn close(mut self) {
        let _ = self.socket.close(None).await;
        let _ = timeout(PATIENCE, async {
            while let Some(Ok(_)) = self.socket.next().await {}
        })
        .await;
    }

    /// The code with which the other side closes.
    async fn closed_with(mut self) -> Option<u16> {
        let closed = async {
            while let Some(Ok(message)) = self.socket.next().await {
                if let Message::Close(frame) = message {
                    return frame.map(|frame| frame.code.into());
                }
            }
            None
        };
        timeout(PATIENCE, closed).await.expect("the socket is closed")
    }
}

/// Somebody who talks with the bot all the while that `work` is done, and is heard each time.
async fn beside(house: &House, work: impl Future<Output = ()>) -> Line {
    let mut neighbour = Line::open(house, "neighbour").await;
    neighbour.start().await;
    let done = Cell::new(false);
    let talks = async {
        while !done.get() {
            neighbour.is_heard().await;
        }
    };
    let works = async {
        work.await;
        done.set(true);
    };
    join(talks, works).await;
    neighbour
}

/// The n-th tenth of a second of a loud tone.
fn tone(n: u32) -> Vec<u8> {
    (0..FRAME as u32 / 2)
        .flat_map(|at| {
            let time = f64::from(n * 800 + at) / 8_000.0;
            (((time * 330.0 * TAU).sin() * 9_000.0) as i16).to_le_bytes()
        })
        .collect()
}

fn samples(payload: &Value) -> Vec<i16> {
    let bytes = STANDARD.decode(payload.as_str().unwrap()).unwrap();
    assert!(
        bytes.len().is_multiple_of(320) && (3_200..=24_000).contains(&bytes.len()),
        "a chunk of {} bytes",
        bytes.len()
    );
    bytes
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

/// The parameter of that name in a URL.
fn parameter<'a>(url: &'a str, name: &str) -> &'a str {
    let (_, query) = url.split_once('?').expect("the URL has parameters");
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).expect("the URL has it").1
}

#[tokio::test]
async fn without_proof_nobody_gets_a_socket() {
    let house = House::open("socketproof");
    let sid = call_sid(&house, "a");
    let url = offered(&house, &sid).await;
    assert!(url.len() < 600, "{url}");
    let (plain, query) = url.split_once('?').expect("the URL has parameters");
    assert!(query.len() <= 256 && query.split('&').count() <= 3, "{url}");
    let (call, token) = (parameter(&url, "call_id"), parameter(&url, "token"));
    let other = offered(&house, &call_sid(&house, "b")).await;
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let (cut, last) = token.split_at(token.len() - 1);
    let forged = format!("{cut}{}", if last == "A" { "Q" } else { "A" });
    let (expires, signature) = token.split_once('.').unwrap();
    let later = format!("{}.{signature}", expires.parse::<u64>().unwrap() + 60);
    let mut refused: Vec<(String, Option<String>)> = vec![
        (plain.to_owned(), None),
        (format!("{plain}?"), None),
        (format!("{plain}?token={token}"), None),
        (format!("{plain}?call_id={call}"), None),
        (format!("{plain}?call_id=&token={token}"), None),
        (format!("{plain}?call_id=vs_0&token={token}"), None),
        (
            format!("{plain}?call_id={}&token={token}", parameter(&other, "call_id")),
            None,
        ),
        (
            format!("{plain}?call_id={call}&token={}", parameter(&other, "token")),
            None,
        ),
    ];
    for token in ["", "%00", cut, &forged, &later, &format!("{token}x")] {
        refused.push((format!("{plain}?call_id={call}&token={token}"), None));
    }
    for authorization in [
        basic(""),
        basic(":"),
        basic("user:wrong"),
        basic("simkey:simtoken"),
        "Basic %%%".to_owned(),
        "Bearer".to_owned(),
        "Bearer wrong".to_owned(),
        format!("Bearer {}", house.url("webhook_token")),
        format!("Bearer {}", house.token("socketproof-admin", "ADMIN")),
    ] {
        refused.push((plain.to_owned(), Some(authorization)));
    }
    for (url, authorization) in refused {
        let answer = Line::dial(&url, authorization.as_deref(), &sid).await;
        let status = answer.err().unwrap_or(101);
        assert!(
            matches!(status, 401 | 403),
            "{} with {authorization:?} was answered {status}",
            url.replace(token, "…")
        );
    }
    let untouched = session(&house, &sid, "is on the list", |_| true).await;
    assert_eq!(untouched["state"], "offered", "{untouched}");
    // And the token still opens the door.
    let mut line = Line::dial(&url, None, &sid).await.expect("the token is good");
    line.start().await;
    line.hang_up().await;
    ended(&house, &sid, "caller").await;
}

#[tokio::test]
async fn a_pasted_urls_socket_may_show_its_token_as_a_bearer() {
    let house = House::open("socketbearer");
    let sid = call_sid(&house, "a");
    let url = format!("{}?bot_id=echo", house.url("ws_url"));
    let bearer = format!("Bearer {}", house.ws_token);
    let mut line = Line::dial(&url, Some(&bearer), &sid)
        .await
        .expect("the token lets Exotel in");
    line.start().await;
    line.is_heard().await;
    line.hang_up().await;
    let session = ended(&house, &sid, "caller").await;
    assert_eq!(session["bot_id"], "echo", "{session}");
}

#[tokio::test]
async fn a_token_opens_its_socket_until_the_call_has_begun() {
    let house = House::open("socketonce");
    let sid = call_sid(&house, "a");
    let url = offered(&house, &sid).await;
    // A handshake that Exotel gave up, and its second try.
    let first = Line::dial(&url, None, &sid).await.expect("the first handshake");
    drop(first);
    let mut line = Line::dial(&url, None, &sid).await.expect("the second handshake");
    line.start().await;
    line.is_heard().await;
    let status = Line::dial(&url, None, &sid).await.err();
    assert!(matches!(status, Some(401 | 403)), "reused: {status:?}");
    line.is_heard().await;
    line.hang_up().await;
    let status = Line::dial(&url, None, &sid).await.err();
    assert!(matches!(status, Some(401 | 403)), "after the end: {status:?}");
    let session = ended(&house, &sid, "caller").await;
    assert_eq!(session["bot_id"], "echo", "{session}");
}

#[tokio::test]
async fn whatever_makes_no_sense_is_ignored_and_the_call_goes_on() {
    let house = House::open("socketsense");
    let mut line = Line::open(&house, "a").await;
    let call = line.call_sid.clone();
    // Before `start`.
    line.media(&tone(0)).await;
    line.send("dtmf", json!({"digit": "5", "duration": "100"})).await;
    line.send("mark", json!({"name": "m1"})).await;
    ignored(&house, &call, 3).await;
    line.sequence = 1;
    line.start().await;
    // Frames that overtook `start` are among them.
    let (early, _) = ignored(&house, &call, 3).await;
    let (sid, number) = (line.stream_sid.clone(), line.sequence);
    let payload = STANDARD.encode(tone(0));
    let media = |stream: &str, number: Value, payload: Value| {
        json!({"event": "media", "sequence_number": number, "stream_sid": stream,
            "media": {"chunk": "1", "timestamp": "100", "payload": payload}})
        .to_string()
    };
    let next = json!((number + 1).to_string());
    // Messages that name a route go to functions that count nothing.
    for event in ["$connect", "$disconnect"] {
        line.text(json!({"event": event}).to_string()).await;
    }
    let nonsense = [
        String::new(),
        "not JSON".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "\"media\"".to_owned(),
        "{".to_owned(),
        "{}".to_owned(),
        format!("{}1{}", "[".repeat(9_000), "]".repeat(9_000)),
        json!({"event": 7}).to_string(),
        json!({"event": null}).to_string(),
        json!({"event": ["media"]}).to_string(),
        json!({"event": "teleport", "sequence_number": "9", "stream_sid": sid}).to_string(),
        json!({"event": "$default"}).to_string(),
        json!({"event": "media"}).to_string(),
        json!({"event": "media", "sequence_number": next, "stream_sid": sid}).to_string(),
        json!({"event": "media", "sequence_number": next, "stream_sid": sid, "media": "loud"}).to_string(),
        json!({"event": "start"}).to_string(),
        json!({"event": "stop", "stream_sid": "another"}).to_string(),
        json!({"event": "dtmf", "sequence_number": next, "stream_sid": sid, "dtmf": {"digit": "👋"}})
            .to_string(),
        json!({"event": "dtmf", "sequence_number": next, "stream_sid": sid, "dtmf": {"digit": "55"}})
            .to_string(),
        json!({"event": "dtmf", "sequence_number": next, "stream_sid": sid, "dtmf": {"digit": "12"}})
            .to_string(),
        json!({"event": "mark", "sequence_number": next, "stream_sid": sid, "mark": {}}).to_string(),
        media("another", next.clone(), json!(payload)),
        media(&sid, next.clone(), json!("%%% no base64 %%%")),
        media(&sid, next.clone(), json!(&payload[..payload.len() - 1])),
        media(&sid, next.clone(), json!(null)),
        media(&sid, json!("-1"), json!(payload)),
        media(&sid, json!("eleven"), json!(payload)),
        media(&sid, json!(1.5), json!(payload)),
        media(&sid, json!("99999999999999999999999"), json!(payload)),
        media(&sid, json!(u64::MAX), json!(payload)),
    ];
    let senseless = early + nonsense.len();
    for text in nonsense {
        line.text(text).await;
    }
    // Half a sample at the end of a frame, and a frame of nothing.
    line.media(&tone(0)[..FRAME - 1]).await;
    line.media(&[]).await;
    line.is_heard().await;
    // A key that is one.
    for key in ["7", "#"] {
        line.send("dtmf", json!({"digit": key, "duration": "100"})).await;
    }
    line.say(0).await;
    ignored(&house, &call, senseless).await;

    let stop = json!({"call_sid": call, "account_sid": "acme1", "reason": "callended"});
    line.send("stop", stop).await;
    let session = ended(&house, &call, "caller").await;
    // A frame or two that came behind the end of what they belong to may be ignored as well.
    let counted = session["ignored_messages"].as_u64().map(usize::try_from);
    assert!(
        matches!(counted, Some(Ok(count)) if (senseless..senseless + 3).contains(&count)),
        "{senseless} messages made no sense: {session}"
    );
    let before = until(PATIENCE, "the key is all that was taken for one", async || {
        let told = told(&house, &session).await;
        if heard(&told) == ["7"] {
            Ok(told)
        } else {
            Err(told.to_string())
        }
    })
    .await;

    // After `stop`: a step that wakes the dead would keep the sound, or ask the bot again.
    let (so_far, kept) = ignored(&house, &call, senseless).await;
    let first = line.sequence;
    for n in 0..15 {
        let sound = if n < 5 { tone(n) } else { vec![0; FRAME] };
        line.media(&sound).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    line.send("dtmf", json!({"digit": "5", "duration": "100"})).await;
    let late = usize::try_from(line.sequence - first).unwrap();
    let (_, kept_after) = ignored(&house, &call, so_far + late).await;
    assert_eq!(kept_after, kept, "what is kept of the call has changed");
    let said = timeout(Duration::from_secs(1), line.socket.next()).await;
    assert!(said.is_err(), "the bot still speaks: {said:?}");
    line.close().await;
    assert_eq!(told(&house, &session).await, before, "the session goes on");
}

#[tokio::test]
async fn what_names_a_live_neighbours_stream_touches_neither_call() {
    let house = House::open("socketother");
    let mut line = Line::open(&house, "a").await;
    let mut neighbour = Line::open(&house, "b").await;
    line.start().await;
    neighbour.start().await;
    let sids = [line.call_sid.clone(), neighbour.call_sid.clone()];
    // Frames that overtook `start` are ignored, too.
    let before = [
        ignored(&house, &sids[0], 0).await.0,
        ignored(&house, &sids[1], 0).await.0,
    ];

    // Numbers that both calls come to next: what was taken for either's would count as a repetition later.
    let first = line.sequence.max(neighbour.sequence);
    (line.sequence, neighbour.sequence) = (first, first);
    let own = mem::replace(&mut line.stream_sid, neighbour.stream_sid.clone());
    for n in 0..10 {
        line.media(&tone(n)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    line.send("dtmf", json!({"digit": "5", "duration": "100"})).await;
    let stop = json!({"call_sid": neighbour.call_sid, "account_sid": "acme1", "reason": "callended"});
    line.send("stop", stop).await;
    let foreign = usize::try_from(line.sequence - first).unwrap();
    (line.stream_sid, line.sequence) = (own, first);
    // At once: who says nothing for some seconds is asked whether they are there.
    join(line.is_heard(), neighbour.is_heard()).await;
    ignored(&house, &sids[0], before[0] + foreign).await;
    join(line.hang_up(), neighbour.hang_up()).await;
    for (sid, count) in [(&sids[0], before[0] + foreign), (&sids[1], before[1])] {
        let session = ended(&house, sid, "caller").await;
        assert_eq!(session["ignored_messages"], count, "{session}");
        // The greeting, and what was said.
        assert_eq!(session["turns"], 2, "{session}");
        assert_eq!(heard(&told(&house, &session).await), [""; 0]);
    }
}

#[tokio::test]
async fn numbers_may_be_numbers_and_names_may_be_missing() {
    let house = House::open("socketnumbers");
    let mut line = Line::open(&house, "a").await;
    line.numbers = true;
    line.start().await;
    line.is_heard().await;
    // Repeated frames count once, and a lost one is a gap.
    let number = line.sequence;
    line.media(&vec![0; FRAME]).await;
    line.sequence = number;
    line.media(&tone(0)).await;
    line.sequence += 1;
    line.is_heard().await;
    let sid = line.call_sid.clone();
    line.hang_up().await;
    ended(&house, &sid, "caller").await;
}

#[tokio::test]
async fn what_api_gateway_refuses_ends_that_socket_alone() {
    let house = House::open("socketlimits");
    let big = |bytes: usize| Message::text(json!({"event": "media", "pad": "x".repeat(bytes)}).to_string());
    let refused = async {
        for (tag, message, code) in [
            ("binary", Message::binary(tone(0)), 1003),
            ("frame", big(32 * 1_024), 1009),
            ("message", big(200_000), 1009),
        ] {
            let mut line = Line::open(&house, tag).await;
            line.start().await;
            line.socket.send(message).await.unwrap();
            let sid = line.call_sid.clone();
            assert_eq!(line.closed_with().await, Some(code), "{tag}");
            let session = ended(&house, &sid, "exotel").await;
            assert_eq!(session["outcome"], "closed", "{tag}: {session}");
        }
    };
    let mut neighbour = beside(&house, refused).await;
    // A frame as long as one may be is one like any other.
    let room = 32 * 1_024 - json!({"event": "media", "pad": ""}).to_string().len();
    neighbour.socket.send(big(room)).await.unwrap();
    neighbour.is_heard().await;
    neighbour.hang_up().await;
}

#[tokio::test]
async fn a_socket_that_vanishes_ends_its_session_and_no_other() {
    let house = House::open("socketvanish");
    let vanished = async {
        // Before `start` it is a handshake that Exotel gave up.
        drop(Line::open(&house, "early").await);
        for tag in ["begun", "speaking"] {
            let mut line = Line::open(&house, tag).await;
            line.start().await;
            if tag == "speaking" {
                for n in 0..5 {
                    line.media(&tone(n)).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            let sid = line.call_sid.clone();
            // No close frame, no `stop`: the connection is simply no more.
            drop(line);
            let session = ended(&house, &sid, "exotel").await;
            assert_eq!(session["outcome"], "closed", "{session}");
            assert!(session["ended_at"].is_string(), "{session}");
        }
        let early = call_sid(&house, "early");
        let session = session(&house, &early, "is on the list", |_| true).await;
        assert!(session["started_at"].is_null(), "{session}");
    };
    let neighbour = beside(&house, vanished).await;
    let sid = neighbour.call_sid.clone();
    neighbour.hang_up().await;
    ended(&house, &sid, "caller").await;
}
