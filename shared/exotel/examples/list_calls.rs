//! Lists the calls of the last hours, page by page.
//!
//! `cargo run -p exotel --example list_calls -- 24`
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

mod account;

use exotel::calls::{CreatedBetween, ListCalls};
use exotel::default_zone;
use jiff::{Timestamp, ToSpan};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [hours] = account::arguments("list_calls HOURS")?;
    let client = account::client()?;
    let now = Timestamp::now();
    let created = CreatedBetween::new(now - hours.parse::<i64>()?.hours(), now, &default_zone());
    let mut request = ListCalls {
        created: Some(created),
        page_size: Some(100),
        ..ListCalls::default()
    };
    loop {
        let page = client.send(&request).await?;
        for call in page.calls {
            println!("{} {:?} {:?} s", call.sid, call.status, call.duration_secs);
        }
        let Some(next) = page.next else { return Ok(()) };
        request.cursor = Some(next);
    }
}
