//! The account's ExoPhones, and whether calls get through to and from them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::{Answer, UnreadableEntry, items};
use crate::fields::{Fields, entry};
use crate::request::{Api, FieldList, FieldWriter, Request, check_present, invalid};
use crate::{Error, ExotelTime, PhoneNumber, PrivateUrl};

pub use crate::connectivity::{Connectivity, ExophoneHealth};

/// Exotel's page size.
const PAGE_SIZE: u32 = 50;

/// Reads one page of the account's ExoPhones, without their health.
///
/// Pages are counted from 0. The URIs that Exotel gives with a page point to an old host and are never followed: the next
/// page is the same request with [`ExophonePage::next_page`].
///
/// <https://developer.exotel.com/api/exophone-details>
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListExophones {
    /// Which page, from 0.
    pub page: u32,
    /// ExoPhones per page; Exotel's own is 50. A largest is not documented.
    pub page_size: u32,
}

impl Default for ListExophones {
    fn default() -> Self {
        Self {
            page: 0,
            page_size: PAGE_SIZE,
        }
    }
}

/// One page of ExoPhones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExophonePage {
    /// The ExoPhones, in Exotel's order.
    pub exophones: Vec<Exophone>,
    /// Entries that have neither sid nor number.
    pub unreadable: Vec<UnreadableEntry>,
    /// How many there are in all, if Exotel says.
    pub total: Option<u32>,
    /// The page to ask for next; none on the last, and none behind an empty page.
    pub next_page: Option<u32>,
}

/// An ExoPhone: a virtual number of the account. Only the sid is certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exophone {
    /// Exotel's id of the ExoPhone: usually, but not always, its number.
    pub sid: PhoneNumber,
    /// The number, in Exotel's spelling.
    pub phone_number: Option<PhoneNumber>,
    /// What the account calls it.
    pub friendly_name: Option<String>,
    /// Whether it takes and makes calls.
    pub voice: Option<bool>,
    /// Whether it takes and sends SMS.
    pub sms: Option<bool>,
    /// Country, such as `IN`.
    pub country: Option<String>,
    /// Telecom circle, such as `KA`.
    pub region: Option<String>,
    /// The flow that an incoming call runs.
    pub voice_url: Option<PrivateUrl>,
    /// The flow that an incoming SMS runs.
    pub sms_url: Option<PrivateUrl>,
    /// When the account got it.
    pub date_created: Option<ExotelTime>,
}

/// Reads one ExoPhone with its health. Exotel throttles this request harder than others (429), by an unpublished limit.
///
/// <https://developer.exotel.com/api/heartbeat-webhook>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetExophone {
    /// The ExoPhone's sid, as the list and HeartBeat give it.
    pub sid: PhoneNumber,
}

/// An ExoPhone and its health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExophoneDetails {
    /// The ExoPhone; under the sid that was asked for if the answer names none.
    pub exophone: Exophone,
    /// Its health; unknown where Exotel does not say.
    pub health: ExophoneHealth,
}

impl Request for ListExophones {
    type Answer = ExophonePage;

    fn api(&self) -> Api {
        Api::V2Beta
    }

    fn check(&self) -> Result<(), Error> {
        if self.page_size == 0 {
            return invalid("PageSize", "must be at least 1");
        }
        Ok(())
    }

    fn path(&self) -> Vec<String> {
        vec!["IncomingPhoneNumbers".to_owned()]
    }

    fn query(&self) -> FieldList {
        let mut query = FieldWriter::default();
        query.set("Page", self.page).set("PageSize", self.page_size);
        query.finish()
    }

    /// Reads v2_beta's `incoming_phone_numbers` and v1's `IncomingPhoneNumbers` with its `Metadata`.
    fn read(&self, answer: &Answer) -> Result<ExophonePage, Error> {
        let unreadable = |problem| Error::unreadable(answer.status(), problem);
        let tree = answer
            .tree()
            .ok_or_else(|| unreadable("the list of ExoPhones is neither JSON nor XML"))?;
        let list = ["incoming_phone_numbers", "IncomingPhoneNumbers"]
            .iter()
            .find_map(|name| tree.get(name))
            .ok_or_else(|| unreadable("the answer has no incoming_phone_numbers"))?;
        let mut page = ExophonePage::default();
        let entries = items(list, "IncomingPhoneNumber");
        for item in &entries {
            match Exophone::from_tree(item.get("IncomingPhoneNumber").unwrap_or(item)) {
                Some(exophone) => page.exophones.push(exophone),
                None => page.unreadable.push(UnreadableEntry::new(
                    item,
                    "the ExoPhone has neither sid nor phone_number",
                )),
            }
        }
        let metadata = tree.get("Metadata").unwrap_or(&tree);
        let about = |name| entry(metadata, name).map(|value| Fields::from_json(&json!({"it": value})));
        page.total = about("Total").and_then(|total| total.count("it"));
        let successor = about("NextPageUri").is_some_and(|uri| uri.text("it").is_some());
        let behind = (u64::from(self.page) + 1) * u64::from(self.page_size);
        let more = successor || page.total.is_some_and(|total| u64::from(total) > behind);
        page.next_page = self.page.checked_add(1).filter(|_| more && !entries.is_empty());
        Ok(page)
    }
}

impl Request for GetExophone {
    type Answer = ExophoneDetails;

    fn api(&self) -> Api {
        Api::V2
    }

    fn check(&self) -> Result<(), Error> {
        check_present("the ExoPhone's sid", &self.sid)?;
        if matches!(self.sid.as_str(), "." | "..") {
            return invalid("the ExoPhone's sid", "is no sid");
        }
        Ok(())
    }

    fn path(&self) -> Vec<String> {
        vec!["incoming-phone-numbers".to_owned(), self.sid.as_str().to_owned()]
    }

    /// Looks for the ExoPhone in `response.data`, in `response` and at the top: which of them Exotel means is unverified.
    fn read(&self, answer: &Answer) -> Result<ExophoneDetails, Error> {
        let tree = answer.tree().unwrap_or_default();
        let places = places(&tree);
        let found = places
            .iter()
            .find(|place| ExophoneHealth::is_in(place))
            .or_else(|| places.iter().find(|place| Exophone::from_tree(place).is_some()))
            .ok_or_else(|| Error::unreadable(answer.status(), "the answer holds no ExoPhone"))?;
        // The names may stand beside the object that holds the health.
        let exophone =
            Exophone::from_tree(found).or_else(|| places.iter().find_map(|place| Exophone::from_tree(place)));
        Ok(ExophoneDetails {
            exophone: exophone.unwrap_or_else(|| Exophone::unnamed(self.sid.clone())),
            health: ExophoneHealth::from_tree(found),
        })
    }
}

/// Objects of an answer that may be the ExoPhone, the likeliest first; lists count by their first item.
fn places(tree: &Value) -> Vec<&Value> {
    let mut places = Vec::new();
    let response = tree.get("response").map(first);
    let data = response.and_then(|response| response.get("data")).map(first);
    for place in [data, response, tree.get("data").map(first), Some(first(tree))]
        .into_iter()
        .flatten()
    {
        for wrapper in ["incoming_phone_number", "IncomingPhoneNumber"] {
            places.extend(place.get(wrapper).map(first));
        }
        places.push(place);
    }
    places.retain(|place| place.is_object());
    places
}

fn first(value: &Value) -> &Value {
    value.as_array().and_then(|items| items.first()).unwrap_or(value)
}

impl Exophone {
    fn unnamed(sid: PhoneNumber) -> Self {
        Self {
            sid,
            phone_number: None,
            friendly_name: None,
            voice: None,
            sms: None,
            country: None,
            region: None,
            voice_url: None,
            sms_url: None,
            date_created: None,
        }
    }

    fn from_tree(exophone: &Value) -> Option<Self> {
        let fields = Fields::from_json(exophone);
        let sid = fields.any(&["sid", "phone_number_sid", "phone_number"])?;
        Some(Self {
            phone_number: fields.phone("phone_number"),
            friendly_name: fields.owned("friendly_name"),
            voice: fields.flag("capabilities[voice]"),
            sms: fields.flag("capabilities[sms]"),
            country: fields.any(&["country", "iso_country"]).map(str::to_owned),
            region: fields.owned("region"),
            voice_url: fields.web_url("voice_url"),
            sms_url: fields.web_url("sms_url"),
            date_created: fields.time("date_created"),
            ..Self::unnamed(sid.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConnectivityStatus;
    use proptest::prelude::*;

    fn page(request: ListExophones, body: &str) -> Result<ExophonePage, Error> {
        request.read(&Answer::new(200, body.as_bytes().to_vec()))
    }

    fn details(body: &str) -> Result<ExophoneDetails, Error> {
        GetExophone {
            sid: "08045550100".into(),
        }
        .read(&Answer::new(200, body.as_bytes().to_vec()))
    }

    #[test]
    fn both_lists_are_read() {
        let v2_beta = r#"{"page":0,"page_size":50,"first_page_uri":"http://twilix.exotel.com/v2_beta/x","next_page_uri":null,
            "incoming_phone_numbers":[{"sid":"a1","phone_number":"08045550100","friendly_name":"Sales","capabilities":{"voice":true,"sms":false},
            "country":"IN","region":"KA","voice_url":"http://my.exotel.com/acme1/exoml/start_voice/926","sms_url":null},{"friendly_name":"lost"}]}"#;
        let v1 = r#"{"IncomingPhoneNumbers":[{"IncomingPhoneNumber":{"PhoneNumber":"08045550100"}}],"Metadata":{"Total":1,"NextPageUri":null}}"#;
        let read = page(ListExophones::default(), v2_beta).unwrap();
        assert_eq!((read.exophones.len(), read.next_page), (1, None));
        let exophone = &read.exophones[0];
        assert_eq!(
            (exophone.sid.as_str(), exophone.phone_number.as_deref()),
            ("a1", Some("08045550100"))
        );
        assert_eq!(
            (exophone.voice, exophone.sms, exophone.region.as_deref()),
            (Some(true), Some(false), Some("KA"))
        );
        assert_eq!(read.unreadable[0].raw, r#"{"friendly_name":"lost"}"#);
        let read = page(ListExophones::default(), v1).unwrap();
        assert_eq!(
            (read.exophones[0].sid.as_str(), read.total, read.next_page),
            ("08045550100", Some(1), None)
        );
    }

    #[test]
    fn the_next_page_is_counted_and_its_uri_not_looked_at() {
        let third = ListExophones {
            page: 2,
            page_size: 2,
        };
        let body = |next: &str, numbers: &str| {
            format!(r#"{{"next_page_uri":{next},"incoming_phone_numbers":{numbers}}}"#)
        };
        let two = r#"[{"sid":"1"},{"sid":"2"}]"#;
        for (next, numbers, expected) in [
            (
                r#""http://twilix.exotel.com/v2_beta/elsewhere?Page=9""#,
                two,
                Some(3),
            ),
            ("null", two, None),
            ("\"\"", two, None),
            (r#""http://twilix.exotel.com/""#, "[]", None),
        ] {
            assert_eq!(
                page(third, &body(next, numbers)).unwrap().next_page,
                expected,
                "{next}"
            );
        }
        let counted = r#"{"IncomingPhoneNumbers":[{"PhoneNumber":"1"}],"Metadata":{"Total":"7"}}"#;
        assert_eq!(page(third, counted).unwrap().next_page, Some(3));
        assert_eq!(
            page(
                ListExophones {
                    page: 3,
                    page_size: 2
                },
                counted
            )
            .unwrap()
            .next_page,
            None
        );
    }

    #[test]
    fn a_list_without_exophones_is_no_empty_list() {
        for body in ["", "{}", "[]", "<html/>", r#"{"incoming_phone_number":[]}"#] {
            assert!(page(ListExophones::default(), body).is_err(), "{body}");
        }
        assert_eq!(
            page(ListExophones::default(), r#"{"incoming_phone_numbers":[]}"#).unwrap(),
            ExophonePage::default()
        );
    }

    #[test]
    fn health_is_found_wherever_the_answer_has_it() {
        let exophone = r#"{"sid":"08045550100","connectivity":{"incoming_call":{"status":"active"},"outgoing_call":{"status":"major_outage"}}}"#;
        for body in [
            exophone.to_owned(),
            format!(
                r#"{{"request_id":"a","http_code":200,"response":{{"code":200,"error_data":null,"status":"success","data":{exophone}}}}}"#
            ),
            format!(
                r#"{{"http_code":200,"response":[{{"code":200,"status":"success","data":{exophone}}}]}}"#
            ),
            format!(r#"{{"response":{exophone}}}"#),
            format!(r#"{{"response":{{"data":{{"incoming_phone_number":{exophone}}}}}}}"#),
            format!(r#"{{"data":[{exophone}]}}"#),
        ] {
            let read = details(&body).unwrap();
            assert_eq!(
                read.health.outgoing_call.status,
                Some(ConnectivityStatus::MajorOutage),
                "{body}"
            );
            assert_eq!(
                read.health.incoming_call.status,
                Some(ConnectivityStatus::Active),
                "{body}"
            );
            assert_eq!(read.exophone.sid.as_str(), "08045550100");
        }
    }

    #[test]
    fn an_exophone_without_health_is_of_unknown_health() {
        for body in [
            r#"{"response":{"status":"success","data":{"sid":"08045550100"}}}"#,
            r#"{"response":{"status":"success","data":{"sid":"08045550100","connectivity":null}}}"#,
            r#"{"sid":"08045550100","status":"active"}"#,
        ] {
            assert_eq!(details(body).unwrap().health, ExophoneHealth::default(), "{body}");
        }
        for body in [
            "",
            "{}",
            "null",
            r#"{"response":{"status":"success","data":null}}"#,
        ] {
            assert!(details(body).unwrap_err().may_have_reached_exotel(), "{body}");
        }
    }

    #[test]
    fn a_sid_that_would_leave_its_place_is_not_asked_for() {
        for sid in ["", " ", ".", ".."] {
            assert!(GetExophone { sid: sid.into() }.check().is_err(), "{sid}");
        }
    }

    proptest! {
        #[test]
        fn no_exophone_of_a_page_is_lost(entries in proptest::collection::vec(crate::tree_strategy(), 0..8)) {
            let body = serde_json::json!({"incoming_phone_numbers": entries}).to_string();
            let read = page(ListExophones::default(), &body).unwrap();
            prop_assert_eq!(read.exophones.len() + read.unreadable.len(), entries.len());
        }

        #[test]
        fn no_answer_makes_the_reader_panic(tree in crate::tree_strategy()) {
            let _ = details(&tree.to_string());
            let _ = page(ListExophones { page: u32::MAX, page_size: u32::MAX }, &tree.to_string());
        }
    }
}
