//! Calls, messages, the timeline, and calls logged by hand.

use domain::{
    call::{CallReport, CallState},
    sms::{ReportSource, SmsReport, SmsState},
};
use serde_json::{Value, json};

use crate::house::{ADMIN, Event, HEAD, House, SALES, call, sms, talked};

const CALLS: &str = "/api/sales/crm/{id}/calls";

fn manual(body: Value) -> Event {
    Event::new("POST", CALLS, "/api/sales/crm/lead-1/calls").json(body)
}

#[tokio::test]
async fn a_call_shows_its_outcome_and_never_where_its_recording_is() {
    let house = House::new().await;
    let call = call(1);
    house.table.create_call(&call).await.unwrap();
    house
        .table
        .record_call_report(&call.locator, &talked())
        .await
        .unwrap();
    let answer = house.get(SALES, CALLS, "/api/sales/crm/lead-1/calls").await;
    assert_eq!(
        answer.body,
        json!({"nextCursor": null, "items": [{
            "id": call.locator.id, "leadId": "lead-1", "calledBy": "sales-1", "outcome": "connected",
            "source": "exotel", "durationSec": 41, "notes": null, "exotelCallSid": "abc123",
            "hasRecording": true, "calledAt": "2026-11-20T08:30:00.001Z",
        }]})
    );
}

#[tokio::test]
async fn a_call_that_was_refused_says_why() {
    let house = House::new().await;
    let call = call(1);
    house.table.create_call(&call).await.unwrap();
    let from = [CallState::InFlight];
    house
        .table
        .settle_call(
            &call.locator,
            &from,
            CallState::Refused,
            Some("the number is on DND"),
        )
        .await
        .unwrap();
    let answer = house.get(SALES, CALLS, "/api/sales/crm/lead-1/calls").await;
    let shown = &answer.body["items"][0];
    assert_eq!(
        (&shown["outcome"], &shown["reason"]),
        (&json!("disconnected"), &json!("the number is on DND"))
    );
}

#[tokio::test]
async fn a_call_that_failed_at_exotel_does_not_say_why_an_earlier_attempt_was_put_back() {
    let house = House::new().await;
    let call = call(1);
    house.table.create_call(&call).await.unwrap();
    assert!(
        house
            .table
            .release_call(&call.locator, 1, "Exotel is busy")
            .await
            .unwrap()
    );
    house
        .table
        .claim_call(&call.locator, 2, 7, &"+918045550100".parse().unwrap())
        .await
        .unwrap();
    let failed = CallReport::new(ReportSource::Callback, Some(CallState::Failed));
    house
        .table
        .record_call_report(&call.locator, &failed)
        .await
        .unwrap();
    let answer = house.get(SALES, CALLS, "/api/sales/crm/lead-1/calls").await;
    let shown = &answer.body["items"][0];
    assert_eq!(
        (&shown["outcome"], shown.get("reason")),
        (&json!("disconnected"), None)
    );
}

#[tokio::test]
async fn a_message_shows_its_status_and_why_it_failed() {
    let house = House::new().await;
    let sms = sms(1);
    house.table.create_sms(&sms).await.unwrap();
    let failed = SmsReport {
        sid: Some("def456".parse().unwrap()),
        detailed_status: Some("EXPIRED".to_owned()),
        detailed_code: Some(23001),
        date_sent: Some("2026-11-20T08:31:00Z".parse().unwrap()),
        units: Some(1),
        price: Some("0.2".to_owned()),
        ..SmsReport::new(ReportSource::Callback, Some(SmsState::Failed))
    };
    house
        .table
        .record_sms_report(&sms.locator, &failed)
        .await
        .unwrap();
    for family in ["/api/sales/crm", "/api/admin/raw-leads"] {
        let answer = house
            .get(
                HEAD,
                &format!("{family}/{{id}}/sms"),
                &format!("{family}/lead-1/sms"),
            )
            .await;
        assert_eq!(
            answer.body,
            json!({"nextCursor": null, "items": [{
                "id": sms.locator.id, "leadId": "lead-1", "sentBy": "sales-1", "toPhone": "+919811100001",
                "body": "Your visit is booked for 11 am.", "status": "failed", "exotelSmsSid": "def456",
                "errorMessage": "EXPIRED", "sentAt": "2026-11-20T08:30:00.001Z", "dateSent": "2026-11-20T08:31:00Z",
                "detailedStatus": "EXPIRED", "detailedStatusCode": 23001, "smsUnits": 1, "price": "0.2",
            }]})
        );
    }
}

#[tokio::test]
async fn the_timeline_merges_calls_and_messages_newest_first_at_any_page_size() {
    let house = House::new().await;
    let mut expected = Vec::new();
    for n in 0..12 {
        if n % 3 == 0 {
            house.table.create_sms(&sms(n)).await.unwrap();
            expected.push(("sms", sms(n).locator.id.to_string()));
        }
        if n % 2 == 0 {
            house.table.create_call(&call(n)).await.unwrap();
            expected.push(("call", call(n).locator.id.to_string()));
        }
    }
    expected.sort_by_key(|(_, id)| id.split_once('_').unwrap().1.to_owned());
    expected.reverse();
    let route = "/api/sales/crm/{id}/timeline";
    for limit in [1, 2, 3, 5, 100] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/sales/crm/lead-1/timeline?limit={limit}&cursor={cursor}");
            let page = house.get(SALES, route, &path).await;
            assert_eq!(page.status, 200, "{page:?}");
            let items = page.body["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            for item in items {
                let text = |name: &str| item[name].as_str().unwrap().to_owned();
                seen.push((text("type"), text("id")));
            }
            match page.body["nextCursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        let seen: Vec<_> = seen
            .iter()
            .map(|(kind, id)| (kind.as_str(), id.clone()))
            .collect();
        assert_eq!(seen, expected, "by {limit}");
    }
}

#[tokio::test]
async fn a_call_is_logged_by_hand_and_counts_nothing() {
    let house = House::new().await;
    for outcome in [
        "picked",
        "not_picked",
        "wrong_number",
        "invalid",
        "switched_off",
        "out_of_service",
        "callback_requested",
    ] {
        let body = json!({"outcome": outcome, "notes": "  after 6 pm ", "durationSec": 40});
        let answer = house.send(&manual(body).by(SALES)).await;
        assert_eq!(answer.status, 201, "{outcome}: {answer:?}");
        let log = &answer.body;
        assert_eq!(
            (
                &log["outcome"],
                &log["source"],
                &log["notes"],
                &log["durationSec"],
                &log["hasRecording"]
            ),
            (
                &json!(outcome),
                &json!("manual"),
                &json!("after 6 pm"),
                &json!(40),
                &json!(false)
            )
        );
        assert_eq!(
            (&log["calledBy"], &log["leadId"]),
            (&json!("sales-1"), &json!("lead-1"))
        );
    }
    let listed = house.get(SALES, CALLS, "/api/sales/crm/lead-1/calls").await;
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 7);
    let lead = house
        .table
        .lead(&"lead-1".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((lead.call_count, lead.last_contacted_at), (0, None));
}

#[tokio::test]
async fn only_administrators_log_the_ai_callers_rows() {
    let house = House::new().await;
    let aarya = json!({"outcome": "aarya_completed", "source": "aarya"});
    assert_eq!(
        house.send(&manual(aarya.clone()).by(ADMIN)).await.body["source"],
        "aarya"
    );
    assert_eq!(house.send(&manual(aarya).by(HEAD)).await.status, 403);
    for (body, field) in [
        (json!({"outcome": "aarya_completed"}), "outcome"),
        (json!({"outcome": "picked", "source": "aarya"}), "outcome"),
        (json!({"outcome": "connected"}), "outcome"),
        (json!({"outcome": "exotel_dispatched"}), "outcome"),
        (json!({"outcome": "picked", "source": "exotel"}), "source"),
        (json!({"outcome": "picked", "notes": "n".repeat(2_001)}), "notes"),
        (json!({"outcome": "picked", "durationSec": 86_401}), "durationSec"),
        (json!({"outcome": "picked", "durationSec": -1}), "durationSec"),
        (json!({"outcome": "picked", "durationSec": "40"}), "durationSec"),
    ] {
        let answer = house.send(&manual(body.clone()).by(ADMIN)).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!(field)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn status_and_my_number_say_what_the_buttons_need() {
    let house = House::new().await;
    let route = "/api/sales/crm/exotel-status";
    let answer = house.get(SALES, route, route).await;
    assert_eq!(answer.body, json!({"enabled": true, "myPhone": null}));
    let mine = "/api/sales/crm/my-call-number";
    let set = |phone: &str| {
        Event::new("PATCH", mine, mine)
            .json(json!({"phone": phone}))
            .by(SALES)
    };
    for text in [
        "9811100099",
        "098111-00099",
        "+91 98111 00099",
        "0091 98111 00099",
    ] {
        let answer = house.send(&set(text)).await;
        assert_eq!(
            (answer.status, answer.body),
            (200, json!({"phone": "+919811100099"})),
            "{text}"
        );
    }
    for text in [
        "123456789",
        "1234567890123456",
        "98111x0099",
        "phone",
        "0000000000",
    ] {
        let answer = house.send(&set(text)).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!("phone")),
            "{text}"
        );
    }
    let answer = house.get(SALES, route, route).await;
    assert_eq!(answer.body, json!({"enabled": true, "myPhone": "+919811100099"}));
}

#[tokio::test]
async fn without_an_account_status_says_so_and_the_rest_works() {
    for missing in [
        "EXOTEL_SID",
        "EXOTEL_API_KEY",
        "EXOTEL_API_TOKEN",
        "EXOTEL_CALLER_ID",
    ] {
        let mut settings = vec![
            ("EXOTEL_SID", "acme1"),
            ("EXOTEL_API_KEY", "key"),
            ("EXOTEL_API_TOKEN", "token"),
            ("EXOTEL_CALLER_ID", "08045550100"),
        ];
        settings.retain(|(name, _)| *name != missing);
        let house = House::with(&settings).await;
        let route = "/api/admin/raw-leads/exotel-status";
        assert_eq!(
            house.get(HEAD, route, route).await.body["enabled"],
            false,
            "{missing}"
        );
        assert_eq!(
            house
                .send(&manual(json!({"outcome": "picked"})).by(SALES))
                .await
                .status,
            201
        );
    }
}
