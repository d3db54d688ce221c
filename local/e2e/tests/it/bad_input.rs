//! Every route with what people send by mistake or on purpose: a clear problem, never a 5xx, and nothing stored.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::house::{ADMIN_FAMILY, Answer, Ask, Caller, House, SALES_FAMILY, each};

/// A route: `{id}` is a lead (or user), `{callId}` a call.
#[derive(Clone)]
struct Route {
    method: &'static str,
    path: String,
    /// Who may use it.
    roles: &'static [&'static str],
    /// A body that works, for those that take JSON.
    body: Option<Value>,
}

const EVERYBODY: &[&str] = &["SALES", "SALES_HEAD", "ADMIN", "SUPERADMIN"];
const HEADS: &[&str] = &["SALES_HEAD", "ADMIN", "SUPERADMIN"];
const ADMINS: &[&str] = &["ADMIN", "SUPERADMIN"];

/// Every route with a token, as template.yaml has them; a test of xtask's holds the template to the code.
fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    let mut add = |method, path: String, roles, body: Option<Value>| {
        routes.push(Route {
            method,
            path,
            roles,
            body,
        })
    };
    for (family, roles) in [(ADMIN_FAMILY, HEADS), (SALES_FAMILY, EVERYBODY)] {
        add("GET", family.to_owned(), roles, None);
        add("GET", format!("{family}/exotel-status"), roles, None);
        add(
            "PATCH",
            format!("{family}/my-call-number"),
            roles,
            Some(json!({"phone": "9811100099"})),
        );
        add("POST", format!("{family}/{{id}}/exotel-call"), roles, None);
        add(
            "POST",
            format!("{family}/{{id}}/sms"),
            roles,
            Some(json!({"body": "Hello"})),
        );
        add(
            "POST",
            format!("{family}/{{id}}/calls"),
            roles,
            Some(json!({"outcome": "picked"})),
        );
        for list in ["calls", "sms", "timeline", "export"] {
            add("GET", format!("{family}/{{id}}/{list}"), roles, None);
        }
        add(
            "GET",
            format!("{family}/{{id}}/calls/{{callId}}/recording"),
            roles,
            None,
        );
    }
    let lead = json!({"name": "Ravi", "phone": "9811100002"});
    add("PUT", format!("{ADMIN_FAMILY}/{{id}}"), ADMINS, Some(lead));
    add("GET", format!("{ADMIN_FAMILY}/{{id}}"), HEADS, None);
    add("DELETE", format!("{ADMIN_FAMILY}/{{id}}"), ADMINS, None);
    add("POST", format!("{ADMIN_FAMILY}/import"), ADMINS, None);
    add(
        "PUT",
        "/api/admin/users/{id}".to_owned(),
        ADMINS,
        Some(json!({"fullName": "Ravi", "role": "SALES"})),
    );
    add("GET", "/api/admin/users/{id}".to_owned(), HEADS, None);
    add("GET", "/api/admin/raw-events".to_owned(), HEADS, None);
    add(
        "POST",
        "/api/admin/raw-events/{id}/replay".to_owned(),
        ADMINS,
        None,
    );
    for figures in [
        "dashboard",
        "calls",
        "history",
        "flows",
        "agents",
        "delivery",
        "exports/{id}",
    ] {
        add("GET", format!("{FIGURES}/{figures}"), HEADS, None);
    }
    add("GET", ALERTS.to_owned(), HEADS, None);
    add("POST", format!("{ALERTS}/{{id}}/acknowledge"), ADMINS, None);
    add("GET", "/api/admin/exophones".to_owned(), ADMINS, None);
    add(
        "GET",
        "/api/admin/exophones/{sid}/checks".to_owned(),
        ADMINS,
        None,
    );
    add("GET", "/api/admin/calls/{sid}".to_owned(), HEADS, None);
    add("GET", "/api/admin/backfill".to_owned(), ADMINS, None);
    add(
        "POST",
        "/api/admin/backfill".to_owned(),
        ADMINS,
        Some(json!({"from": "2026-11-01"})),
    );
    add("GET", "/api/admin/figures/rebuild".to_owned(), ADMINS, None);
    add(
        "POST",
        "/api/admin/figures/rebuild".to_owned(),
        ADMINS,
        Some(json!({"from": "2026-11-01", "to": "2026-11-20"})),
    );
    routes
}

const FIGURES: &str = "/api/admin/analytics";
const ALERTS: &str = "/api/admin/alerts";

const CALL: &str = "call_01m7w179t10000000000000009";

fn filled(path: &str, id: &str) -> String {
    path.replace("{id}", id)
        .replace("{callId}", CALL)
        .replace("{sid}", "e2enobody")
}

impl Route {
    fn ask(&self, caller: &Caller, id: &str) -> Ask {
        let ask = caller.ask(self.method, &filled(&self.path, id));
        match &self.body {
            Some(body) => ask.json(body),
            None if self.path.ends_with("/import") => ask.body("text/csv", "id,name,phone\n"),
            None => ask,
        }
    }

    fn takes_a_lead(&self) -> bool {
        self.path.contains("{id}")
            && !["/users/", "raw-events", FIGURES, ALERTS]
                .iter()
                .any(|other| self.path.contains(other))
    }
}

#[tokio::test]
async fn without_a_good_token_every_route_is_401() {
    let house = House::furnished("tokens").await;
    let lead = house.lead("a", &house.phone("0001")).await;
    let before = house.settled_items_with("tokens-").await;
    let now = Timestamp::now();
    let hour = (now + SignedDuration::from_hours(1)).as_second();
    let admin = |exp: Value| json!({"sub": "tokens-admin", "role": "ADMIN", "exp": exp});
    let good = house.token("tokens-admin", "ADMIN");
    let [header, claims, mac] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts")
    };
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let other = URL_SAFE_NO_PAD.encode(admin(json!(hour + 1)).to_string());
    let bearer = |token: String| Some(format!("Bearer {token}"));
    let tokens = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some(good.clone()),
        Some("Basic YTpi".to_owned()),
        bearer("x.y.z".to_owned()),
        bearer(house.sign("another-secret-of-more-than-32-letters", &admin(json!(hour)))),
        bearer(house.sign(
            &house.secret,
            &admin(json!((now - SignedDuration::from_mins(10)).as_second())),
        )),
        bearer(house.sign(&house.secret, &json!({"sub": "tokens-admin", "role": "ADMIN"}))),
        bearer(house.sign(&house.secret, &json!({"role": "ADMIN", "exp": hour}))),
        bearer(house.sign(
            &house.secret,
            &json!({"sub": "a b", "role": "ADMIN", "exp": hour}),
        )),
        bearer(house.sign(
            &house.secret,
            &json!({"sub": "tokens-admin", "role": ["ADMIN"], "exp": hour}),
        )),
        bearer(format!("{unsigned}.{claims}.")),
        bearer(format!("{unsigned}.{claims}.{mac}")),
        bearer(format!("{header}.{other}.{mac}")),
        bearer("x".repeat(6_000)),
    ];
    each(
        routes()
            .iter()
            .flat_map(|route| tokens.iter().map(move |token| (route, token))),
        6,
        async |(route, token)| {
            let caller = token
                .as_ref()
                .map_or(house.nobody(), |token| house.nobody().with(token));
            let answer = route.ask(&caller, &lead).send().await;
            let answer = if answer.status == 403 {
                // A role that nobody knows: the token is good, its role is not.
                answer.problem(403, "forbidden")
            } else {
                answer.problem(401, "unauthorized")
            };
            assert!(!answer.text.contains("tokens-admin"), "{answer:?}");
        },
    )
    .await;
    assert_eq!(house.settled_items_with("tokens-").await, before);
}

#[tokio::test]
async fn a_role_that_may_not_is_403_and_one_nobody_knows_may_nothing() {
    let house = House::furnished("roles").await;
    let lead = house.lead("a", &house.phone("0001")).await;
    let before = house.settled_items_with("roles-").await;
    each(routes(), 6, async |route| {
        for (user, role) in [("roles-agent", "SALES"), ("roles-head", "SALES_HEAD")] {
            if !route.roles.contains(&role) {
                route
                    .ask(&house.caller(user, role), &lead)
                    .send()
                    .await
                    .problem(403, "forbidden");
            }
        }
        let answer = route
            .ask(&house.caller("roles-agent", "OWNER"), &lead)
            .send()
            .await;
        assert!([401, 403].contains(&answer.status), "{answer:?}");
        answer.any_problem();
    })
    .await;
    assert_eq!(house.settled_items_with("roles-").await, before);
    for (role, path) in [
        ("agent", SALES_FAMILY),
        ("manager", ADMIN_FAMILY),
        ("Admin", ADMIN_FAMILY),
        ("super_admin", ADMIN_FAMILY),
        ("sales_head", SALES_FAMILY),
    ] {
        house
            .caller("roles-agent", role)
            .get(&format!("{path}/exotel-status"))
            .await
            .is(200);
    }
}

#[tokio::test]
async fn somebody_elses_lead_is_answered_exactly_as_one_that_does_not_exist() {
    let house = House::furnished("theirs").await;
    let lead = house.lead("a", &house.phone("0001")).await;
    let before = house.settled_items_with("theirs-").await;
    each(
        routes().into_iter().filter(Route::takes_a_lead),
        6,
        async |route| {
            for (user, role) in [("theirs-other", "SALES"), ("theirs-rival", "SALES_HEAD")] {
                if !route.roles.contains(&role) {
                    continue;
                }
                let caller = house.caller(user, role);
                let theirs = route.ask(&caller, &lead).send().await.problem(404, "not_found");
                let nobodys = route
                    .ask(&caller, "nobody")
                    .send()
                    .await
                    .problem(404, "not_found");
                assert_eq!(theirs.told(), nobodys.told(), "{theirs:?}");
            }
        },
    )
    .await;
    assert_eq!(house.settled_items_with("theirs-").await, before);
}

#[tokio::test]
async fn what_does_not_exist_is_404_and_an_id_that_is_none_names_its_field() {
    let house = House::furnished("ids").await;
    let admin = house.admin();
    each(
        routes()
            .into_iter()
            .filter(|route| route.path.contains("{id}") && route.method != "PUT"),
        6,
        async |route| {
            let id = match route.path.contains(ALERTS) {
                true => "alert_01m7w179t10000000000000009",
                false => "ids-nobody",
            };
            let answer = route.ask(&admin, id).send().await.problem(404, "not_found");
            assert!(answer.json["field"].is_null(), "{answer:?}");
        },
    )
    .await;
    let long = "x".repeat(65);
    let before = house.settled_items_with("ids-").await;
    each(
        routes().into_iter().filter(|route| route.path.contains("{id}")),
        6,
        async |route| {
            for id in [
                "a%20b", "a%2Fb", "%C3%BC", "a.b", "a'b", "..%2F", &long, "%22%7B", "a%0Ab",
            ] {
                let answer = route.ask(&admin, id).send().await;
                assert!([400, 404].contains(&answer.status), "{id}: {answer:?}");
                // The gateway itself knows no route for some of them.
                if answer.status == 400 {
                    answer.problem(400, "bad_request").about("id");
                }
            }
        },
    )
    .await;
    let lead = house.lead("a", &house.phone("0001")).await;
    for call in [
        "7",
        "call_",
        "sms_01m7w179t10000000000000009",
        "CALL_01M7W179T10000000000000009",
        &long,
    ] {
        for family in [ADMIN_FAMILY, SALES_FAMILY] {
            admin
                .get(&format!("{family}/{lead}/calls/{call}/recording"))
                .await
                .problem(400, "bad_request")
                .about("callId");
        }
    }
    admin.delete(&format!("{ADMIN_FAMILY}/{lead}")).await.is(204);
    assert_eq!(house.settled_items_with("ids-").await, before);
}

#[tokio::test]
async fn bodies_that_cannot_be_used_are_refused_and_nothing_is_stored() {
    let house = House::furnished("forms").await;
    let lead = house.lead("a", &house.phone("0001")).await;
    let admin = house.admin();
    admin
        .put(
            "/api/admin/users/forms-admin",
            json!({"phone": house.agent_phone()}),
        )
        .await
        .is(201);
    let before = house.settled_items_with("forms-").await;
    let deep = [vec![b'['; 20_000], vec![b']'; 20_000]].concat();
    let routes: Vec<_> = routes()
        .into_iter()
        .filter(|route| route.body.is_some())
        .collect();
    each(&routes, 4, async |route| {
        let path = filled(&route.path, &lead);
        let good = route.body.clone().unwrap();
        let field = good.as_object().unwrap().keys().next().unwrap();
        let nested = format!("{{\"{field}\":{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_001));
        let send =
            async |kind: &str, body: Vec<u8>| admin.ask(route.method, &path).body(kind, body).send().await;
        for (what, body) in [
            ("no body", Vec::new()),
            ("spaces", b" \n ".to_vec()),
            ("no JSON", b"phone=9811100099".to_vec()),
            ("half a JSON", good.to_string().into_bytes()[..5].to_vec()),
            ("two JSONs", format!("{good}{good}").into_bytes()),
            ("an array", b"[]".to_vec()),
            ("a text", b"\"Hello\"".to_vec()),
            ("a number", b"7".to_vec()),
            ("null", b"null".to_vec()),
            ("deep", deep.clone()),
            ("nested", nested.into_bytes()),
            ("not UTF-8", [good.to_string().as_bytes(), &[0xff, 0xfe]].concat()),
            (
                "not UTF-8 in a value",
                [good.to_string().trim_end_matches("\"}").as_bytes(), b"\xff\"}"].concat(),
            ),
            (
                "UTF-16",
                good.to_string()
                    .encode_utf16()
                    .flat_map(u16::to_le_bytes)
                    .collect(),
            ),
            (
                "a lone surrogate",
                format!("{}\\ud800\"}}", good.to_string().trim_end_matches("\"}")).into_bytes(),
            ),
        ] {
            let answer = send("application/json", body).await;
            assert_eq!(answer.status, 400, "{what}: {answer:?}");
            answer.problem(400, "bad_request");
        }
        send(
            "application/json",
            json!({"phone": "9".repeat(1_000_000)}).to_string().into(),
        )
        .await
        .problem(413, "body_too_large");
        for kind in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/xml",
            "application/jsonp",
            ";;;",
        ] {
            send(kind, good.to_string().into())
                .await
                .problem(415, "unsupported_media_type");
        }
        // Every field with another type, null, empty and over-long.
        for field in good.as_object().unwrap().keys() {
            for value in [
                json!(7),
                json!(true),
                json!({"a": [1]}),
                json!(["x"]),
                json!(1.5e300),
                json!("x".repeat(3_000)),
                json!("\u{0}"),
                json!("a\nb"),
            ] {
                if field == "body" && value.as_str().is_some_and(|text| text.chars().count() < 1_000) {
                    continue; // A text may hold any characters.
                }
                let mut body = good.clone();
                body[field] = value;
                let answer = admin.ask(route.method, &path).json(&body).send().await;
                answer.problem(400, "bad_request").about(field);
            }
            if route.path.contains("/users/") {
                continue; // Everything of a user may be absent.
            }
            for value in [Value::Null, json!(""), json!("   ")] {
                let mut body = good.clone();
                body[field] = value;
                admin
                    .ask(route.method, &path)
                    .json(&body)
                    .send()
                    .await
                    .problem(400, "bad_request")
                    .about(field);
            }
            let mut missing = good.clone();
            missing.as_object_mut().unwrap().remove(field);
            let answer = admin
                .ask(route.method, &path)
                .json(&missing)
                .send()
                .await
                .problem(400, "bad_request");
            assert!(answer.text_of("detail").contains(field.as_str()), "{answer:?}");
        }
    })
    .await;
    assert_eq!(house.settled_items_with("forms-").await, before);
}

#[tokio::test]
async fn values_that_make_no_sense_name_their_field_and_nothing_is_stored() {
    let house = House::furnished("values").await;
    let lead = house.lead("a", &house.phone("0001")).await;
    let admin = house.admin();
    let before = house.settled_items_with("values-").await;
    let numbers = [
        "12",
        "+",
        "abcdefghij",
        "00000000000",
        "+99999999999",
        "98111000011234567",
        "9811100001;DROP",
        "+91 98111 0000",
        "９８１１１０００９９x",
    ];
    let lead_path = format!("{ADMIN_FAMILY}/values-new");
    let sales = |tail: &str| format!("{SALES_FAMILY}{tail}");
    let mut asks: Vec<(&str, String, Value, &str)> = Vec::new();
    for number in numbers {
        asks.push((
            "PATCH",
            sales("/my-call-number"),
            json!({"phone": number}),
            "phone",
        ));
        asks.push((
            "PUT",
            lead_path.clone(),
            json!({"name": "Ravi", "phone": number}),
            "phone",
        ));
        asks.push((
            "PUT",
            "/api/admin/users/values-new".to_owned(),
            json!({"phone": number}),
            "phone",
        ));
    }
    for (field, value) in [
        ("owningSalesHeadId", "a b"),
        ("assignedTo", "ü"),
        ("assignedTo", &"x".repeat(65)),
        ("id", "values-other"),
        ("name", "two\nlines"),
    ] {
        let mut body = json!({"name": "Ravi", "phone": "9811100002"});
        body[field] = json!(value);
        asks.push(("PUT", lead_path.clone(), body, field));
    }
    for (field, value) in [
        ("role", "OWNER"),
        ("email", "nobody"),
        ("email", "a b@c"),
        ("fullName", "x\u{7}"),
        ("id", "values-other"),
    ] {
        asks.push((
            "PUT",
            "/api/admin/users/values-new".to_owned(),
            json!({field: value}),
            field,
        ));
    }
    for (field, body) in [
        ("outcome", json!({"outcome": "connected"})),
        ("outcome", json!({"outcome": "exotel_dispatched"})),
        ("outcome", json!({"outcome": "aarya_completed"})),
        ("outcome", json!({"outcome": "PICKED "})),
        ("outcome", json!({"outcome": "picked", "source": "aarya"})),
        ("source", json!({"outcome": "picked", "source": "exotel"})),
        ("notes", json!({"outcome": "picked", "notes": "x".repeat(2_001)})),
        ("notes", json!({"outcome": "picked", "notes": 7})),
        ("durationSec", json!({"outcome": "picked", "durationSec": -1})),
        ("durationSec", json!({"outcome": "picked", "durationSec": "ten"})),
        ("durationSec", json!({"outcome": "picked", "durationSec": 90_000})),
        ("durationSec", json!({"outcome": "picked", "durationSec": 1.5})),
    ] {
        asks.push(("POST", sales(&format!("/{lead}/calls")), body, field));
    }
    asks.push((
        "POST",
        sales(&format!("/{lead}/sms")),
        json!({"body": "x".repeat(1_001)}),
        "body",
    ));
    each(asks, 6, async |(method, path, body, field)| {
        admin
            .ask(method, &path)
            .json(&body)
            .send()
            .await
            .problem(400, "bad_request")
            .about(field);
    })
    .await;
    for key in ["", " ", "two words", &"k".repeat(256)] {
        for (tail, body) in [("exotel-call", json!({})), ("sms", json!({"body": "Hello"}))] {
            let ask = admin
                .ask("POST", &sales(&format!("/{lead}/{tail}")))
                .header("idempotency-key", key);
            ask.json(&body)
                .send()
                .await
                .problem(400, "bad_request")
                .about("Idempotency-Key");
        }
    }
    assert_eq!(house.settled_items_with("values-").await, before);
}

#[tokio::test]
async fn queries_that_make_no_sense_name_their_field() {
    let house = House::furnished("queries").await;
    let lead = house.lead("a", &house.phone("0001")).await;
    let admin = house.admin();
    let lists: Vec<_> = routes()
        .into_iter()
        .filter(|route| {
            // Of the figures, history alone is a list.
            let figures = route.path.starts_with(FIGURES) && !route.path.ends_with("/history");
            route.method == "GET"
                && !figures
                && ([
                    "calls",
                    "sms",
                    "timeline",
                    "export",
                    "history",
                    "raw-events",
                    "raw-leads",
                    "crm",
                ]
                .iter()
                .any(|end| route.path.ends_with(&format!("/{end}"))))
        })
        .collect();
    assert_eq!(lists.len(), 12);
    each(lists, 6, async |route| {
        let path = filled(&route.path, &lead);
        for (field, value) in [
            ("limit", "0"),
            ("limit", "101"),
            ("limit", "-1"),
            ("limit", "ten"),
            ("limit", "1e2"),
            ("limit", "99999999999999999999"),
            ("cursor", "x"),
            ("cursor", "ImNhbGxfIg.AAAA.AAAAAAAAAAAAAAAAAAAAAA"),
            ("cursor", "%00"),
            ("cursor", "%FF%FE"),
        ] {
            admin
                .get(&format!("{path}?{field}={value}"))
                .await
                .problem(400, "bad_request")
                .about(field);
        }
        admin
            .get(&format!("{path}?cursor={}", "x".repeat(5_000)))
            .await
            .problem(400, "bad_request")
            .about("cursor");
        for odd in ["?", "?&&&", "?=", "?a=%22%3C", "?limit=", "?%zz=%", "?unknown=1"] {
            admin.get(&format!("{path}{odd}")).await.is(200);
        }
    })
    .await;
    for (field, query) in [
        ("from", "from=yesterday"),
        ("to", "to=2026-13-01T00:00:00Z"),
        ("from", "from=2026-11-20T09:00:00Z&to=2026-11-20T08:00:00Z"),
    ] {
        admin
            .get(&format!("/api/admin/raw-events?{query}"))
            .await
            .problem(400, "bad_request")
            .about(field);
    }
    for phone in ["12", "abc", "%2B", "%00", &"9".repeat(400)] {
        admin
            .get(&format!("{SALES_FAMILY}?phone={phone}"))
            .await
            .problem(400, "bad_request")
            .about("phone");
    }
    // A cursor of one list opens no other.
    house.lead("b", &house.phone("0101")).await;
    let page = house.head().get(&format!("{SALES_FAMILY}?limit=1")).await.is(200);
    let cursor = page.text_of("nextCursor");
    for path in [
        format!("{SALES_FAMILY}/{lead}/calls"),
        format!("{SALES_FAMILY}/{lead}/timeline"),
        "/api/admin/raw-events".to_owned(),
    ] {
        house
            .head()
            .get(&format!("{path}?cursor={cursor}"))
            .await
            .problem(400, "bad_request")
            .about("cursor");
    }
    house
        .agent()
        .get(&format!("{SALES_FAMILY}?cursor={cursor}"))
        .await
        .problem(400, "bad_request")
        .about("cursor");
}

#[tokio::test]
async fn an_import_that_is_none_is_refused_whole() {
    let house = House::furnished("noimport").await;
    let admin = house.admin();
    let path = format!("{ADMIN_FAMILY}/import");
    let before = house.settled_items_with("noimport-").await;
    let good = "id,name,phone\nnoimport-1,Ravi,9811100002\n";
    for kind in ["", "application/json", "text/plain", "application/vnd.ms-excel"] {
        admin
            .ask("POST", &path)
            .body(kind, good)
            .send()
            .await
            .problem(415, "unsupported_media_type");
    }
    let not_utf8 = [good.as_bytes(), &[0xff, 0xfe]].concat();
    let many = format!("id,name,phone\n{}", "noimport-1,Ravi,9811100002\n".repeat(5_001));
    for (kind, body) in [
        ("text/csv", Vec::new()),
        ("text/csv", b"id,name,phone\n".to_vec()),
        ("text/csv", b"id,name\nnoimport-1,Ravi\n".to_vec()),
        ("text/csv", b"PK\x03\x04binary".to_vec()),
        ("text/csv", not_utf8.clone()),
        ("text/csv", many.into_bytes()),
        ("application/x-ndjson", Vec::new()),
        ("application/x-ndjson", b"\n\n\n".to_vec()),
        ("application/x-ndjson", not_utf8),
        (
            "text/csv",
            b"id,name,phone\nnoimport-1,Ra\xffvi,9811100002\n".to_vec(),
        ),
    ] {
        admin
            .ask("POST", &path)
            .body(kind, body)
            .send()
            .await
            .problem(400, "bad_request");
    }
    admin
        .ask("POST", &path)
        .body("text/csv", vec![b'a'; 1_100_000])
        .send()
        .await
        .problem(413, "body_too_large");
    let deep = [vec![b'['; 20_000], vec![b']'; 20_000]].concat();
    let answer = admin
        .ask("POST", &path)
        .body("application/x-ndjson", deep)
        .send()
        .await
        .is(200);
    assert_eq!(
        (
            &answer.json["created"],
            answer.json["errors"].as_array().map(Vec::len)
        ),
        (&json!(0), Some(1))
    );
    assert_eq!(house.settled_items_with("noimport-").await, before);
}

#[tokio::test]
async fn cors_lets_the_configured_page_in_and_no_other() {
    let house = House::furnished("cors").await;
    let path = format!("{SALES_FAMILY}/exotel-status");
    for (origin, allowed) in [
        ("https://crm.example.com", true),
        ("https://evil.example.com", false),
    ] {
        let header = |answer: &Answer, name: &str| {
            let value = answer.headers.get(name)?;
            Some(value.to_str().unwrap().to_owned())
        };
        let answer = house
            .agent()
            .ask("GET", &path)
            .header("origin", origin)
            .send()
            .await
            .is(200);
        assert_eq!(
            header(&answer, "access-control-allow-origin").as_deref(),
            allowed.then_some(origin)
        );
        for (method, asked) in [
            ("POST", "content-type,authorization,idempotency-key"),
            ("PATCH", "authorization"),
        ] {
            let preflight = house.nobody().ask("OPTIONS", &path).header("origin", origin);
            let preflight = preflight.header("access-control-request-method", method);
            let answer = preflight
                .header("access-control-request-headers", asked)
                .send()
                .await;
            assert_eq!(
                header(&answer, "access-control-allow-origin").as_deref(),
                allowed.then_some(origin)
            );
            if allowed {
                let methods = header(&answer, "access-control-allow-methods").unwrap();
                let headers = header(&answer, "access-control-allow-headers")
                    .unwrap()
                    .to_ascii_lowercase();
                assert!(methods.contains(method), "{methods}");
                assert!(asked.split(',').all(|name| headers.contains(name)), "{headers}");
            }
        }
        let answer = house
            .http
            .get(house.url("recordings_url"))
            .header("origin", origin)
            .send()
            .await
            .unwrap();
        let found = answer
            .headers()
            .get("access-control-allow-origin")
            .map(|value| value.to_str().unwrap());
        assert_eq!(found, allowed.then_some(origin), "the recordings' address");
    }
}
