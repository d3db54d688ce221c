//! Lists the account's ExoPhones with their health.
//!
//! `cargo run -p exotel --example exophones -- 50`
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

mod account;

use exotel::exophones::{GetExophone, ListExophones};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [page_size] = account::arguments("exophones PAGE_SIZE")?;
    let client = account::client()?;
    let mut request = ListExophones {
        page_size: page_size.parse()?,
        ..ListExophones::default()
    };
    loop {
        let page = client.send(&request).await?;
        for exophone in page.exophones {
            let sid = exophone.sid.clone();
            let details = client.send(&GetExophone { sid }).await?;
            let (incoming, outgoing) = (
                details.health.incoming_call.status,
                details.health.outgoing_call.status,
            );
            let number = exophone.phone_number.unwrap_or(exophone.sid);
            println!("{} in: {incoming:?} out: {outgoing:?}", number.as_str());
        }
        let Some(next) = page.next_page else { return Ok(()) };
        request.page = next;
    }
}
