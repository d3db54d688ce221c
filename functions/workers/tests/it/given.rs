//! A table with a lead in it, its stream, and the workers' own services around it.

use domain::{
    alert::{Acknowledgement, Alert, Measure, Observation, Transition, UNCONFIRMED_INTENTS, step},
    call::{Call, CallOrigin, CallProgress, CallReport, CallState, ExotelCall, ReportSource},
    directory::Lead,
    ids::{AlertSubject, CallId, CallLocator, LeadId, SmsId, SmsLocator},
    sms::{Sms, SmsProgress, SmsState},
};
use dynamo::{Dynamo, TABLE_NAME};
use jiff::{SignedDuration, Timestamp};
use lambda_kit::records::SqsEvent;
use serde_json::{Value, json};
use services::{
    inbound::{Inbox, Replay, WebhookQueue},
    projection::{EventBus, Projector},
};
use table::{EventOwner, RawEvent, Table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::aws::Aws;

pub(crate) const CALL_SID: &str = "5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k";
pub(crate) const SMS_SID: &str = "7c1b2a3d4e5f6071829304a5b6c7d8e9";

pub(crate) struct World {
    pub(crate) dynamo: Dynamo,
    pub(crate) aws: Aws,
    pub(crate) table: Table,
}

impl World {
    /// A table with the leads `lead-1` and `lead-2`.
    pub(crate) async fn new() -> Self {
        let world = Self::empty().await;
        for id in ["lead-1", "lead-2"] {
            let lead = Lead {
                id: id.parse().unwrap(),
                name: "Asha".to_owned(),
                phone: "+919811100002".parse().unwrap(),
                owning_sales_head_id: None,
                assigned_to: None,
                call_count: 0,
                last_contacted_at: None,
            };
            world.table.put_lead(&lead).await.unwrap();
        }
        world
    }

    pub(crate) async fn empty() -> Self {
        let dynamo = Dynamo::start().await;
        let table = Table::new(dynamo.client(), TABLE_NAME);
        Self {
            aws: Aws::start().await,
            table,
            dynamo,
        }
    }

    pub(crate) fn queue(&self) -> WebhookQueue {
        WebhookQueue::new(self.aws.settings(), self.aws.queue_url())
    }

    pub(crate) fn inbox(&self, table: Table) -> Inbox {
        Inbox::new(table, self.queue())
    }

    pub(crate) fn projector(&self) -> Projector {
        let bus = EventBus::new(aws_sdk_eventbridge::Client::new(&self.aws.settings()), "bus");
        Projector::new(self.table.clone(), self.queue(), bus, domain::phone::Country::IN)
    }

    pub(crate) fn replay(&self) -> Replay {
        Replay::new(self.table.clone())
    }

    pub(crate) async fn call(&self, lead: &str, n: u32) -> CallLocator {
        self.placed(lead, n, false).await
    }

    /// A call to a lead, from an agent or a bot.
    pub(crate) async fn placed(&self, lead: &str, n: u32, to_bot: bool) -> CallLocator {
        let at = now() + SignedDuration::from_secs(i64::from(n));
        let call = Call {
            locator: CallLocator {
                id: CallId::new(at, u128::from(n)),
                lead_id: lead_id(lead),
            },
            called_by: Some("user-1".parse().unwrap()),
            called_at: at,
            notes: Some("notes stay here".to_owned()),
            origin: CallOrigin::Exotel(Box::new(ExotelCall {
                agent_phone: "+919811100001".parse().unwrap(),
                lead_phone: "+919811100002".parse().unwrap(),
                caller_id: "+918045550100".parse().unwrap(),
                to_bot,
                attempt: 1,
                reason: None,
                progress: CallProgress::new(CallState::InFlight),
            })),
        };
        self.table.create_call(&call).await.unwrap();
        call.locator
    }

    pub(crate) async fn sms(&self, lead: &str, n: u32) -> SmsLocator {
        let at = now() + SignedDuration::from_secs(i64::from(n));
        let sms = Sms {
            locator: SmsLocator {
                id: SmsId::new(at, u128::from(n)),
                lead_id: lead_id(lead),
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
        sms.locator
    }

    pub(crate) async fn report(&self, call: &CallLocator, state: CallState, sid: Option<&str>) {
        let mut report = CallReport::new(ReportSource::Callback, Some(state));
        report.sid = sid.map(|sid| sid.parse().unwrap());
        if state == CallState::Completed {
            report.talk_secs = Some(41);
        }
        self.table.record_call_report(call, &report).await.unwrap();
    }

    /// An alert that is raised, acknowledged and recovered, a second each.
    pub(crate) async fn alert(&self, n: i64) -> Alert {
        let after = |secs: i64| now() + SignedDuration::from_secs(n + secs);
        let rule = &UNCONFIRMED_INTENTS;
        let account = AlertSubject::account();
        let seen = |count: i64| Observation::single(Measure::whole(count));
        let raised = step(rule, &account, None, seen(3), after(0), 7);
        let Some(Transition::Raised(raised)) = raised else {
            panic!("{raised:?}")
        };
        assert!(self.table.raise_alert(&raised).await.unwrap());
        let acknowledgement = Acknowledgement {
            by: "admin-1".parse().unwrap(),
            at: after(1),
            note: Some("a note".to_owned()),
        };
        let noted = self.table.acknowledge_alert(&raised.id, &acknowledgement).await;
        let noted = noted.unwrap().unwrap();
        let recovered = step(rule, &account, Some(&noted), seen(0), after(2), 8);
        let Some(Transition::Recovered(recovered)) = recovered else {
            panic!("{recovered:?}")
        };
        assert!(self.table.recover_alert(&recovered).await.unwrap());
        *recovered
    }

    pub(crate) async fn state(&self, call: &CallLocator) -> CallState {
        self.table
            .call(call)
            .await
            .unwrap()
            .unwrap()
            .exotel()
            .unwrap()
            .progress
            .state
    }

    /// Every item whose partition key begins so, as JSON in the order of the keys.
    pub(crate) async fn items(&self, prefix: &str) -> Vec<Value> {
        let answer = self
            .dynamo
            .client()
            .scan()
            .table_name(TABLE_NAME)
            .send()
            .await
            .unwrap();
        let mut items: Vec<Value> = answer
            .items
            .unwrap()
            .into_iter()
            .map(|item| serde_dynamo::from_item::<_, Value>(item).unwrap())
            .filter(|item| item["PK"].as_str().unwrap().starts_with(prefix))
            .collect();
        items.sort_by_key(|item| format!("{} {}", item["PK"], item["SK"]));
        items
    }

    /// All of the table's stream so far that reaches the function: records as Lambda delivers them.
    pub(crate) async fn stream(&self) -> Vec<Value> {
        let streams = self.ask("ListStreams", &json!({"TableName": TABLE_NAME})).await;
        let arn = &streams["Streams"][0]["StreamArn"];
        let described = self.ask("DescribeStream", &json!({"StreamArn": arn})).await;
        let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
        let start = json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        let mut iterator = self.ask("GetShardIterator", &start).await["ShardIterator"].clone();
        let mut records = Vec::new();
        loop {
            let page = self.ask("GetRecords", &json!({"ShardIterator": iterator})).await;
            let read = page["Records"].as_array().unwrap();
            records.extend(read.iter().cloned().map(|mut record| {
                record["awsRegion"] = json!("ap-south-1");
                record
            }));
            iterator = page["NextShardIterator"].clone();
            if read.is_empty() || iterator.is_null() {
                break;
            }
        }
        // The template's filter.
        records.retain(|record| {
            let pk = record["dynamodb"]["Keys"]["PK"]["S"].as_str().unwrap();
            ["LEAD#", "SID#", "ALERTS#", "SESSIONS#"]
                .iter()
                .any(|prefix| pk.starts_with(prefix))
        });
        records
    }

    async fn ask(&self, operation: &str, request: &Value) -> Value {
        let address = self.dynamo.endpoint_url().trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let body = request.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.0\r\n\
             X-Amz-Target: DynamoDBStreams_20120810.{operation}\r\nX-Amz-Date: 20261121T040000Z\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=local/20261121/ap-south-1/dynamodb/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-target, Signature=00\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{operation}: {answer}");
        serde_json::from_str(body).unwrap()
    }
}

pub(crate) fn lead_id(id: &str) -> LeadId {
    id.parse().unwrap()
}

pub(crate) fn now() -> Timestamp {
    "2026-11-21T04:00:00Z".parse().unwrap()
}

/// A callback of a call as it was kept; `n` tells events apart.
pub(crate) fn call_event(owner: impl Into<EventOwner>, n: u32, body: &str) -> RawEvent {
    RawEvent {
        owner: owner.into(),
        purpose: "call".to_owned(),
        hash: format!("hash-{n}"),
        received_at: now() + SignedDuration::from_secs(i64::from(n)),
        content_type: Some("application/x-www-form-urlencoded".to_owned()),
        body: body.as_bytes().to_vec(),
        query: None,
        handled: None,
    }
}

/// A batch of these messages, `m0`, `m1`, ….
pub(crate) fn batch(bodies: &[Value]) -> SqsEvent {
    let records: Vec<Value> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| {
            let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            json!({"messageId": format!("m{n}"), "body": text})
        })
        .collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}
