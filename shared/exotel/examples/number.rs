//! Reads circle, operator and do-not-disturb state of a number.
//!
//! `cargo run -p exotel --example number -- +919811100002`
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

mod account;

use exotel::numbers::GetNumber;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [number] = account::arguments("number NUMBER")?;
    println!(
        "{:#?}",
        account::client()?
            .send(&GetNumber {
                number: number.into()
            })
            .await?
    );
    Ok(())
}
