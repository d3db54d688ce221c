//! Our client and our simulator were written from Exotel's documentation apart from each other: they must agree.

use std::time::Duration;

use exotel::{
    CallStatus, CallType, CcmState, CcmStatus, Client, ConnectivityStatus, Credentials, Direction, Error,
    HeartbeatStatus, Request, SINGAPORE,
    callback::{HeartbeatCallback, PassthruCall},
    calls::{ConnectCall, GetCall, ListCalls, SortOrder},
    ccm::GetCcmCall,
    default_zone,
    exophones::{GetExophone, ListExophones},
    numbers::GetNumber,
    sms::{BulkItem, BulkMessage, GetSms, SendBulkSms, SendDynamicBulkSms, SendSms},
};
use exotel_simulator::{
    CcmDetails, EmptyAs, ExophoneHealth, Handle, Heartbeat, Inbound, Nesting, Options, Simulator,
};
use serde_json::json;

const AGENT: &str = "+919811150001";
const EXOPHONE: &str = "08045550100";

/// A simulator in which an hour is a moment, and our client for it.
async fn both() -> (Handle, Client) {
    both_with(Options::default()).await
}

async fn both_with(options: Options) -> (Handle, Client) {
    let simulator = Simulator::start(Options {
        speed: f64::INFINITY,
        seed: Some(1),
        ..options
    })
    .await
    .unwrap();
    let credentials = Credentials {
        account_sid: "acme1".to_owned(),
        api_key: "simkey".to_owned().into(),
        api_token: "simtoken".to_owned().into(),
    };
    let http = lambda_kit::https::client_builder().unwrap().build().unwrap();
    let client = Client::new(http, simulator.url().parse().unwrap(), credentials).unwrap();
    (simulator, client.with_timeout(Duration::from_millis(700)))
}

fn call_to(suffix: &str) -> ConnectCall {
    ConnectCall::two_legs(AGENT, format!("+91981110{suffix}"), EXOPHONE)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_accepted_and_its_details_and_the_list_tell_the_same_end() {
    let (simulator, client) = both().await;
    let accepted = client.send(&call_to("0001")).await.unwrap();
    assert_eq!(accepted.status, Some(CallStatus::InProgress));
    simulator
        .calls_until(|calls| calls.iter().all(|call| call.settled))
        .await;

    let details = client
        .send(&GetCall::with_details(accepted.sid.clone()))
        .await
        .unwrap();
    assert_eq!(details.status, Some(CallStatus::Completed));
    assert!(details.end_time.is_some() && details.price.is_some());
    let listed = client.send(&ListCalls::default()).await.unwrap();
    assert_eq!(listed.calls.len(), 1);
    assert_eq!(listed.calls[0].sid, accepted.sid);
    assert_eq!(listed.calls[0].status, details.status);
    assert_eq!(listed.calls[0].price, details.price);
    assert_eq!(listed.unreadable, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_walks_the_whole_list_once() {
    let (simulator, client) = both().await;
    for _ in 0..7 {
        client.send(&call_to("0001")).await.unwrap();
    }
    simulator
        .calls_until(|calls| calls.iter().all(|call| call.ended.is_some()))
        .await;
    let mut request = ListCalls {
        page_size: Some(3),
        ..ListCalls::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = client.send(&request).await.unwrap();
        seen.extend(page.calls.into_iter().map(|call| call.sid.to_string()));
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => break,
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_tells_the_caller_what_may_be_done() {
    let (_simulator, client) = both().await;
    let refused: fn(&Error) -> bool = Error::is_refused_for_good;
    let retryable: fn(&Error) -> bool = Error::is_retryable;
    let unclear: fn(&Error) -> bool = Error::may_have_reached_exotel;
    for (suffix, question) in [
        ("0011", refused),
        ("0012", refused),
        ("0013", retryable),
        ("0014", retryable),
        ("0015", unclear),
        ("0016", unclear),
        ("0017", unclear),
        ("0018", unclear),
        ("0019", unclear),
        ("0020", unclear),
        ("0021", refused),
        ("0022", refused),
        ("0023", unclear),
        ("0024", refused),
        ("0025", refused),
    ] {
        let error = client.send(&call_to(suffix)).await.expect_err(suffix);
        let answers = [refused(&error), retryable(&error), unclear(&error)];
        assert!(question(&error), "{suffix}: {error:?}");
        assert_eq!(
            answers.iter().filter(|yes| **yes).count(),
            1,
            "{suffix}: exactly one holds"
        );
        assert!(
            !format!("{error} {error:?}").contains("981110"),
            "{suffix}: a number shows"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_cluster_knows_nobody() {
    let (simulator, _) = both().await;
    let credentials = Credentials {
        account_sid: "acme1".to_owned(),
        api_key: "other".to_owned().into(),
        api_token: "x1".to_owned().into(),
    };
    let http = lambda_kit::https::client_builder().unwrap().build().unwrap();
    let stranger = Client::new(http, simulator.url().parse().unwrap(), credentials).unwrap();
    let error = stranger.send(&call_to("0001")).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert!(SINGAPORE.starts_with("https://"));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_one_by_one_and_in_bulk_and_what_nobody_knows() {
    let (simulator, client) = both().await;
    let sent = client
        .send(&SendSms::new("ACMEIN", "+919811100001", "Hello"))
        .await
        .unwrap();
    let fixed = SendBulkSms {
        from: "ACMEIN".into(),
        to: vec!["+919811100001".into(), "+919811100005".into()],
        body: "Hello".into(),
        options: Default::default(),
    };
    let own = SendDynamicBulkSms {
        from: "ACMEIN".into(),
        messages: vec![
            BulkMessage::new("+919811100001", "One"),
            BulkMessage::new("+919811100012", "Two"),
        ],
        options: Default::default(),
    };
    for items in [
        client.send(&fixed).await.unwrap(),
        client.send(&own).await.unwrap(),
    ] {
        assert_eq!(items.len(), 2);
        assert!(matches!(items[0], BulkItem::Accepted(_)));
        assert!(!items.iter().any(|item| matches!(item, BulkItem::Unreadable)));
    }
    simulator
        .messages_until(|messages| {
            messages
                .iter()
                .all(|message| message.code < 21000 || message.code > 23000)
        })
        .await;
    let details = client.send(&GetSms { sid: sent.sid }).await.unwrap();
    assert_eq!(details.detailed_status_code, Some(20005));
    let unknown = GetSms {
        sid: "0123456789abcdef0123456789abcdef".parse().unwrap(),
    };
    assert!(
        matches!(client.send(&unknown).await, Err(Error::NotFound(_))),
        "HTTP 200 and `No matching results`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn number_metadata_tells_dnd() {
    let (_simulator, client) = both().await;
    let free = client
        .send(&GetNumber {
            number: "09811100001".into(),
        })
        .await
        .unwrap();
    assert_eq!(free.dnd, Some(false));
    let dnd = client
        .send(&GetNumber {
            number: "09811100011".into(),
        })
        .await
        .unwrap();
    assert_eq!(dnd.dnd, Some(true));
}

/// Three ExoPhones, the second of which cannot be called and the third of which is not what it was.
fn ailing() -> Vec<ExophoneHealth> {
    let exophone = |number: &str, incoming: &str, alternate| ExophoneHealth {
        number: Some(number.to_owned()),
        incoming: Some(incoming.to_owned()),
        outgoing: Some("active".to_owned()),
        alternate_exophone: alternate,
        ..ExophoneHealth::default()
    };
    vec![
        exophone("08045550101", "active", None),
        exophone("08045550102", "major_outage", Some(json!("08045550101"))),
        exophone("08045550103", "degraded", None),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn exophones_are_listed_page_by_page_and_their_health_is_told() {
    for exophones_at_top in [false, true] {
        let (simulator, client) = both_with(Options {
            exophones_at_top,
            ..Options::default()
        })
        .await;
        simulator.set_exophones(ailing()).unwrap();
        let mut request = ListExophones {
            page: 0,
            page_size: 2,
        };
        let mut sids = Vec::new();
        loop {
            let page = client.send(&request).await.unwrap();
            assert_eq!(page.unreadable, []);
            sids.extend(page.exophones.into_iter().map(|exophone| exophone.sid));
            match page.next_page {
                Some(next) => request.page = next,
                None => break,
            }
        }
        assert_eq!(sids.len(), simulator.exophones().len());
        let mut seen = 0;
        for sid in sids {
            let details = client.send(&GetExophone { sid: sid.clone() }).await.unwrap();
            assert_eq!(details.exophone.sid, sid);
            let expected = match sid.as_str() {
                number if number.ends_with("102") => ConnectivityStatus::MajorOutage,
                number if number.ends_with("103") => ConnectivityStatus::Other("degraded".to_owned()),
                _ => ConnectivityStatus::Active,
            };
            let health = details.health;
            seen += usize::from(expected != ConnectivityStatus::Active);
            if expected == ConnectivityStatus::MajorOutage {
                assert_eq!(health.incoming_call.alternate, ["08045550101".into()]);
            }
            assert_eq!(health.incoming_call.status, Some(expected), "{sid:?}");
            assert_eq!(health.outgoing_call.status, Some(ConnectivityStatus::Active));
            let checked = health.incoming_call.last_check_time.unwrap();
            assert!(checked.instant(&default_zone()).unwrap().is_some());
        }
        assert_eq!(seen, 2);
        let unknown = GetExophone {
            sid: "08045559999".into(),
        };
        assert!(matches!(client.send(&unknown).await, Err(Error::NotFound(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_is_read_in_both_nestings() {
    let (simulator, _) = both().await;
    simulator.set_exophones(ailing()).unwrap();
    for (nesting, empty_as) in [
        (Nesting::Connectivity, EmptyAs::Null),
        (Nesting::Flat, EmptyAs::Array),
    ] {
        let heartbeat = Heartbeat {
            account: None,
            // Nobody is there: what was sent is looked at.
            url: "http://127.0.0.1:9/heartbeat".to_owned(),
            every_ms: None,
            nesting,
            empty_as,
            status: None,
        };
        simulator.set_heartbeat(Some(heartbeat)).unwrap();
        let pushed = simulator.push_heartbeat().await.unwrap();
        let read = HeartbeatCallback::parse(pushed.payload.to_string().as_bytes()).unwrap();
        assert_eq!(read.status, HeartbeatStatus::Warning, "{pushed:?}");
        assert_eq!(
            read.incoming_affected,
            ["08045550102".into(), "08045550103".into()]
        );
        assert_eq!(read.outgoing_affected, []);
        let health = &read.exophones[&"08045550102".into()];
        assert_eq!(health.incoming_call.status, Some(ConnectivityStatus::MajorOutage));
        assert_eq!(health.outgoing_call.status, Some(ConnectivityStatus::Active));
        let at = read.timestamp.unwrap().instant(&default_zone()).unwrap();
        assert!(at.is_some());
    }
}

/// Places a call through CCM, which our client does not.
async fn place_through_ccm(simulator: &Handle, customer: &str) -> exotel::CallSid {
    let http = lambda_kit::https::client_builder().unwrap().build().unwrap();
    let body = json!({
        "from": {"user_contact_uri": AGENT}, "to": {"customer_contact_uri": customer}, "virtual_number": EXOPHONE,
        "custom_field": "ticket:88", "recording": true,
    });
    let placed = http
        .post(format!("{}/v2/accounts/acme1/calls", simulator.url()))
        .basic_auth("simkey", Some("simtoken"))
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    let answer = exotel::Answer::new(placed.status().as_u16(), placed.bytes().await.unwrap().to_vec());
    // The answer to a call just placed holds the same details.
    let any = "a".parse().unwrap();
    GetCcmCall { sid: any }.read(&answer).unwrap().sid
}

#[tokio::test(flavor = "multi_thread")]
async fn the_details_of_a_ccm_call_are_found_wherever_they_stand() {
    for ccm_details in [
        CcmDetails::CallDetails,
        CcmDetails::Response,
        CcmDetails::TopLevel,
    ] {
        let (simulator, client) = both_with(Options {
            ccm_details,
            ..Options::default()
        })
        .await;
        for (suffix, status, overall, legs) in [
            (
                "0001",
                CcmStatus::Completed,
                "completed",
                &["completed", "completed"][..],
            ),
            (
                "0002",
                CcmStatus::CustomerUnanswered,
                "no-answer",
                &["completed", "no-answer"],
            ),
            ("0004", CcmStatus::AgentUnanswered, "no-answer", &["no-answer"]),
            (
                "0005",
                CcmStatus::CustomerNoDial,
                "failed",
                &["completed", "failed"],
            ),
        ] {
            let sid = place_through_ccm(&simulator, &format!("+91981110{suffix}")).await;
            simulator
                .calls_until(|calls| calls.iter().all(|call| call.settled))
                .await;
            let call = client.send(&GetCcmCall { sid: sid.clone() }).await.unwrap();
            assert_eq!((&call.sid, &call.state), (&sid, &Some(CcmState::Terminal)));
            assert_eq!(call.status, Some(status), "{suffix}");
            assert_eq!(call.v1_status().unwrap().as_str(), overall, "{suffix}");
            let told: Vec<_> = call
                .v1_legs()
                .into_iter()
                .map(|leg| leg.status.unwrap())
                .collect();
            let told: Vec<_> = told.iter().map(CallStatus::as_str).collect();
            assert_eq!(told, legs, "{suffix}");
            assert_eq!(call.v1_direction(), Some(Direction::OutboundApi));
            assert_eq!(call.agent.contact_uri.as_deref(), Some(AGENT));
            assert!(call.agent.user_id.is_some());
            assert_eq!(call.custom_field.as_deref(), Some("ticket:88"));
            let instant = call.created_time.unwrap().instant(&default_zone());
            assert!(instant.unwrap().is_some());
            if suffix == "0001" {
                assert!(call.talk_secs.is_some_and(|secs| secs > 0) && call.total_duration_secs.is_some());
                assert_eq!(call.recordings.len(), 1);
            }
        }
        let unknown = GetCcmCall {
            sid: "0123456789abcdef0123456789abcdef".parse().unwrap(),
        };
        assert!(matches!(client.send(&unknown).await, Err(Error::NotFound(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_comes_in_is_told_by_its_passthru_and_by_the_list_alike() {
    let (simulator, client) = both().await;
    let inbound = Inbound {
        flow_id: Some("228040".to_owned()),
        agent: Some(AGENT.to_owned()),
        digits: Some("1".to_owned()),
        passthru: Some("http://127.0.0.1:9/passthru".to_owned()),
        sync: false,
        ..Inbound::from("+919811100001")
    };
    let sid = simulator.inbound(inbound).unwrap();
    simulator
        .calls_until(|calls| calls.iter().all(|call| call.settled))
        .await;
    let told = simulator.callbacks();
    let told: Vec<PassthruCall> = told
        .iter()
        .filter(|callback| callback.event == "passthru")
        .map(|callback| {
            let body = serde_json::to_vec(&callback.params).unwrap();
            PassthruCall::parse(Some("application/json"), &body, None).unwrap()
        })
        .collect();
    let last = told.last().unwrap();
    assert_eq!(
        (last.call_sid.as_str(), &last.direction),
        (sid.as_str(), &Some(Direction::Inbound))
    );
    assert_eq!(
        (last.digits.as_deref(), last.flow_id.as_deref()),
        (Some("1"), Some("228040"))
    );
    assert_eq!(last.call_type, Some(CallType::Completed));
    assert_eq!(
        (&last.end_time, &last.dial_call_status),
        (&None, &Some(CallStatus::Completed))
    );
    let request = ListCalls {
        direction: Some(Direction::Inbound),
        sort: Some(SortOrder::Ascending),
        details: true,
        ..ListCalls::default()
    };
    let page = client.send(&request).await.unwrap();
    assert_eq!((page.calls.len(), page.unreadable.len(), page.next), (1, 0, None));
    let listed = &page.calls[0];
    assert_eq!(listed.sid, last.call_sid);
    let instant =
        |time: &Option<exotel::ExotelTime>| time.as_ref().unwrap().instant(&default_zone()).unwrap().unwrap();
    assert_eq!(instant(&listed.date_created), instant(&last.created));
    assert_eq!(listed.from, last.call_from);
    assert_eq!(listed.phone_number_sid, last.call_to);
    assert!(listed.conversation_duration_secs.is_some() && listed.price.is_some());
}
