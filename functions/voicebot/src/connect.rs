//! The door at which Exotel asks for the URL of a call's stream.

use std::{sync::Arc, time::Duration};

use domain::voicebot::{
    Rate,
    bots::{LONGEST_PARAMETERS, LONGEST_URL, MOST_PARAMETERS},
};
use jiff::Timestamp;
use lambda_kit::{
    Error,
    capability::{SigningKeys, StreamToken, is_webhook_token, tell_if_no_webhook_token},
    config::{LocaleConfig, Settings, SocketUrl, TableConfig, VoicebotConfig, WebhookConfig},
    http::{Problem, Request, Response, json},
    init::{Boot, Live},
};
use serde::Serialize;
use services::voicebot::offers::{Offer, Offers, Question, Refused, Rules, To};
use url::Url;

/// A longer body is no question of Exotel's.
const LONGEST_BODY: usize = 64 * 1024;
/// A fresh secret may cost this much of the second that Exotel waits; after it, the one we have must do.
const SECRET_PATIENCE: Duration = Duration::from_millis(200);
/// And this much more where the one we have lets nobody in: there is nothing else to spend the second on.
const REFETCH_PATIENCE: Duration = Duration::from_millis(300);

/// What proves that Exotel asks, and what its tokens are signed with.
#[derive(Debug)]
pub struct Secrets {
    webhook: WebhookConfig,
    keys: SigningKeys,
}

impl Secrets {
    /// # Errors
    /// [`Error`] for a signing key that is missing or cannot be used.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            webhook: WebhookConfig {
                token: settings.secret("EXOTEL_WEBHOOK_TOKEN"),
                legacy_md5: false,
            },
            keys: SigningKeys::from_env(settings)?,
        })
    }
}

/// Where streams go.
#[derive(Debug, Clone)]
pub struct Sockets {
    /// Our own; `None` while nobody said.
    pub ours: Option<SocketUrl>,
    /// Base of the team's media servers.
    pub fleet: Option<SocketUrl>,
}

/// The door.
pub struct ConnectDoor {
    secrets: Live<Secrets>,
    offers: Offers,
    sockets: Sockets,
}

impl ConnectDoor {
    /// The function's door, its clients built.
    ///
    /// # Errors
    /// [`Error`] for a setting that is missing or cannot be used.
    pub fn open(boot: &Boot) -> Result<Self, Error> {
        let settings = boot.settings();
        let table = TableConfig::from_env(settings)?;
        let voicebot = VoicebotConfig::from_env(settings)?;
        let rules = Rules {
            bots: voicebot.bots,
            default_bot: voicebot.default_bot,
            rate: voicebot.sample_rate,
            country: LocaleConfig::from_env(settings)?.country,
            has_fleet: voicebot.core_fleet.is_some(),
        };
        let offers = Offers::connect(boot.aws(), &table.name, rules);
        let sockets = Sockets {
            ours: voicebot.ws_url,
            fleet: voicebot.core_fleet,
        };
        Ok(Self::new(boot.live(Secrets::from_env)?, offers, sockets))
    }

    /// Over these.
    pub fn new(secrets: Live<Secrets>, offers: Offers, sockets: Sockets) -> Self {
        Self {
            secrets,
            offers,
            sockets,
        }
    }

    /// Answers `{"url": …}` for the call that asks. `random` gives the last bits of the session's id.
    ///
    /// # Errors
    /// 403 without the webhook token, 413 above 64 KB, 400 for a question that names no call, 404 when it names no bot or
    /// one that there is not, 503 when the table does not take the session, or the bot has no address.
    pub async fn connect(
        &self,
        request: &Request,
        now: Timestamp,
        random: u128,
    ) -> Result<Response, Problem> {
        let secrets = self.admit(request, now).await?;
        let of_path = request.path::<String>("bot_id").unwrap_or_default();
        let of_query = request.query::<String>("bot_id")?.unwrap_or_default();
        let bot = if of_path.is_empty() { &of_query } else { &of_path };
        let question = Question {
            content_type: request.header("content-type"),
            query: Some(request.raw_query()),
            body: request.bytes(LONGEST_BODY)?,
            bot: Some(bot),
        };
        let offer = Box::pin(self.offers.offer(question, now, random)).await;
        let offer = offer.map_err(problem)?;
        let url = self.url(&offer, &secrets.keys, now)?;
        #[derive(Serialize)]
        struct Answer {
            url: String,
        }
        json(200, &Answer { url })
    }

    /// The secrets, for whoever has the webhook token.
    async fn admit(&self, request: &Request, now: Timestamp) -> Result<Arc<Secrets>, Problem> {
        let token = request.query::<String>("token")?;
        let mut secrets = self.secrets.get_within(SECRET_PATIENCE, now).await;
        if !is_webhook_token(&secrets.webhook, token.as_deref()) {
            // The secret may have been rotated a moment ago.
            secrets = self.secrets.refetch_within(REFETCH_PATIENCE, now).await;
        }
        if is_webhook_token(&secrets.webhook, token.as_deref()) {
            Ok(secrets)
        } else {
            tell_if_no_webhook_token(&secrets.webhook);
            // A metric filter turns this line into an alarm.
            tracing::warn!(
                alarm = "webhook.refused",
                "whoever asks for a bot has no token, or a wrong one"
            );
            let detail = "This URL does not let you in; it must end in ?token= and EXOTEL_WEBHOOK_TOKEN.";
            Err(Problem::new(403, "invalid_webhook_url", detail))
        }
    }

    fn url(&self, offer: &Offer, keys: &SigningKeys, now: Timestamp) -> Result<String, Problem> {
        let session = &offer.session;
        let id = session.id.as_str();
        let url = match &offer.to {
            To::Ours => {
                let ours = self
                    .sockets
                    .ours
                    .as_ref()
                    .ok_or_else(|| no_address("VOICEBOT_WS_URL"))?;
                let token = StreamToken::new(session.id.clone(), now).seal(keys);
                let rate = session.rate.hz().to_string();
                ours.with_query([("call_id", id), ("token", &token), ("sample-rate", &rate)])
            }
            To::Fleet(Some(url)) => with_call_id(url, id),
            To::Fleet(None) => {
                let fleet = self
                    .sockets
                    .fleet
                    .as_ref()
                    .ok_or_else(|| no_address("CORE_FLEET"))?;
                let url = fleet.join(&format!("exotel/{}", session.bot_id));
                match session.rate {
                    Rate::Hz8000 => with_call_id(&url, id),
                    rate => with_call_id(&format!("{url}?sample-rate={}", rate.hz()), id),
                }
            }
        };
        if url.len() > LONGEST_URL {
            // Told without the URL, which may hold a token of the team's.
            tracing::error!(
                bot = session.bot_id,
                "the URL of a stream is longer than Exotel dials"
            );
            return Err(no_address("a shorter URL"));
        }
        Ok(url)
    }
}

/// A URL with the session's id, unless Exotel would not take one parameter more.
fn with_call_id(url: &str, id: &str) -> String {
    let Ok(parsed) = Url::parse(url) else {
        return url.to_owned();
    };
    let of_exotel = |piece: &&str| !piece.is_empty() && !piece.starts_with("sample-rate=");
    let query = parsed.query().unwrap_or_default();
    let own: Vec<&str> = query.split('&').filter(of_exotel).collect();
    let more = format!("call_id={id}");
    let characters = own.join("&").len() + 1 + more.len();
    let told = own.iter().any(|piece| piece.starts_with("call_id="));
    let with = if query.is_empty() {
        format!("{}?{more}", url.trim_end_matches('?'))
    } else {
        format!("{url}&{more}")
    };
    if told || own.len() >= MOST_PARAMETERS || characters > LONGEST_PARAMETERS || with.len() > LONGEST_URL {
        url.to_owned()
    } else {
        with
    }
}

fn no_address(what: &str) -> Problem {
    // A metric filter turns this line into an alarm.
    tracing::error!(
        alarm = "voicebot.unavailable",
        "a call's stream has nowhere to go: set {what}"
    );
    let detail = "This bot has no address yet; ask your administrator.";
    Problem::new(503, "voicebot_not_configured", detail)
}

fn problem(refused: Refused) -> Problem {
    match refused {
        Refused::Unreadable(why) => Problem::bad_request(format!(
            "The call cannot be told from this request: {why}. Exotel sends CallSid, CallFrom and CallTo."
        )),
        Refused::NoBot => {
            // A metric filter turns this line into an alarm.
            tracing::error!(
                alarm = "voicebot.no_bot",
                "a call names no bot, and there is no default"
            );
            Problem::new(
                404,
                "no_bot",
                "This call names no bot: put its name into the URL (/exotel/{bot_id} or ?bot_id=), or set \
                 VOICEBOT_DEFAULT_BOT.",
            )
        }
        Refused::UnknownBot { named_by, known } => {
            tracing::error!(
                alarm = "voicebot.no_bot",
                named_by,
                "a call names a bot that there is not"
            );
            let detail =
                format!("There is no bot of this name; there are {known}. VOICEBOT_BOTS says which.");
            Problem::new(404, "unknown_bot", detail).about("bot_id")
        }
        Refused::Table(error) => {
            // A metric filter turns this line into an alarm: an answer, 503 or not, is no error of the function's.
            tracing::error!(
                alarm = "voicebot.unavailable",
                "a call's session could not be kept: {error}"
            );
            let detail = "The call's session could not be kept; the flow goes on without a bot.";
            Problem::new(503, "table_unavailable", detail).retry_after(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleets_url_gets_the_call_id_where_exotel_takes_one_more() {
        let id = "vs_01kak5yv7z8e4f9y2f4w6r8t0v";
        for (url, with) in [
            ("wss://m.example.com/x", "wss://m.example.com/x?call_id="),
            ("wss://m.example.com/x?", "wss://m.example.com/x?call_id="),
            (
                "wss://m.example.com/x?a=1&b=2",
                "wss://m.example.com/x?a=1&b=2&call_id=",
            ),
            (
                "wss://u:p@m.example.com/x?sample-rate=16000&a=1&b=2",
                "wss://u:p@m.example.com/x?sample-rate=16000&a=1&b=2&call_id=",
            ),
        ] {
            assert_eq!(with_call_id(url, id), format!("{with}{id}"));
        }
        let long = format!("wss://m.example.com/x?a={}", "x".repeat(230));
        let longest = format!("wss://m.example.com/{}", "x".repeat(570));
        for url in ["wss://m/x?a=1&b=2&c=3", "wss://m/x?call_id=own", &long, &longest] {
            assert_eq!(with_call_id(url, id), url);
        }
    }
}
