//! Which way a flow goes on: a rule that a team writes, held against a call in the middle of its flow.

use std::{fmt, str::FromStr};

use crate::DomainError;

/// More than any flow needs.
const MOST_CONDITIONS: usize = 16;
/// More keys than any menu asks for.
const MOST_DIGITS: usize = 32;
/// As long as a session keeps one, in bytes.
const LONGEST_OUTCOME: usize = 64;

const DIAL_STATUSES: &[&str] = &["completed", "canceled", "no-answer", "busy", "failed"];
const CALL_TYPES: &[&str] = &[
    "call-attempt",
    "completed",
    "client-hangup",
    "incomplete",
    "voicemail",
];
const DIRECTIONS: &[&str] = &["incoming", "outbound-dial"];

/// The two branches behind a Passthru applet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Branch {
    /// The rule holds: Exotel is answered 200.
    Holds,
    /// It does not: Exotel is answered 302.
    Otherwise,
}

/// Conditions that must all hold. Written as a comma-separated list; a `!` before a condition turns it around:
///
/// | condition | holds when |
/// |---|---|
/// | `known-lead` | a lead has the caller's number |
/// | `digits=1` | the caller pressed exactly these keys (`0`–`9`, `*`, `#`) |
/// | `dial-status=…` | whom the flow dialled last: `completed`, `canceled`, `no-answer`, `busy`, `failed` |
/// | `call-type=…` | how far the call got: `call-attempt`, `completed`, `client-hangup`, `incomplete`, `voicemail` |
/// | `direction=…` | `incoming` or `outbound-dial` |
/// | `bot-outcome=…` | the last bot of the call handed it on with this outcome, or it ended so: `hung_up`, `bot_failed`, … |
///
/// The empty rule always holds. What Exotel does not tell equals nothing.
///
/// ```
/// use domain::steering::{Branch, CallSoFar, Rule};
///
/// let rule: Rule = "known-lead, !digits=9".parse()?;
/// let call = CallSoFar { known_lead: true, digits: Some("1"), ..CallSoFar::default() };
/// assert_eq!(rule.branch(&call), Branch::Holds);
/// # Ok::<(), domain::DomainError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule(Vec<Condition>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    negated: bool,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    KnownLead,
    Digits(String),
    DialStatus(&'static str),
    CallType(&'static str),
    Direction(&'static str),
    BotOutcome(String),
}

/// What is known of a call in the middle of its flow, in Exotel's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallSoFar<'a> {
    /// Whether a lead has the caller's number. Asked only if [`Rule::asks_for_the_lead`].
    pub known_lead: bool,
    /// Keys that the caller pressed.
    pub digits: Option<&'a str>,
    /// What became of the leg that was dialled last.
    pub dial_status: Option<&'a str>,
    /// How far the call got.
    pub call_type: Option<&'a str>,
    /// Who called; `inbound` is the same as `incoming`.
    pub direction: Option<&'a str>,
    /// What came of the call's last session with a bot. Asked only if [`Rule::asks_for_the_bot`].
    pub bot_outcome: Option<&'a str>,
}

impl Rule {
    /// Whether the answer depends on whose number the caller's is, which has to be looked up.
    pub fn asks_for_the_lead(&self) -> bool {
        self.0.iter().any(|condition| condition.test == Test::KnownLead)
    }

    /// Whether the answer depends on what came of a bot, which has to be looked up.
    pub fn asks_for_the_bot(&self) -> bool {
        let asks = |condition: &Condition| matches!(condition.test, Test::BotOutcome(_));
        self.0.iter().any(asks)
    }

    /// Holds the rule against a call.
    pub fn branch(&self, call: &CallSoFar<'_>) -> Branch {
        let holds = |condition: &Condition| condition.test.holds(call) != condition.negated;
        if self.0.iter().all(holds) {
            Branch::Holds
        } else {
            Branch::Otherwise
        }
    }
}

impl Test {
    fn holds(&self, call: &CallSoFar<'_>) -> bool {
        let says = |said: Option<&str>, word: &str| said.is_some_and(|said| plain(said) == word);
        match self {
            Test::KnownLead => call.known_lead,
            Test::Digits(digits) => call.digits.is_some_and(|pressed| pressed.trim() == digits),
            Test::DialStatus(word) => says(call.dial_status, word),
            Test::CallType(word) => says(call.call_type, word),
            Test::Direction(word) => call.direction.map(direction).is_some_and(|said| said == *word),
            Test::BotOutcome(outcome) => says(call.bot_outcome, outcome),
        }
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (plain(name), Some(value.trim())),
            None => (plain(text), None),
        };
        let one_of = |words: &'static [&'static str], problem| {
            let value = plain(value.unwrap_or_default());
            words.iter().find(|word| **word == value).copied().ok_or(problem)
        };
        match name.as_str() {
            "known-lead" if value.is_none() => Ok(Test::KnownLead),
            "known-lead" => Err("takes no value: known-lead"),
            "digits" => {
                let digits = value.unwrap_or_default();
                let keys = digits
                    .bytes()
                    .all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'#'));
                if keys && (1..=MOST_DIGITS).contains(&digits.len()) {
                    Ok(Test::Digits(digits.to_owned()))
                } else {
                    Err("needs 1 to 32 keys from 0-9, * and #: digits=1")
                }
            }
            "dial-status" => one_of(
                DIAL_STATUSES,
                "needs completed, canceled, no-answer, busy or failed: dial-status=completed",
            )
            .map(Test::DialStatus),
            "call-type" => one_of(
                CALL_TYPES,
                "needs call-attempt, completed, client-hangup, incomplete or voicemail: call-type=incomplete",
            )
            .map(Test::CallType),
            "direction" => {
                let value = value.map(direction).unwrap_or_default();
                let word = DIRECTIONS.iter().find(|word| **word == value).copied();
                word.map(Test::Direction)
                    .ok_or("needs incoming or outbound-dial: direction=incoming")
            }
            "bot-outcome" => match plain(value.unwrap_or_default()) {
                outcome if (1..=LONGEST_OUTCOME).contains(&outcome.len()) => Ok(Test::BotOutcome(outcome)),
                _ => Err("needs an outcome of 1 to 64 characters: bot-outcome=agent"),
            },
            "" => Err("is empty"),
            _ => Err("is none of known-lead, digits=, dial-status=, call-type=, direction= and bot-outcome="),
        }
    }
}

impl FromStr for Rule {
    type Err = DomainError;

    /// # Errors
    /// [`DomainError::Rule`] names the condition that cannot be read, without what it says.
    fn from_str(text: &str) -> Result<Self, DomainError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut conditions = Vec::new();
        for (text, condition) in text.split(',').zip(1..) {
            if condition > MOST_CONDITIONS {
                let problem = "is one too many; 16 are allowed";
                return Err(DomainError::Rule { condition, problem });
            }
            let text = text.trim();
            let (negated, text) = match text.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, text),
            };
            let test = Test::read(text).map_err(|problem| DomainError::Rule { condition, problem })?;
            conditions.push(Condition { negated, test });
        }
        Ok(Self(conditions))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Condition { negated, test }) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let not = if *negated { "!" } else { "" };
            write!(f, "{comma}{not}")?;
            match test {
                Test::KnownLead => f.write_str("known-lead")?,
                Test::Digits(digits) => write!(f, "digits={digits}")?,
                Test::DialStatus(word) => write!(f, "dial-status={word}")?,
                Test::CallType(word) => write!(f, "call-type={word}")?,
                Test::Direction(word) => write!(f, "direction={word}")?,
                Test::BotOutcome(outcome) => write!(f, "bot-outcome={outcome}")?,
            }
        }
        Ok(())
    }
}

fn plain(word: &str) -> String {
    let word = word.trim().to_ascii_lowercase().replace('_', "-");
    match word.as_str() {
        "cancelled" => "canceled".to_owned(),
        _ => word,
    }
}

/// Exotel's flows say `incoming` where its API says `inbound`.
fn direction(word: &str) -> String {
    match plain(word).as_str() {
        "inbound" => "incoming".to_owned(),
        "outbound" => "outbound-dial".to_owned(),
        word => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    fn holds(text: &str, call: &CallSoFar<'_>) -> bool {
        rule(text).branch(call) == Branch::Holds
    }

    #[test]
    fn each_condition_holds_for_its_word_alone() {
        let call = CallSoFar {
            known_lead: true,
            digits: Some("1"),
            dial_status: Some("No_Answer"),
            call_type: Some("incomplete"),
            direction: Some("inbound"),
            bot_outcome: Some("Bot_Failed"),
        };
        for (text, expected) in [
            ("", true),
            ("  ", true),
            ("known-lead", true),
            ("!known-lead", false),
            ("digits=1", true),
            ("digits=11", false),
            ("!digits=2", true),
            ("dial-status=no-answer", true),
            ("DIAL_STATUS = no_answer", true),
            ("dial-status=completed", false),
            ("call-type=incomplete", true),
            ("!call-type=voicemail", true),
            ("direction=incoming", true),
            ("direction=inbound", true),
            ("direction=outbound-dial", false),
            ("bot-outcome=bot_failed", true),
            ("bot-outcome= bot-failed", true),
            ("!bot-outcome=agent", true),
            ("bot-outcome=agent", false),
            ("known-lead,digits=1, !dial-status=busy", true),
            ("known-lead,digits=2", false),
        ] {
            assert_eq!(holds(text, &call), expected, "{text}");
        }
    }

    #[test]
    fn what_exotel_does_not_tell_equals_nothing() {
        let silent = CallSoFar::default();
        for text in [
            "known-lead",
            "digits=0",
            "dial-status=failed",
            "call-type=completed",
            "direction=incoming",
        ] {
            assert!(!holds(text, &silent), "{text}");
            assert!(holds(&format!("!{text}"), &silent), "{text}");
        }
        let unknown = CallSoFar {
            dial_status: Some("teleported"),
            ..silent
        };
        assert!(!holds("dial-status=completed", &unknown));
    }

    #[test]
    fn a_rule_that_cannot_be_read_says_which_condition_and_not_what_it_was() {
        for (text, condition) in [
            ("known-leads", 1),
            ("known-lead=yes", 1),
            ("known-lead,", 2),
            (",", 1),
            ("known-lead,,digits=1", 2),
            ("!", 1),
            ("!!known-lead", 1),
            ("digits", 1),
            ("digits=", 1),
            ("digits=one", 1),
            ("known-lead,digits=123456789012345678901234567890123", 2),
            ("dial-status", 1),
            ("dial-status=done", 1),
            ("call-type=completed;direction=incoming", 1),
            ("direction=up", 1),
            ("9811100001", 1),
        ] {
            let Err(error @ DomainError::Rule { condition: at, .. }) = text.parse::<Rule>() else {
                panic!("{text} was read")
            };
            assert_eq!(at, condition, "{text}");
            assert!(!error.to_string().contains("9811100001"));
        }
        let long = vec!["known-lead"; MOST_CONDITIONS + 1].join(",");
        assert!(long.parse::<Rule>().is_err());
    }

    #[test]
    fn only_a_rule_about_leads_needs_the_look_up() {
        assert!(rule("digits=1,!known-lead").asks_for_the_lead());
        assert!(!rule("digits=1").asks_for_the_lead() && !rule("").asks_for_the_lead());
    }

    fn conditions() -> impl Strategy<Value = String> {
        let condition = "!?(known-lead|digits=[0-9*#]{1,4}|dial-status=(completed|busy)|call-type=(voicemail|incomplete)|direction=(incoming|outbound-dial))";
        proptest::collection::vec(condition, 0..8).prop_map(|conditions| conditions.join(","))
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,60}") {
            let _ = text.parse::<Rule>();
        }

        #[test]
        fn what_is_written_reads_back(text in conditions()) {
            let rule = rule(&text);
            prop_assert_eq!(rule.to_string(), text);
        }

        #[test]
        fn a_rule_and_one_more_condition_hold_less_often(text in conditions(), more in conditions(), known_lead: bool, digits in proptest::option::of("[0-9]")) {
            let call = CallSoFar { known_lead, digits: digits.as_deref(), ..CallSoFar::default() };
            let both = [text.as_str(), more.as_str()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",");
            prop_assert_eq!(holds(&both, &call), holds(&text, &call) && holds(&more, &call));
        }
    }
}
