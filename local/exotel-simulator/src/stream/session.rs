//! A stream from `connected` to the end of the socket.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::StreamOptions;
use super::dial::Socket;
use super::playback::{Playback, is_loud};
use super::sound::{Track, to_ms, to_samples};
use super::talk::Source;
use super::url::StreamUrl;
use super::view::{ClearView, DisconnectedBy, MarkView, Recorder, StreamStatus, ViolationKind};
use super::wire::{self, Wanted, Writer};
use crate::faults::{FaultSource, FrameFate, PayloadFate};
use crate::options::Clock;

/// How long the bot may take to answer a close frame.
const CLOSING: Duration = Duration::from_secs(2);
/// How long one message may take to leave.
const SENDING: Duration = Duration::from_secs(10);
/// Messages of the bot's that are taken between two looks at the clock.
const MOST_AT_ONCE: u32 = 32;
/// Messages that may wait for the bot to read them: five seconds of frames.
const MOST_WAITING: u64 = 50;

/// A stream that is about to begin.
pub(crate) struct Conversation<'a> {
    pub(crate) url: &'a StreamUrl,
    pub(crate) options: &'a StreamOptions,
    pub(crate) writer: Writer,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) source: Source,
    pub(crate) faults: &'a FaultSource,
    /// What identifies it to draws.
    pub(crate) key: &'a str,
    pub(crate) recorder: &'a Recorder,
    /// Milliseconds after which the call is cut.
    pub(crate) limit_ms: Option<u64>,
    pub(crate) clock: &'a Clock,
}

/// Why a stream ended.
#[derive(Debug)]
enum End {
    /// The bot sent a close frame.
    BotClosed,
    /// The socket went away.
    Broken(String),
    /// The person hung up, or the call's time was over.
    HungUp(DisconnectedBy),
    /// The stream's time was over.
    Stopped,
    /// A fault cuts it, with or without a close frame.
    Cut { close_frame: bool },
}

/// Holds the conversation. What came of it is with the recorder.
pub(crate) async fn converse(socket: Socket, conversation: Conversation<'_>) {
    let (sink, incoming) = socket.split();
    let (outbox, queue) = mpsc::unbounded_channel();
    let written = AtomicU64::new(0);
    let running = Running::new(conversation, outbox, &written);
    tokio::join!(running.run(incoming), write_out(sink, queue, &written));
}

/// Sends what is handed in. A bot that does not read holds up nothing else.
async fn write_out(
    mut sink: SplitSink<Socket, Message>,
    mut queue: mpsc::UnboundedReceiver<Message>,
    written: &AtomicU64,
) {
    let mut broken = false;
    while let Some(message) = queue.recv().await {
        if !broken {
            let sent = tokio::time::timeout(SENDING, sink.send(message)).await;
            broken = !matches!(sent, Ok(Ok(())));
        }
        // A broken socket is the reader's to report; one that is full stays full.
        if !broken {
            written.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Running<'a> {
    it: Conversation<'a>,
    outbox: mpsc::UnboundedSender<Message>,
    sent: u64,
    written: &'a AtomicU64,
    rate_hz: u32,
    playback: Playback,
    said: Vec<i16>,
    started: Instant,
    frames: u64,
    /// Frames that a fault holds back, and the frame after which they go.
    held: Vec<(u64, String)>,
    /// Marks that were echoed, or will never be: the next to be echoed is the one behind them.
    marks_done: usize,
    /// What would wait to be played if it were played as fast as a bot may send it, and the sample at which it did.
    hurry: usize,
    hurry_at: usize,
    is_far_ahead: bool,
    is_flooding: bool,
    is_not_reading: bool,
    cut: Option<(u64, bool)>,
}

impl<'a> Running<'a> {
    fn new(it: Conversation<'a>, outbox: mpsc::UnboundedSender<Message>, written: &'a AtomicU64) -> Self {
        let rate_hz = it.url.rate_hz;
        let cut = it
            .faults
            .with(|faults, dice| faults.stream_cut(dice, &format!("cut {}", it.key)));
        Self {
            playback: Playback::new(rate_hz, it.options.jitter_ms),
            it,
            outbox,
            sent: 0,
            written,
            rate_hz,
            said: Vec::new(),
            started: Instant::now(),
            frames: 0,
            held: Vec::new(),
            marks_done: 0,
            hurry: 0,
            hurry_at: 0,
            is_far_ahead: false,
            is_flooding: false,
            is_not_reading: false,
            cut,
        }
    }

    async fn run(mut self, mut incoming: SplitStream<Socket>) {
        let connected = self.it.writer.connected();
        self.send(connected);
        let start = self.it.writer.start(
            self.it.from,
            self.it.to,
            self.rate_hz,
            &self.it.url.custom_parameters,
        );
        self.send(start);
        let now = (self.it.clock)();
        self.it.recorder.change(|view| {
            view.status = StreamStatus::InProgress;
            view.started = Some(now);
        });
        self.it
            .recorder
            .event(0, "start", format!("at {} Hz", self.rate_hz));
        let end = self.until_end(&mut incoming).await;
        self.finish(end, incoming).await;
    }

    async fn until_end(&mut self, incoming: &mut SplitStream<Socket>) -> End {
        loop {
            let frame_due =
                self.started + Duration::from_millis(self.it.options.frame_ms * (self.frames + 1));
            // What has come is taken before the clock goes on, also where the machine is late; but no more than so much at
            // once: a bot that floods the socket must not stop the clock.
            for _ in 0..MOST_AT_ONCE {
                let Some(message) = incoming.next().now_or_never() else {
                    break;
                };
                if let Some(end) = self.take(message) {
                    return end;
                }
            }
            let now = Instant::now();
            self.advance(now);
            if now >= frame_due {
                if let Some(end) = self.frame() {
                    return end;
                }
                continue;
            }
            let mark_due = self
                .playback
                .next_mark_at()
                .map(|at| self.started + self.time_of(at));
            let due = mark_due.map_or(frame_due, |mark| mark.min(frame_due));
            tokio::select! {
                biased;
                message = incoming.next() => {
                    if let Some(end) = self.take(message) {
                        return end;
                    }
                }
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    fn send(&mut self, text: String) {
        self.sent += 1;
        // The writer ends after this.
        let _ = self.outbox.send(Message::text(text));
        let waiting = self.sent.saturating_sub(self.written.load(Ordering::Relaxed));
        if waiting > MOST_WAITING && !self.is_not_reading {
            self.is_not_reading = true;
            let detail = format!("{waiting} messages wait for the bot to read them");
            self.it
                .recorder
                .violation(self.now_ms(), ViolationKind::NotReading, detail);
        }
    }

    /// When a sample is over, from the start on; rounded up.
    fn time_of(&self, sample: usize) -> Duration {
        Duration::from_nanos((sample as u64 * 1_000_000_000).div_ceil(u64::from(self.rate_hz)))
    }

    fn sample_at(&self, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.started).as_nanos();
        usize::try_from(passed * u128::from(self.rate_hz) / 1_000_000_000).unwrap_or(usize::MAX)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn advance(&mut self, now: Instant) {
        let reached = self.playback.advance(self.sample_at(now));
        for name in reached {
            self.echo(&name);
        }
    }

    fn echo(&mut self, name: &str) {
        let at_ms = self.now_ms();
        let text = self.it.writer.mark(name);
        self.send(text);
        // Marks are reached in the order in which they came.
        let at = self.marks_done;
        self.marks_done += 1;
        self.it.recorder.change(|view| {
            if let Some(mark) = view.marks.get_mut(at) {
                mark.echoed_ms = Some(at_ms);
            }
        });
        self.it.recorder.event(at_ms, "mark-echoed", name);
    }

    /// The next frame of the person's sound.
    fn frame(&mut self) -> Option<End> {
        let frame_ms = self.it.options.frame_ms;
        self.frames += 1;
        let timestamp_ms = self.frames * frame_ms;
        let length = to_samples(timestamp_ms, self.rate_hz) - self.said.len();
        let mut moment = self.it.source.next(length, &self.playback);
        if let Some(what) = moment.in_vain {
            let detail = format!("waited for {what} in vain");
            self.it
                .recorder
                .violation(timestamp_ms, ViolationKind::WaitedInVain, detail);
        }
        for key in moment.keys {
            let text = self.it.writer.dtmf(key);
            self.send(text);
            self.it.recorder.event(timestamp_ms, "dtmf", key);
        }
        if moment.hangs_up && moment.samples.is_empty() {
            return Some(End::HungUp(DisconnectedBy::User));
        }
        moment.samples.resize(length, 0);
        self.media(timestamp_ms, &moment.samples);
        self.said.append(&mut moment.samples);
        let frames = self.frames;
        self.it.recorder.change(|view| {
            view.frames = frames;
            view.duration_ms = timestamp_ms;
        });
        if moment.hangs_up {
            return Some(End::HungUp(DisconnectedBy::User));
        }
        if let Some((_, close_frame)) = self.cut.filter(|(after_ms, _)| timestamp_ms >= *after_ms) {
            return Some(End::Cut { close_frame });
        }
        if self.it.limit_ms.is_some_and(|limit_ms| timestamp_ms >= limit_ms) {
            return Some(End::HungUp(DisconnectedBy::System));
        }
        (timestamp_ms >= self.it.options.max_ms).then_some(End::Stopped)
    }

    fn media(&mut self, timestamp_ms: u64, samples: &[i16]) {
        let key = format!("frame {} {}", self.it.key, self.frames);
        let fate: FrameFate = self.it.faults.with(|faults, dice| faults.for_frame(dice, &key));
        let payload = match fate.payload {
            PayloadFate::Whole => wire::payload(samples),
            PayloadFate::BadBase64 => format!("@{}", wire::payload(samples)),
            PayloadFate::OddBytes => {
                let mut bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
                bytes.pop();
                wire::encode(&bytes)
            }
        };
        if fate.unknown_event {
            let text = self.it.writer.unknown();
            self.send(text);
        }
        let text = self.it.writer.media(self.frames, timestamp_ms, payload);
        if let Some(names) = fate.names() {
            self.it
                .recorder
                .event(timestamp_ms, "fault", format!("frame {}: {names}", self.frames));
        }
        if !fate.lost {
            if fate.duplicated {
                self.send(text.clone());
            }
            match fate.late_by {
                Some(by) => self.held.push((self.frames + u64::from(by), text)),
                None => self.send(text),
            }
        }
        let frames = self.frames;
        let (due, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition::<Vec<_>, _>(|(after, _)| *after <= frames);
        self.held = held;
        for (_, text) in due {
            self.send(text);
        }
    }

    /// What came from the bot.
    fn take(&mut self, message: Option<Result<Message, SocketError>>) -> Option<End> {
        self.advance(Instant::now());
        let at_ms = self.now_ms();
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(bytes))) => {
                self.it.recorder.change(|view| view.messages += 1);
                let detail = format!("a binary message of {} bytes", bytes.len());
                self.it
                    .recorder
                    .violation(at_ms, ViolationKind::BinaryMessage, detail);
                return None;
            }
            Some(Ok(Message::Close(frame))) => {
                self.closed(at_ms, frame);
                return Some(End::BotClosed);
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return None,
            Some(Err(err)) => return Some(End::Broken(err.to_string())),
            None => return Some(End::Broken("the socket ended".to_owned())),
        };
        self.it.recorder.change(|view| view.messages += 1);
        let judged = wire::judge(&text, &self.it.writer.stream_sid);
        for (kind, detail) in judged.violations {
            self.it.recorder.violation(at_ms, kind, detail);
        }
        match judged.wanted {
            None => {}
            Some(Wanted::Play { samples, bytes }) => self.play(at_ms, samples, bytes),
            Some(Wanted::Mark(name)) => {
                self.it.recorder.event(at_ms, "mark", name.clone());
                // Reached at once where nothing is before it: the loop looks before it waits.
                if self.playback.push_mark(name.clone()) {
                    self.it.recorder.change(|view| {
                        view.add_mark(MarkView {
                            name,
                            received_ms: at_ms,
                            echoed_ms: None,
                            cleared: false,
                        });
                    });
                } else {
                    self.it.recorder.change(|view| view.left_off += 1);
                    self.dropped(at_ms);
                }
            }
            Some(Wanted::Clear) => self.clear(at_ms),
        }
        None
    }

    fn play(&mut self, at_ms: u64, samples: Vec<i16>, bytes: usize) {
        // Who sends each chunk when nine tenths of the last one are over, as Exotel advises, gains a tenth of all he says.
        // That much is his; but an hour at a leisurely pace is no leave to send minutes at once.
        let now = self.playback.now();
        self.hurry = self.hurry.saturating_sub((now - self.hurry_at) * 10 / 9);
        self.hurry_at = now;
        let hurry_ms = to_ms(self.hurry, self.rate_hz);
        let most_ms = self.it.options.most_ahead_ms;
        // Told once per time that it gets too far ahead, not once per chunk.
        if hurry_ms <= most_ms / 2 {
            self.is_far_ahead = false;
        }
        // Judged without the chunk that comes: one of the largest that are legal lasts longer than a bot should be ahead.
        if hurry_ms > most_ms && !self.is_far_ahead {
            self.is_far_ahead = true;
            let ahead_ms = to_ms(self.playback.ahead(), self.rate_hz);
            let enough_ms = ahead_ms - (hurry_ms - most_ms).min(ahead_ms);
            let detail = format!(
                "{ahead_ms} ms of sound waited to be played when another chunk came; {enough_ms} ms are enough"
            );
            self.it
                .recorder
                .violation(at_ms, ViolationKind::TooFarAhead, detail);
        }
        let (length, is_loud) = (samples.len(), is_loud(&samples));
        if self.playback.push_chunk(samples) {
            self.hurry += length;
        } else {
            self.dropped(at_ms);
        }
        let ahead_ms = to_ms(self.playback.ahead(), self.rate_hz);
        self.it.recorder.change(|view| {
            view.chunks += 1;
            view.chunk_bytes += bytes as u64;
            if is_loud {
                view.first_audio_ms.get_or_insert(at_ms);
            }
            view.most_ahead_ms = view.most_ahead_ms.max(ahead_ms);
        });
    }

    /// There was no room for a chunk or a mark.
    fn dropped(&mut self, at_ms: u64) {
        if self.is_flooding {
            return;
        }
        self.is_flooding = true;
        let ahead_ms = to_ms(self.playback.ahead(), self.rate_hz);
        let detail = format!("no room behind {ahead_ms} ms of sound that wait; what finds none is dropped");
        self.it
            .recorder
            .violation(at_ms, ViolationKind::TooFarAhead, detail);
    }

    fn clear(&mut self, at_ms: u64) {
        let cleared = self.playback.clear();
        // What could not be taken back is not held against the bot: it rightly goes on at once.
        self.hurry = 0;
        let view = ClearView {
            at_ms,
            dropped_ms: to_ms(cleared.dropped, self.rate_hz),
            left_ms: to_ms(cleared.left, self.rate_hz),
        };
        let open = self.marks_done;
        self.it.recorder.change(|stream| {
            stream.add_clear(view);
            let open = stream.marks.iter_mut().skip(open);
            open.for_each(|mark| mark.cleared = true);
        });
        let detail = format!(
            "{} ms dropped, {} ms of what had begun go on",
            view.dropped_ms, view.left_ms
        );
        self.it.recorder.event(at_ms, "clear", detail);
        if self.it.options.echo_cleared_marks {
            for name in cleared.marks {
                self.playback.count_mark(&name);
                self.echo(&name);
            }
        } else {
            self.marks_done += cleared.marks.len();
        }
    }

    fn closed(&self, at_ms: u64, frame: Option<CloseFrame>) {
        let Some(frame) = frame else { return };
        let code = u16::from(frame.code);
        self.it.recorder.change(|view| view.close_code = Some(code));
        if !matches!(frame.code, CloseCode::Normal | CloseCode::Away) {
            let detail = format!("the bot closed with {code} {}", frame.reason);
            self.it
                .recorder
                .violation(at_ms, ViolationKind::AbnormalClose, detail.trim_end());
        }
    }

    async fn finish(mut self, end: End, mut incoming: SplitStream<Socket>) {
        let at_ms = self.now_ms();
        let (status, by, reason, error) = match &end {
            End::BotClosed => (StreamStatus::Completed, DisconnectedBy::Bot, None, None),
            End::HungUp(by) => (StreamStatus::Completed, *by, Some("callended"), None),
            End::Stopped => (
                StreamStatus::Completed,
                DisconnectedBy::System,
                Some("stopped"),
                None,
            ),
            End::Broken(error) => (
                StreamStatus::Failed,
                DisconnectedBy::Bot,
                None,
                Some(error.clone()),
            ),
            End::Cut { .. } => (
                StreamStatus::Failed,
                DisconnectedBy::System,
                None,
                Some("a fault cut the line".to_owned()),
            ),
        };
        if let End::Broken(error) = &end {
            let detail = format!("the socket went away without a close frame: {error}");
            self.it
                .recorder
                .violation(at_ms, ViolationKind::AbnormalClose, detail);
        }
        if let Some(reason) = reason {
            let text = self.it.writer.stop(reason);
            self.send(text);
            self.it.recorder.event(at_ms, "stop", reason);
        }
        let says_goodbye = reason.is_some() || matches!(end, End::Cut { close_frame: true });
        if says_goodbye {
            let frame = CloseFrame {
                code: CloseCode::Normal,
                reason: "".into(),
            };
            let _ = self.outbox.send(Message::Close(Some(frame)));
        }
        // A stream that ends with a frame lasted as long as its frames, however late the machine was.
        let duration_ms = match end {
            End::BotClosed | End::Broken(_) => at_ms,
            End::HungUp(_) | End::Stopped | End::Cut { .. } => self.frames * self.it.options.frame_ms,
        };
        // Written before the socket's end: that may take a moment, and the call is over.
        let playback = self.playback;
        self.it.recorder.change(|view| {
            view.duration_ms = duration_ms;
            view.heard_ms = to_ms(playback.played(), self.rate_hz);
            view.unheard_ms = to_ms(playback.ahead(), self.rate_hz);
            view.first_heard_ms = playback.first_heard_ms();
            view.gaps = playback.gaps().to_vec();
            view.left_off += playback.gaps_left_off();
            view.disconnected_by = Some(by);
            view.stop_reason = reason.map(str::to_owned);
            view.error = error;
        });
        let track = |samples| Track {
            rate_hz: self.rate_hz,
            samples,
        };
        self.it
            .recorder
            .keep_sound(track(self.said), track(playback.into_heard()));
        drop(self.outbox);
        if says_goodbye || matches!(end, End::BotClosed) {
            // Reading on is what answers the bot's close frame, and what waits for its answer to ours.
            let rest = async { while let Some(Ok(_)) = incoming.next().await {} };
            let _ = tokio::time::timeout(CLOSING, rest).await;
        }
        self.it.recorder.change(|view| view.status = status);
        self.it
            .recorder
            .event(at_ms, "closed", format!("by the {}", by.as_str()));
    }
}
