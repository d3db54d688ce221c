//! The running stack, people with tokens, leads with numbers, and what they hear.

use std::{collections::BTreeMap, env, fs, path::PathBuf, time::Duration};

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Client, Method, header::HeaderMap};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// How long anything may take to show. Pretended calls take seconds; the rest is a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Clicks of all tests at once: a click waits 3 s for its slot before it is queued, and slots come 3 a second.
static AT_ONCE: Semaphore = Semaphore::const_new(6);

pub(crate) const ADMIN_FAMILY: &str = "/api/admin/raw-leads";
pub(crate) const SALES_FAMILY: &str = "/api/sales/crm";

/// The running stack, as one test sees it: ids begin with the test's name, so that tests do not meet.
#[derive(Clone)]
pub(crate) struct House {
    pub(crate) http: Client,
    pub(crate) stack: Value,
    pub(crate) secret: String,
    /// `EXOTEL_WS_TOKEN`, which a pasted URL's socket shows.
    pub(crate) ws_token: String,
    /// Where a bot of the team's own may be served, which the functions know as `own`.
    pub(crate) bot_origin: String,
    pub(crate) name: &'static str,
    room: u32,
}

impl House {
    /// # Panics
    /// Without a stack: these tests mean nothing then.
    pub(crate) fn open(name: &'static str) -> Self {
        let setting = |name: &str| {
            env::var(name)
                .unwrap_or_else(|_| panic!("{name} is not set: run these tests by `cargo xtask e2e`"))
        };
        let text = fs::read_to_string(setting("E2E_STACK")).expect("the stack's addresses");
        // Four digits of each test's numbers tell them apart: 98 RRRR SSSS.
        let room = name.bytes().fold(2_166_136_261_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
        });
        Self {
            http: lambda_kit::https::client().unwrap(),
            stack: serde_json::from_str(&text).expect("stack.json is JSON"),
            secret: setting("E2E_JWT_SECRET"),
            ws_token: setting("E2E_WS_TOKEN"),
            bot_origin: setting("E2E_BOT_ORIGIN"),
            name,
            room: room % 7_000 + 2_000,
        }
    }

    /// Opens, and writes the agent and their sales head, both with a phone.
    pub(crate) async fn furnished(name: &'static str) -> Self {
        let house = Self::open(name);
        let admin = house.admin();
        for (id, role) in [(house.agent_id(), "SALES"), (house.head_id(), "SALES_HEAD")] {
            let user = json!({"fullName": "Asha Rao", "phone": house.agent_phone(), "role": role});
            admin.put(&format!("/api/admin/users/{id}"), user).await.is(201);
        }
        house
    }

    pub(crate) fn url(&self, key: &str) -> &str {
        self.stack[key]
            .as_str()
            .unwrap_or_else(|| panic!("stack.json has no {key}"))
    }

    pub(crate) fn logs() -> PathBuf {
        env::var_os("E2E_LOGS")
            .expect("E2E_LOGS is set by cargo xtask e2e")
            .into()
    }

    pub(crate) fn agent_id(&self) -> String {
        format!("{}-agent", self.name)
    }

    pub(crate) fn head_id(&self) -> String {
        format!("{}-head", self.name)
    }

    /// The agent's number, whose suffix means nothing to the simulator.
    pub(crate) fn agent_phone(&self) -> String {
        format!("+9199{:04}7000", self.room)
    }

    /// A number whose last four digits tell the simulator what to do.
    pub(crate) fn phone(&self, suffix: &str) -> String {
        format!("+9198{:04}{suffix}", self.room)
    }

    pub(crate) fn token(&self, user: &str, role: &str) -> String {
        let hour = Timestamp::now() + SignedDuration::from_hours(1);
        self.sign(
            &self.secret,
            &json!({"sub": user, "role": role, "exp": hour.as_second()}),
        )
    }

    pub(crate) fn sign(&self, secret: &str, claims: &Value) -> String {
        jsonwebtoken::encode(
            &Header::default(),
            claims,
            &EncodingKey::from_secret(secret.as_bytes()),
        )
        .unwrap()
    }

    pub(crate) fn caller(&self, user: &str, role: &str) -> Caller {
        Caller {
            house: self.clone(),
            authorization: Some(format!("Bearer {}", self.token(user, role))),
        }
    }

    pub(crate) fn admin(&self) -> Caller {
        self.caller(&format!("{}-admin", self.name), "ADMIN")
    }

    pub(crate) fn agent(&self) -> Caller {
        self.caller(&self.agent_id(), "SALES")
    }

    pub(crate) fn head(&self) -> Caller {
        self.caller(&self.head_id(), "SALES_HEAD")
    }

    pub(crate) fn nobody(&self) -> Caller {
        Caller {
            house: self.clone(),
            authorization: None,
        }
    }

    /// Writes a lead of the agent's; gives its id.
    pub(crate) async fn lead(&self, tag: &str, phone: &str) -> String {
        let id = format!("{}-{tag}", self.name);
        let lead = json!({"name": format!("Lead {tag}"), "phone": phone, "owningSalesHeadId": self.head_id(),
            "assignedTo": self.agent_id()});
        let answer = self.admin().put(&format!("{ADMIN_FAMILY}/{id}"), lead).await;
        assert!(answer.status == 201 || answer.status == 200, "{answer:?}");
        id
    }

    // ---- The simulated Exotel.

    pub(crate) async fn simulator(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url("simulator_url")));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{path} was answered {}",
            answer.status()
        );
        let text = answer.text().await.unwrap();
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub(crate) async fn script(&self, script: Value) {
        self.simulator(Method::POST, "/_sim/scripts", Some(script)).await;
    }

    /// The calls to a number, as Exotel knows them.
    pub(crate) async fn calls_at_exotel(&self, phone: &str) -> Vec<Value> {
        self.at_exotel("/_sim/calls", phone).await
    }

    pub(crate) async fn messages_at_exotel(&self, phone: &str) -> Vec<Value> {
        self.at_exotel("/_sim/messages", phone).await
    }

    async fn at_exotel(&self, path: &str, phone: &str) -> Vec<Value> {
        let all = self.simulator(Method::GET, path, None).await;
        let same = |entry: &&Value| {
            entry["to"]
                .as_str()
                .is_some_and(|to| last_ten(to) == last_ten(phone))
        };
        all.as_array().unwrap().iter().filter(same).cloned().collect()
    }

    /// Requests to Exotel about a number: `Calls/connect` or `Sms/send`.
    pub(crate) async fn requests_at_exotel(&self, operation: &str, phone: &str) -> Vec<Value> {
        let journal = self
            .simulator(Method::GET, "/_sim/journal?kind=request", None)
            .await;
        let about = |entry: &&Value| {
            entry["path"]
                .as_str()
                .is_some_and(|path| path.contains(operation))
                && entry["params"]["To"]
                    .as_str()
                    .is_some_and(|to| last_ten(to) == last_ten(phone))
        };
        journal
            .as_array()
            .unwrap()
            .iter()
            .filter(about)
            .cloned()
            .collect()
    }

    pub(crate) async fn journal_of(&self, kind: &str, sid: &str) -> Vec<Value> {
        let path = format!("/_sim/journal?kind={kind}&sid={sid}");
        self.simulator(Method::GET, &path, None)
            .await
            .as_array()
            .unwrap()
            .clone()
    }

    // ---- AWS, over its plain protocols.

    pub(crate) async fn aws(&self, service: &str, target: &str, body: Value) -> Value {
        let answer = self
            .http
            .post(self.url("aws_endpoint_url"))
            .header("x-amz-target", target)
            .header(
                "content-type",
                if service == "sqs" || service == "dynamodb" {
                    "application/x-amz-json-1.0"
                } else {
                    "application/x-amz-json-1.1"
                },
            )
            .header("authorization", self.credentials(service))
            .header("x-amz-date", "20260101T000000Z")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{target} was answered {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Runs a function once, as its schedule would, and waits until it is done.
    pub(crate) async fn invoke(&self, bin: &str) {
        let name = self.stack["functions"][bin].as_str().unwrap();
        let url = self.url("aws_endpoint_url");
        let answer = self
            .http
            .post(format!("{url}/2015-03-31/functions/{name}/invocations"))
            .header("authorization", self.credentials("lambda"))
            .header("x-amz-date", "20260101T000000Z")
            .body(r#"{"source":"aws.scheduler"}"#)
            .send()
            .await
            .unwrap();
        assert!(
            answer.status().is_success(),
            "{bin} was answered {}",
            answer.status()
        );
        let failed = answer.headers().get("x-amz-function-error");
        assert!(failed.is_none(), "{bin} failed: {}", answer.text().await.unwrap());
    }

    /// Nobody checks the signature; the key says that no function asks.
    fn credentials(&self, service: &str) -> String {
        let region = self.url("region");
        format!(
            "AWS4-HMAC-SHA256 Credential=local/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=00"
        )
    }

    /// Every item of the table whose text has `part` in it, by key.
    pub(crate) async fn items_with(&self, part: &str) -> BTreeMap<(String, String), Value> {
        let mut found = BTreeMap::new();
        let mut start = Value::Null;
        loop {
            let mut request = json!({"TableName": self.url("table_name"), "ConsistentRead": true});
            if !start.is_null() {
                request["ExclusiveStartKey"] = start;
            }
            let page = self.aws("dynamodb", "DynamoDB_20120810.Scan", request).await;
            for item in page["Items"].as_array().unwrap() {
                let key = |name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
                if item.to_string().contains(part) {
                    found.insert((key("PK"), key("SK")), item.clone());
                }
            }
            start = page["LastEvaluatedKey"].clone();
            if start.is_null() {
                return found;
            }
        }
    }

    /// The same after what follows from the stream has settled: unchanged for two looks, a second apart.
    pub(crate) async fn settled_items_with(&self, part: &str) -> BTreeMap<(String, String), Value> {
        let mut before = self.items_with(part).await;
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            let now = self.items_with(part).await;
            if now == before {
                return now;
            }
            before = now;
        }
        panic!("the items with {part} never come to rest");
    }

    /// Takes the messages from a queue whose body has `part` in it, and leaves the others.
    pub(crate) async fn message_with(&self, queue: &str, part: &str) -> Option<String> {
        let url = self.stack["queues"][queue]
            .as_str()
            .unwrap_or_else(|| panic!("stack.json has no queue {queue}"));
        let request = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 1});
        let answer = self.aws("sqs", "AmazonSQS.ReceiveMessage", request).await;
        let bodies = answer["Messages"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|message| message["Body"].as_str().unwrap_or_default());
        bodies
            .filter(|body| body.contains(part))
            .map(str::to_owned)
            .next()
    }
}

/// Somebody with a token, or without one.
#[derive(Clone)]
pub(crate) struct Caller {
    house: House,
    authorization: Option<String>,
}

impl Caller {
    pub(crate) fn with(&self, authorization: &str) -> Self {
        Self {
            authorization: Some(authorization.to_owned()),
            ..self.clone()
        }
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask {
        let url = format!("{}{path}", self.house.url("http_url"));
        let mut request = self
            .house
            .http
            .request(method.parse().unwrap(), url)
            .timeout(PATIENCE);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        Ask {
            request,
            what: format!("{method} {}", shortened(path)),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path).json(&body).send().await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask("PUT", path).json(&body).send().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path).send().await
    }

    /// Clicks "call" on the lead, when not too many others do.
    pub(crate) async fn click(&self, lead: &str) -> Answer {
        let _turn = AT_ONCE.acquire().await.unwrap();
        self.click_at_once(lead).await
    }

    /// Clicks "call" on the lead, however many others do.
    pub(crate) async fn click_at_once(&self, lead: &str) -> Answer {
        self.post(&format!("{SALES_FAMILY}/{lead}/exotel-call"), json!({}))
            .await
    }

    pub(crate) async fn text(&self, lead: &str, body: &str) -> Answer {
        self.post(&format!("{SALES_FAMILY}/{lead}/sms"), json!({"body": body}))
            .await
    }

    /// The call or message on the lead's list (`calls`, `sms`).
    pub(crate) async fn entry(&self, lead: &str, list: &str, id: &str) -> Value {
        let page = self
            .get(&format!("{SALES_FAMILY}/{lead}/{list}?limit=100"))
            .await
            .is(200);
        let found = page.items().into_iter().find(|entry| entry["id"] == id);
        found.unwrap_or_else(|| panic!("{id} is not on the list: {page:?}"))
    }

    /// Watches a call until its outcome is `wanted`.
    pub(crate) async fn outcome(&self, lead: &str, call: &str, wanted: &str) -> Value {
        self.comes_to(lead, "calls", "outcome", call, wanted).await
    }

    /// Watches a message until its status is `wanted`.
    pub(crate) async fn status(&self, lead: &str, sms: &str, wanted: &str) -> Value {
        self.comes_to(lead, "sms", "status", sms, wanted).await
    }

    async fn comes_to(&self, lead: &str, list: &str, field: &str, id: &str, wanted: &str) -> Value {
        let what = format!("{lead}: {id} comes to {wanted}");
        until(PATIENCE, &what, async || {
            let entry = self.entry(lead, list, id).await;
            if entry[field] == wanted {
                Ok(entry)
            } else {
                Err(entry.to_string())
            }
        })
        .await
    }
}

/// A request that is being written.
pub(crate) struct Ask {
    request: reqwest::RequestBuilder,
    what: String,
}

impl Ask {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    pub(crate) fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        if !content_type.is_empty() {
            self.request = self.request.header("content-type", content_type);
        }
        self.request = self.request.body(body.into());
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let Self { request, what } = self;
        let answer = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer
            .text()
            .await
            .unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer {
            what,
            status,
            headers,
            text,
            json,
        }
    }
}

/// What somebody heard.
#[derive(Clone)]
pub(crate) struct Answer {
    what: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} was answered {} {}",
            self.what,
            self.status,
            shortened(&self.text)
        )
    }
}

impl Answer {
    /// # Panics
    /// When the status is another one.
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A problem as spec 1.3 has it, with this status and code.
    ///
    /// # Panics
    /// When it is anything else.
    pub(crate) fn problem(self, status: u16, code: &str) -> Self {
        let found = self.is(status).any_problem();
        assert_eq!(found.json["code"], code, "{found:?}");
        found
    }

    /// A problem whatever its status, but none of ours.
    ///
    /// # Panics
    /// When it is no problem, or a 5xx.
    pub(crate) fn any_problem(self) -> Self {
        let kind = self
            .headers
            .get("content-type")
            .and_then(|kind| kind.to_str().ok());
        assert_eq!(kind, Some("application/problem+json"), "{self:?}");
        assert_eq!(self.json["status"], self.status, "{self:?}");
        for field in ["title", "detail", "code", "request_id"] {
            let text = self.json[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "no {field}: {self:?}");
        }
        let detail = self.json["detail"].as_str().unwrap();
        assert!(
            detail.len() > 10 && detail.len() < 2_000 && detail.contains(' '),
            "no sentence: {self:?}"
        );
        self
    }

    /// # Panics
    /// When the problem is about another field.
    pub(crate) fn about(self, field: &str) -> Self {
        assert_eq!(self.json["field"], field, "{self:?}");
        self
    }

    pub(crate) fn id(&self) -> String {
        self.text_of("id")
    }

    pub(crate) fn text_of(&self, field: &str) -> String {
        self.json[field]
            .as_str()
            .unwrap_or_else(|| panic!("no {field}: {self:?}"))
            .to_owned()
    }

    pub(crate) fn items(&self) -> Vec<Value> {
        self.json["items"]
            .as_array()
            .unwrap_or_else(|| panic!("no list: {self:?}"))
            .clone()
    }

    /// The problem without what differs from request to request.
    pub(crate) fn told(&self) -> Value {
        let mut told = self.json.clone();
        told.as_object_mut().unwrap().remove("request_id");
        told
    }
}

/// Asks again until there is something; the error says what is there instead.
///
/// # Panics
/// When patience ends.
pub(crate) async fn until<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let started = std::time::Instant::now();
    loop {
        match ask().await {
            Ok(found) => return found,
            Err(instead) if started.elapsed() > patience => {
                panic!("{what}: not within {patience:?}, but {instead}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(400)).await,
        }
    }
}

/// Does something for each, some at once: more than the emulator can take only make each other wait.
pub(crate) async fn each<T, R>(
    things: impl IntoIterator<Item = T>,
    at_once: usize,
    what: impl AsyncFn(T) -> R,
) -> Vec<R> {
    let what = &what;
    stream::iter(things)
        .map(|thing| what(thing))
        .buffered(at_once)
        .collect()
        .await
}

pub(crate) fn last_ten(number: &str) -> String {
    let digits: Vec<char> = number.chars().filter(char::is_ascii_digit).collect();
    digits[digits.len().saturating_sub(10)..].iter().collect()
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(600).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
