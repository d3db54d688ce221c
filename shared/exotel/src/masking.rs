//! Phone numbers as they may appear in logs and messages: by their last four digits.

/// Digits that stay readable.
const SHOWN: usize = 4;

/// A run of at least this many digits is taken for a phone number: the shortest Indian landline number without its
/// STD code has six, but Exotel's own five- and six-digit error codes have to stay readable.
const SHORTEST_NUMBER: usize = 7;

/// Characters that may stand between two digits of one number (`+91 (80) 4555-0100`).
const LONGEST_GAP: usize = 3;

/// The last four digits of a phone number, for log lines; fewer when it has fewer.
///
/// ```
/// assert_eq!(exotel::last4("+91 98111 00002"), "0002");
/// ```
pub fn last4(number: &str) -> String {
    let digits: Vec<char> = number.chars().filter(|c| c.is_numeric()).collect();
    digits[digits.len().saturating_sub(SHOWN)..].iter().collect()
}

/// `text` with every phone number in it reduced to its last four digits.
///
/// Anything with seven or more digits in a row counts as a number, separators between them included, so dates are
/// masked too: too much is better than a customer's number in a log.
///
/// ```
/// assert_eq!(exotel::mask_numbers("Call to [09811100002] failed"), "Call to [*******0002] failed");
/// ```
pub fn mask_numbers(text: &str) -> String {
    let mut masked: Vec<char> = text.chars().collect();
    let mut run: Vec<usize> = Vec::new();
    for at in 0..masked.len() {
        if !masked[at].is_numeric() {
            continue;
        }
        let belongs = run.last().is_some_and(|&last| {
            at - last <= LONGEST_GAP + 1 && masked[last + 1..at].iter().all(|c| !c.is_alphanumeric())
        });
        if !belongs {
            hide(&mut masked, &run);
            run.clear();
        }
        run.push(at);
    }
    hide(&mut masked, &run);
    masked.into_iter().collect()
}

fn hide(text: &mut [char], digits: &[usize]) {
    if digits.len() < SHORTEST_NUMBER {
        return;
    }
    for &at in &digits[..digits.len() - SHOWN] {
        text[at] = '*';
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_keep_their_last_four_digits_and_codes_stay_readable() {
        for (text, masked) in [
            (
                "Call to [09811100002] can not be made",
                "Call to [*******0002] can not be made",
            ),
            (
                "+91 98111 00002 and 08045550100",
                "+** ***** *0002 and *******0100",
            ),
            ("code 35008, status 503", "code 35008, status 503"),
            ("code 340030", "code 340030"),
            ("to09811100002", "to*******0002"),
            ("(080) 4555-0100", "(***) ****-0100"),
            ("९८१११००००२", "******०००२"),
            ("", ""),
        ] {
            assert_eq!(mask_numbers(text), masked);
        }
    }

    #[test]
    fn last4_of_a_short_or_empty_number_is_what_there_is() {
        assert_eq!(last4("12"), "12");
        assert_eq!(last4("sip:agent"), "");
    }

    proptest! {
        #[test]
        fn no_text_lets_a_ten_digit_number_through(before in ".{0,12}", number in "[6-9][0-9]{9}", after in "\\PC{0,12}") {
            let masked = mask_numbers(&format!("{before}{number}{after}"));
            prop_assert!(!masked.contains(&number));
        }
    }
}
