//! Prints a link to a call's recording that works for five minutes without credentials.
//!
//! `cargo run -p exotel --example recording -- 5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k`
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

mod account;

use exotel::recordings::GetRecording;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [sid] = account::arguments("recording CALL_SID")?;
    let links = account::client()?
        .send(&GetRecording {
            call_sid: sid.parse()?,
            validity_mins: 5,
        })
        .await?;
    println!(
        "{}",
        links
            .pre_signed_url
            .as_deref()
            .unwrap_or("no recording, or not yet")
    );
    Ok(())
}
