//! A whole installation in one process: the table, the queue, and every function of this package.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::State, routing::post};
use crm::{Crm, call_record::CallRecordDoor, figure_routes::Figures, integrations::IntegrationsDoor};
use domain::{
    access::{Caller, Role},
    call::{Call, CallOrigin, CallProgress, CallReport, CallState, ExotelCall, ReportSource},
    directory::Lead,
    ids::{CallId, CallLocator, SmsId, SmsLocator},
    sms::{Sms, SmsProgress, SmsState},
};
use dynamo::Dynamo;
use jiff::{SignedDuration, Timestamp};
use lambda_kit::{
    auth,
    config::{CorsConfig, JwtConfig, Origin, Settings},
    http::{Request, answer},
    init::Boot,
};
use serde_json::{Value, json};
use services::{inbound::WebhookQueue, raw_events::RawEvents};
use table::Table;

use crate::{
    alerts_bin, analytics, call_log, call_record, directory_bin, exophones, exotel_status, integrations_bin,
    my_call_number, outbound::Hands, raw_events, reconciliation, recording_link, sms_log, timeline,
    voicebot_sessions,
};

pub(crate) const JWT_SECRET: &str = "a secret of thirty-two characters";

/// An installation with lead-1 (of head-1 and sales-1) in it.
pub(crate) struct House {
    pub(crate) dynamo: Dynamo,
    pub(crate) table: Table,
    pub(crate) queued: Arc<Mutex<Vec<String>>>,
    crm: Crm,
    events: RawEvents,
    figures: Figures,
    calls: CallRecordDoor,
    integrations: IntegrationsDoor,
}

/// What a function answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) location: Option<String>,
}

pub(crate) fn now() -> Timestamp {
    "2026-11-20T08:30:00Z".parse().unwrap()
}

pub(crate) fn at(millis: i64) -> Timestamp {
    now() + SignedDuration::from_millis(millis)
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(&[
            ("EXOTEL_SID", "acme1"),
            ("EXOTEL_API_KEY", "key"),
            ("EXOTEL_API_TOKEN", "token"),
            ("EXOTEL_CALLER_ID", "08045550100"),
        ])
        .await
    }

    /// With these settings besides those that every function has.
    pub(crate) async fn with(settings: &[(&'static str, &'static str)]) -> Self {
        let dynamo = Dynamo::start().await;
        let (queue_url, queued) = queue().await;
        let boot = async |endpoint: &str| {
            let mut all = settings.to_vec();
            all.extend([
                ("AWS_REGION", "ap-south-1"),
                ("AWS_ACCESS_KEY_ID", "local"),
                ("AWS_SECRET_ACCESS_KEY", "local"),
                ("TABLE_NAME", dynamo::TABLE_NAME),
                ("JWT_SECRET", JWT_SECRET),
                ("SIGNING_KEY", "another secret of thirty-two characters"),
                ("EXPORTS_BUCKET", "files"),
                ("EXPORTS_QUEUE_URL", "https://sqs.example.com/exports"),
            ]);
            let endpoint = endpoint.to_owned();
            let settings = Settings::new(move |name| {
                if name == "AWS_ENDPOINT_URL" {
                    return Some(endpoint.clone());
                }
                all.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).to_owned())
            });
            Boot::new(settings, now()).await.unwrap()
        };
        let booted = boot(dynamo.endpoint_url()).await;
        let crm = Crm::from_boot(&booted).unwrap();
        let calls = CallRecordDoor::from_boot(&booted).unwrap();
        let integrations = IntegrationsDoor::new(
            Crm::from_boot(&booted).unwrap(),
            &booted,
            Arc::new(Hands::default()),
        )
        .unwrap();
        let queues = boot(&queue_url).await;
        let figures = Figures::from_boot(&queues, &crm).unwrap();
        let queue = WebhookQueue::new(queues.aws().clone(), format!("{queue_url}/queue"));
        let table = Table::new(dynamo.client(), dynamo::TABLE_NAME);
        let house = Self {
            events: RawEvents::new(table.clone(), queue),
            calls,
            integrations,
            dynamo,
            table,
            queued,
            crm,
            figures,
        };
        house.table.put_lead(&lead("lead-1")).await.unwrap();
        house
    }

    /// Sends an event to the function that API Gateway would send it to.
    pub(crate) async fn send(&self, event: &Event) -> Answer {
        let request = Request::from_event(&event.0.to_string()).unwrap();
        let cors = CorsConfig::default();
        let crm = &self.crm;
        let route = event.0["routeKey"].as_str().unwrap().to_owned();
        let proxy: Origin = "https://recordings.example.com".parse().unwrap();
        let response = match route.rsplit('/').next().unwrap() {
            _ if route.contains("/api/admin/analytics/") => {
                answer(&cors, request, async |r| {
                    Box::pin(analytics::handle(crm, &self.figures, r, now())).await
                })
                .await
            }
            _ if route.contains("/api/v1/integrations/") => {
                answer(&cors, request, async |r| {
                    Box::pin(integrations_bin::handle(&self.integrations, r)).await
                })
                .await
            }
            _ if route.contains("/voicebot/sessions") => {
                answer(&cors, request, async |r| {
                    voicebot_sessions::handle(crm, r, now()).await
                })
                .await
            }
            "rebuild" | "backfill" => {
                answer(&cors, request, async |r| {
                    reconciliation::handle(crm, r, now()).await
                })
                .await
            }
            "exotel-status" => {
                answer(&cors, request, async |r| {
                    exotel_status::handle(crm, r, now()).await
                })
                .await
            }
            "my-call-number" => {
                answer(&cors, request, async |r| {
                    my_call_number::handle(crm, r, now()).await
                })
                .await
            }
            "calls" => answer(&cors, request, async |r| call_log::handle(crm, r, now()).await).await,
            "sms" => answer(&cors, request, async |r| sms_log::handle(crm, r, now()).await).await,
            "timeline" => answer(&cors, request, async |r| timeline::handle(crm, r, now()).await).await,
            "recording" => {
                answer(&cors, request, async |r| {
                    recording_link::handle(crm, &proxy, r, now()).await
                })
                .await
            }
            "exophones" | "checks" => {
                answer(&cors, request, async |r| exophones::handle(crm, r, now()).await).await
            }
            "{sid}" => {
                answer(&cors, request, async |r| {
                    Box::pin(call_record::handle(&self.calls, r, now())).await
                })
                .await
            }
            "raw-events" | "replay" => {
                answer(&cors, request, async |r| {
                    raw_events::handle(crm, &self.events, r, now()).await
                })
                .await
            }
            "alerts" | "acknowledge" => {
                answer(&cors, request, async |r| alerts_bin::handle(crm, r, now()).await).await
            }
            _ => {
                answer(&cors, request, async |r| {
                    directory_bin::handle(crm, r, now()).await
                })
                .await
            }
        };
        let location = response.headers().get("location");
        let location = location.map(|location| location.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        if status >= 400 {
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
        let csv = response
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/csv"));
        let body: &str = response.body();
        let body = if body.is_empty() {
            Value::Null
        } else if csv {
            Value::String(body.to_owned())
        } else {
            serde_json::from_str(body).unwrap()
        };
        Answer {
            status,
            body,
            location,
        }
    }

    /// Sends a request without a body.
    pub(crate) async fn get(&self, who: (&str, Role), route: &str, path: &str) -> Answer {
        self.send(&Event::new("GET", route, path).by(who)).await
    }
}

/// An SQS that takes every message and remembers it.
pub(crate) async fn queue() -> (String, Arc<Mutex<Vec<String>>>) {
    let queued = Arc::new(Mutex::new(Vec::new()));
    let take = async |State(queued): State<Arc<Mutex<Vec<String>>>>, body: String| {
        let message: Value = serde_json::from_str(&body).unwrap();
        queued
            .lock()
            .unwrap()
            .push(message["MessageBody"].as_str().unwrap().to_owned());
        r#"{"MessageId":"1"}"#
    };
    let app = Router::new().fallback(post(take)).with_state(Arc::clone(&queued));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, queued)
}

pub(crate) const ROOT: (&str, Role) = ("root-1", Role::SuperAdmin);
pub(crate) const ADMIN: (&str, Role) = ("admin-1", Role::Admin);
pub(crate) const HEAD: (&str, Role) = ("head-1", Role::SalesHead);
pub(crate) const SALES: (&str, Role) = ("sales-1", Role::Sales);
/// Somebody else's salesperson and sales head.
pub(crate) const STRANGERS: [(&str, Role); 2] = [("sales-9", Role::Sales), ("head-9", Role::SalesHead)];

pub(crate) const ADMIN_ROUTES: &str = "/api/admin/raw-leads";
pub(crate) const SALES_ROUTES: &str = "/api/sales/crm";

/// A request, as API Gateway's HTTP API sends it (payload format 2.0).
#[derive(Clone)]
pub(crate) struct Event(pub(crate) Value);

impl Event {
    /// `route` is the route key's path, `path` the path that was asked for, query included.
    pub(crate) fn new(method: &str, route: &str, path: &str) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut parameters = serde_json::Map::new();
        for (name, value) in route.split('/').zip(path.split('/')) {
            if let Some(name) = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                parameters.insert(name.to_owned(), json!(value));
            }
        }
        let queries: serde_json::Map<String, Value> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        Self(json!({
            "version": "2.0",
            "routeKey": format!("{method} {route}"),
            "rawPath": path,
            "rawQueryString": query,
            "queryStringParameters": queries,
            "pathParameters": parameters,
            "headers": {},
            "requestContext": {
                "accountId": "1", "apiId": "a", "stage": "$default", "requestId": "r",
                "routeKey": format!("{method} {route}"), "time": "", "timeEpoch": 0, "domainName": "d",
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "t"},
            },
            "isBase64Encoded": false,
        }))
    }

    /// An event of the repository's `events/`.
    pub(crate) fn file(name: &str) -> Self {
        let path = format!("{}/../../events/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{path}: {err}"));
        Self(serde_json::from_str(&text).unwrap())
    }

    pub(crate) fn by(self, who: (&str, Role)) -> Self {
        self.by_at(who, now())
    }

    /// With a token of this moment.
    pub(crate) fn by_at(self, (user, role): (&str, Role), now: Timestamp) -> Self {
        let caller = Caller {
            user_id: user.parse().unwrap(),
            role,
        };
        let settings = Settings::new(|name| (name == "JWT_SECRET").then(|| JWT_SECRET.to_owned()));
        let config = JwtConfig::from_env(&settings).unwrap();
        let token = auth::mint(&config, &caller, now, SignedDuration::from_mins(5)).unwrap();
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.0["headers"][name] = json!(value);
        self
    }

    pub(crate) fn json(self, body: Value) -> Self {
        self.text("application/json", &body.to_string())
    }

    pub(crate) fn text(self, content_type: &str, body: &str) -> Self {
        let mut event = self.header("content-type", content_type);
        event.0["body"] = json!(body);
        event
    }

    /// A body of any bytes, as API Gateway sends it.
    pub(crate) fn base64(self, content_type: &str, body: &str) -> Self {
        let mut event = self.text(content_type, body);
        event.0["isBase64Encoded"] = json!(true);
        event
    }
}

pub(crate) fn lead(id: &str) -> Lead {
    Lead {
        id: id.parse().unwrap(),
        name: "Asha Rao".to_owned(),
        phone: "+919811100001".parse().unwrap(),
        owning_sales_head_id: Some("head-1".parse().unwrap()),
        assigned_to: Some("sales-1".parse().unwrap()),
        call_count: 0,
        last_contacted_at: None,
    }
}

/// The n-th click on lead-1, with Exotel.
pub(crate) fn call(n: i64) -> Call {
    Call {
        locator: CallLocator {
            id: CallId::new(at(n), 7),
            lead_id: "lead-1".parse().unwrap(),
        },
        called_by: Some("sales-1".parse().unwrap()),
        called_at: at(n),
        notes: None,
        origin: CallOrigin::Exotel(Box::new(ExotelCall {
            agent_phone: "+919811100099".parse().unwrap(),
            lead_phone: "+919811100001".parse().unwrap(),
            caller_id: "+918045550100".parse().unwrap(),
            to_bot: false,
            attempt: 1,
            reason: None,
            progress: CallProgress::new(CallState::InFlight),
        })),
    }
}

/// The n-th message to lead-1.
pub(crate) fn sms(n: i64) -> Sms {
    Sms {
        locator: SmsLocator {
            id: SmsId::new(at(n), 9),
            lead_id: "lead-1".parse().unwrap(),
        },
        sent_by: "sales-1".parse().unwrap(),
        sent_at: at(n),
        to_phone: "+919811100001".parse().unwrap(),
        body: "Your visit is booked for 11 am.".to_owned(),
        attempt: 1,
        reason: None,
        progress: SmsProgress::new(SmsState::InFlight),
    }
}

/// The parties talked for 41 seconds, and Exotel recorded it.
pub(crate) fn talked() -> CallReport {
    CallReport {
        sid: Some("abc123".parse().unwrap()),
        talk_secs: Some(41),
        recording_url: Some("https://recordings.exotel.com/exotelrecordings/a/b.mp3".to_owned()),
        ..CallReport::new(ReportSource::Callback, Some(CallState::Completed))
    }
}
