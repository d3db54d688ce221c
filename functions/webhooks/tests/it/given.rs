//! A table with a lead, a call and an SMS in it, and both doors in front of it.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    call::{Call, CallOrigin, CallProgress, CallReport, CallState, ExotelCall, ReportSource},
    directory::Lead,
    ids::{CallId, CallLocator, LeadId, SmsId, SmsLocator},
    phone::Country,
    sms::{Sms, SmsProgress, SmsReport, SmsState},
};
use dynamo::{Dynamo, TABLE_NAME};
use jiff::Timestamp;
use lambda_kit::{
    capability::{Purpose, SigningKeys},
    config::{CorsConfig, Settings},
    http::{Request, answer},
    init::Live,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use services::inbound::{Inbox, Webhook, WebhookQueue};
use table::{Table, events::RawEventId};
use webhooks::{Door, Secrets, passthru::PassthruDoor};

use crate::{aws::Aws, logs};

pub(crate) const TOKEN: &str = "webhook-token-hunter1";
pub(crate) const API_KEY: &str = "api-key-hunter2";
pub(crate) const API_TOKEN: &str = "api-token-hunter3";
/// MD5 of key, colon, token.
pub(crate) const MD5: &str = "84b05e1670eb12b7570352d448883960";
pub(crate) const SIGNING_KEY: &str = "signing-key-hunter4-0123456789abcdef";
pub(crate) const CALL_SID: &str = "5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k";
pub(crate) const SMS_SID: &str = "7c1b2a3d4e5f6071829304a5b6c7d8e9";

pub(crate) struct World {
    pub(crate) dynamo: Dynamo,
    pub(crate) aws: Aws,
    pub(crate) table: Table,
    pub(crate) keys: SigningKeys,
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            logs::assert_clean();
        }
    }
}

impl World {
    /// An empty lead `lead-1`.
    pub(crate) async fn new() -> Self {
        logs::capture();
        let dynamo = Dynamo::start().await;
        let table = Table::new(dynamo.client(), TABLE_NAME);
        let world = Self {
            aws: Aws::start().await,
            table,
            keys: keys(SIGNING_KEY, None),
            dynamo,
        };
        let lead = Lead {
            id: lead_id(),
            name: "Asha".to_owned(),
            phone: "+919811100002".parse().unwrap(),
            owning_sales_head_id: None,
            assigned_to: None,
            call_count: 0,
            last_contacted_at: None,
        };
        world.table.put_lead(&lead).await.unwrap();
        world
    }

    pub(crate) fn inbox(&self) -> Inbox {
        Inbox::new(
            self.table.clone(),
            WebhookQueue::new(self.aws.settings(), self.aws.queue_url()),
        )
    }

    pub(crate) fn door(&self, webhook: Webhook) -> Door {
        Door::new(webhook, secrets(&[]), self.inbox())
    }

    /// A call in this state; with a sid when Exotel accepted it.
    pub(crate) async fn call(&self, n: u32, state: CallState, sid: Option<&str>) -> CallLocator {
        let at = now() + jiff::SignedDuration::from_secs(i64::from(n));
        let call = Call {
            locator: CallLocator {
                id: CallId::new(at, u128::from(n)),
                lead_id: lead_id(),
            },
            called_by: Some("user-1".parse().unwrap()),
            called_at: at,
            notes: None,
            origin: CallOrigin::Exotel(Box::new(ExotelCall {
                agent_phone: "+919811100001".parse().unwrap(),
                lead_phone: "+919811100002".parse().unwrap(),
                caller_id: "+918045550100".parse().unwrap(),
                to_bot: false,
                attempt: 1,
                reason: None,
                progress: CallProgress::new(state),
            })),
        };
        self.table.create_call(&call).await.unwrap();
        if let Some(sid) = sid {
            let mut accepted = CallReport::new(ReportSource::Callback, Some(CallState::Accepted));
            accepted.sid = Some(sid.parse().unwrap());
            self.table
                .record_call_report(&call.locator, &accepted)
                .await
                .unwrap();
        }
        call.locator
    }

    /// An SMS that Exotel accepted under this sid.
    pub(crate) async fn sms(&self, n: u32, sid: &str) -> SmsLocator {
        let at = now() + jiff::SignedDuration::from_secs(i64::from(n));
        let sms = Sms {
            locator: SmsLocator {
                id: SmsId::new(at, u128::from(n)),
                lead_id: lead_id(),
            },
            sent_by: "user-1".parse().unwrap(),
            sent_at: at,
            to_phone: "+919811100002".parse().unwrap(),
            body: "Hello".to_owned(),
            attempt: 1,
            reason: None,
            progress: SmsProgress::new(SmsState::InFlight),
        };
        self.table.create_sms(&sms).await.unwrap();
        let mut accepted = SmsReport::new(ReportSource::Callback, Some(SmsState::Queued));
        accepted.sid = Some(sid.parse().unwrap());
        self.table
            .record_sms_report(&sms.locator, &accepted)
            .await
            .unwrap();
        sms.locator
    }

    pub(crate) fn call_path(&self, call: &CallLocator) -> String {
        let path = self.keys.callback_path(Purpose::Call, &call.to_string());
        logs::keep_secret(path.rsplit('/').next().unwrap());
        path
    }

    pub(crate) fn sms_path(&self, sms: &SmsLocator) -> String {
        let path = self.keys.callback_path(Purpose::Sms, &sms.to_string());
        logs::keep_secret(path.rsplit('/').next().unwrap());
        path
    }

    /// What is known of a call.
    pub(crate) async fn progress(&self, call: &CallLocator) -> CallProgress {
        self.table
            .call(call)
            .await
            .unwrap()
            .unwrap()
            .exotel()
            .unwrap()
            .progress
            .clone()
    }
}

pub(crate) fn lead_id() -> LeadId {
    "lead-1".parse().unwrap()
}

pub(crate) fn now() -> Timestamp {
    "2026-11-21T04:00:00Z".parse().unwrap()
}

pub(crate) fn keys(current: &str, previous: Option<&str>) -> SigningKeys {
    SigningKeys::new(
        &SecretString::from(current),
        previous.map(SecretString::from).as_ref(),
    )
}

/// The settings of an installation, with these changed; an empty value counts as not set.
pub(crate) fn secrets(changed: &[(&'static str, &'static str)]) -> Live<Secrets> {
    let mut settings = vec![
        ("EXOTEL_WEBHOOK_TOKEN", TOKEN),
        ("SIGNING_KEY", SIGNING_KEY),
        ("EXOTEL_SID", "acme1"),
        ("EXOTEL_API_KEY", API_KEY),
        ("EXOTEL_API_TOKEN", API_TOKEN),
        ("EXOTEL_CALLER_ID", "08045550100"),
    ];
    settings.splice(0..0, changed.iter().copied());
    let settings = Settings::new(move |name| {
        settings
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    });
    Live::fixed(Secrets::from_env(&settings).unwrap())
}

/// A request as API Gateway hands it over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Post {
    /// POST when not said.
    pub(crate) method: Option<&'static str>,
    pub(crate) path: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Post {
    pub(crate) fn new(path: impl Into<String>, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: None,
            path: path.into(),
            content_type: Some(content_type.to_owned()),
            body: body.into(),
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Some("GET"),
            path: path.into(),
            ..Self::default()
        }
    }

    pub(crate) fn event(&self) -> String {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let mut headers = json!({"host": "api.example.com", "user-agent": "Exotel"});
        if let Some(content_type) = &self.content_type {
            headers["content-type"] = json!(content_type);
        }
        // API Gateway encodes whatever is not text by its content type; it may do so with any body.
        let (body, encoded) = match std::str::from_utf8(&self.body) {
            Ok(text) if self.body.len().is_multiple_of(2) => (text.to_owned(), false),
            _ => (STANDARD.encode(&self.body), true),
        };
        let method = self.method.unwrap_or("POST");
        let http = json!({"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "Exotel"});
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "headers": headers,
            "requestContext": {"accountId": "0", "apiId": "a", "http": http, "requestId": "r", "routeKey": "$default",
                "stage": "$default", "time": "21/Nov/2026:04:00:00 +0000", "timeEpoch": 1_795_233_600_000_i64},
            "body": body, "isBase64Encoded": encoded,
        })
        .to_string()
    }
}

/// What a flow is answered, by a door with this rule as its setting. Nothing is said but the status.
pub(crate) async fn steer(inbox: Inbox, rule: &str, post: &Post) -> u16 {
    let door = Door::new(Webhook::Passthru, secrets(&[]), inbox);
    let door = PassthruDoor::new(door, rule.parse().unwrap(), Country::IN);
    let request = Request::from_event(&post.event()).unwrap();
    let response = answer(&CorsConfig::default(), request, async |request| {
        door.receive(&request, now()).await
    })
    .await;
    let status = response.status().as_u16();
    assert!(
        response.headers().get("location").is_none(),
        "nobody is led anywhere"
    );
    assert!(status >= 400 || response.body().is_empty());
    status
}

/// Posts to a door; gives status and JSON body.
pub(crate) async fn post(door: &Door, post: &Post) -> (u16, Value) {
    let request = Request::from_event(&post.event()).unwrap();
    let response = answer(&CorsConfig::default(), request, async |request| {
        match request.raw_path().ends_with("/heartbeat") {
            true => door.receive_heartbeat(&request, now()).await,
            false => door.receive(&request, now()).await,
        }
    })
    .await;
    let status = response.status().as_u16();
    let kind = if status == 200 {
        "application/json"
    } else {
        "application/problem+json"
    };
    assert_eq!(response.headers()["content-type"], kind);
    let body: &[u8] = response.body().as_ref();
    (status, serde_json::from_slice(body).unwrap())
}

pub(crate) fn kept(handled: bool) -> (u16, Value) {
    (200, json!({"success": true, "handled": handled}))
}

/// The id of a raw event of this owner; there must be one alone.
pub(crate) async fn only_event(table: &Table, owner: impl Into<table::EventOwner>) -> table::RawEvent {
    let mut events = table.raw_events_of(&owner.into()).await.unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    let event = events.remove(0);
    let id: RawEventId = event.id().to_string().parse().unwrap();
    assert_eq!(table.raw_event(&id).await.unwrap().as_ref(), Some(&event));
    event
}
