//! Any text where Exotel writes a time, and any text where it writes words with numbers in them.
#![no_main]

use exotel::{default_zone, last4, mask_numbers, parse_time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = parse_time(text, &default_zone());
    assert_eq!(mask_numbers(text).chars().count(), text.chars().count());
    let _ = last4(text);
});
