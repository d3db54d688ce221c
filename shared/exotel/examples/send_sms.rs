//! Sends one SMS and looks it up. Costs money.
//!
//! `cargo run -p exotel --example send_sms -- +919811100002 "Your order is on its way"`, with `EXOTEL_SMS_SENDER_ID`
//! set and, in India, `EXOTEL_DLT_ENTITY_ID` and `EXOTEL_DLT_TEMPLATE_ID`.
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

mod account;

use exotel::sms::{GetSms, SendSms, SmsOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [to, body] = account::arguments("send_sms TO TEXT")?;
    let client = account::client()?;
    let options = SmsOptions {
        dlt_entity_id: account::setting("EXOTEL_DLT_ENTITY_ID").ok(),
        dlt_template_id: account::setting("EXOTEL_DLT_TEMPLATE_ID").ok(),
        ..SmsOptions::default()
    };
    let from = account::setting("EXOTEL_SMS_SENDER_ID")?;
    let sms = client
        .send(&SendSms {
            options,
            ..SendSms::new(from, to, body)
        })
        .await?;
    println!("accepted as {}", sms.sid);
    println!("{:#?}", client.send(&GetSms { sid: sms.sid }).await?);
    Ok(())
}
