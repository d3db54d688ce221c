//! How the ExoPhones are, and what was said of one: for administrators.

use std::collections::BTreeMap;

use domain::health::{
    AccountStatus, CheckedExoPhone, HealthCheck, Listed, ListedExoPhone, Push, Said, SideSaid, Status,
};
use serde_json::{Value, json};

use crate::house::{ADMIN, HEAD, House, SALES, at};

const EXOPHONES: &str = "/api/admin/exophones";
const CHECKS: &str = "/api/admin/exophones/{sid}/checks";

/// Two ExoPhones, of which one cannot call: listed and pushed a minute ago, one of them asked about since.
pub(crate) async fn heard(house: &House) {
    let sids = ["08045550100", "08045550101"].map(|sid| sid.parse().unwrap());
    let listed = sids.clone().map(|sid: domain::ids::ExoPhoneSid| ListedExoPhone {
        number: Some(sid.to_string()),
        sid,
        name: Some("Desk".to_owned()),
        voice: Some(true),
        sms: Some(false),
    });
    let out = SideSaid {
        status: Status::from_exotel(Some("major_outage")),
        measured_at: Some(at(-70_000)),
        alternates: vec!["08045550101".to_owned()],
    };
    let lists = Listed {
        outgoing_affected: vec![sids[0].clone()],
        data: BTreeMap::from([(
            sids[0].clone(),
            Said {
                incoming: None,
                outgoing: Some(out),
            },
        )]),
        ..Listed::default()
    };
    let push = Push::new(at(-60_000), AccountStatus::Warning, lists);
    let answer = Said {
        incoming: Some(SideSaid::bare(Status::Ok)),
        outgoing: Some(SideSaid::bare(Status::from_exotel(Some("sleepy")))),
    };
    house
        .table
        .change_exophone_health(|health| {
            health.hear_list(listed.to_vec(), at(-120_000));
            health.end_list(at(-120_000));
            health.hear_push(&push, at(-59_000));
            health.hear_answer(&sids[1], &answer, at(-30_000));
        })
        .await
        .unwrap();
    let polled = CheckedExoPhone {
        sid: sids[1].clone(),
        said: answer,
        failure: None,
    };
    let unanswered = CheckedExoPhone {
        sid: sids[0].clone(),
        said: Said::default(),
        failure: Some("HTTP 503: Service Unavailable".to_owned()),
    };
    for check in [
        HealthCheck::of_push(&push, at(-59_000), "hash"),
        HealthCheck::of_poll(at(-30_000), vec![polled, unanswered]),
    ] {
        house.table.put_health_check(&check).await.unwrap();
    }
}

#[tokio::test]
async fn administrators_see_each_side_of_each_exophone_and_nobody_else_does() {
    let house = House::new().await;
    for who in [HEAD, SALES] {
        for (route, path) in [
            (EXOPHONES, EXOPHONES),
            (CHECKS, "/api/admin/exophones/08045550100/checks"),
        ] {
            assert_eq!(house.get(who, route, path).await.status, 403);
        }
    }
    let empty = house.get(ADMIN, EXOPHONES, EXOPHONES).await;
    assert_eq!(
        (&empty.body["items"], &empty.body["total"]),
        (&json!([]), &json!(0))
    );
    heard(&house).await;
    let answer = house.get(ADMIN, EXOPHONES, EXOPHONES).await;
    assert_eq!(
        answer.body,
        json!({
            "status_type": "WARNING", "pushed_at": "2026-11-20T08:29:00Z", "heard_at": "2026-11-20T08:29:30Z",
            "listed_at": "2026-11-20T08:28:00Z", "total": 2, "affected": 1, "unknown": 1, "nextCursor": null,
            "items": [
                {"sid": "08045550100", "phone_number": "08045550100", "friendly_name": "Desk", "voice": true, "sms": false,
                 "status": "affected", "alerted_at": null,
                 "incoming_call": {"status": "ok", "word": null, "since": "2026-11-20T08:29:00Z",
                    "checked_at": "2026-11-20T08:29:00Z", "source": "push", "last_check_time": null, "alternate_exophones": []},
                 "outgoing_call": {"status": "affected", "word": "major_outage", "since": "2026-11-20T08:29:00Z",
                    "checked_at": "2026-11-20T08:29:00Z", "source": "push", "last_check_time": "2026-11-20T08:28:50Z",
                    "alternate_exophones": ["08045550101"]}},
                {"sid": "08045550101", "phone_number": "08045550101", "friendly_name": "Desk", "voice": true, "sms": false,
                 "status": "unknown", "alerted_at": null,
                 "incoming_call": {"status": "ok", "word": null, "since": "2026-11-20T08:29:00Z",
                    "checked_at": "2026-11-20T08:29:30Z", "source": "poll", "last_check_time": null, "alternate_exophones": []},
                 "outgoing_call": {"status": "unknown", "word": "sleepy", "since": "2026-11-20T08:29:30Z",
                    "checked_at": "2026-11-20T08:29:30Z", "source": "poll", "last_check_time": null, "alternate_exophones": []}},
            ]
        })
    );
}

#[tokio::test]
async fn exophones_are_paged_and_chosen_by_status_and_nonsense_is_named() {
    let house = House::new().await;
    heard(&house).await;
    let get = async |query: &str| house.get(ADMIN, EXOPHONES, &format!("{EXOPHONES}?{query}")).await;
    let sids = |body: &Value| -> Vec<String> {
        let items = body["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["sid"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = get("limit=1").await.body;
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = get(&format!("limit=1&cursor={cursor}")).await.body;
    assert_eq!(
        (sids(&first), sids(&second)),
        (vec!["08045550100".to_owned()], vec!["08045550101".to_owned()])
    );
    assert_eq!(second["nextCursor"], Value::Null);
    assert_eq!(sids(&get("status=affected").await.body), ["08045550100"]);
    assert_eq!(sids(&get("status=ok").await.body), Vec::<String>::new());
    for query in ["status=down", "limit=0", "limit=x", "cursor=x"] {
        assert_eq!(get(query).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn what_was_said_of_an_exophone_is_listed_newest_first() {
    let house = House::new().await;
    heard(&house).await;
    let get = async |sid: &str, query: &str| {
        house
            .get(
                ADMIN,
                CHECKS,
                &format!("/api/admin/exophones/{sid}/checks?{query}"),
            )
            .await
    };
    let answer = get("08045550100", "").await;
    let items = answer.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(
        items[0],
        json!({"checked_at": "2026-11-20T08:29:30Z", "timestamp": "2026-11-20T08:29:30Z", "source": "poll",
            "status_type": null, "incoming_call": null, "outgoing_call": null, "failure": "HTTP 503: Service Unavailable"})
    );
    assert_eq!(items[1]["outgoing_call"]["word"], "major_outage");
    assert_eq!(items[1]["timestamp"], "2026-11-20T08:29:00Z");
    let one = get("08045550101", "limit=1").await.body;
    assert_eq!(one["items"][0]["outgoing_call"]["word"], "sleepy");
    let cursor = one["nextCursor"].as_str().unwrap();
    let rest = get("08045550101", &format!("limit=1&cursor={cursor}")).await.body;
    assert_eq!(
        rest["items"][0]["incoming_call"]["status"], "ok",
        "the push did not name it"
    );
    for query in [
        "from=x",
        "from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z",
        "cursor=x",
    ] {
        assert_eq!(get("08045550100", query).await.status, 400, "{query}");
    }
    assert_eq!(get("a%20b", "").await.status, 400);
}
