//! The bot that needs no server: a tree of prompts and keys, which a caller walks by pressing them.
//!
//! A tree is data, read from JSON or TOML by whoever has the text:
//!
//! ```toml
//! start = "welcome"
//!
//! [nodes.welcome]
//! say = "welcome"                            # the name of a prompt, or several
//! keys = { 1 = { goto = "hours" }, 2 = { goto = "order" }, 9 = { transfer = "agent" } }
//! invalid = "wrong-key"                      # said before the prompt again
//!
//! [nodes.hours]
//! say = ["open", "until-seven"]
//! then = "hang_up"                           # nothing to press here
//!
//! [nodes.order]
//! say = "enter-order"
//! number = { min_digits = 6, max_digits = 8, then = { transfer = "order" } }
//! give_up = { goto = "hours" }               # after three tries; without, the call ends
//! ```

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Input, Listen, MOST_DIGITS, Then, keys::is_key};

/// The longest name of a prompt, a node or an outcome, in bytes.
const LONGEST_NAME: usize = 64;
/// The longest that a node may wait for a key.
const LONGEST_TIMEOUT_MS: u32 = 60_000;

/// A menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// The name of the node that greets.
    pub start: String,
    /// All nodes by name.
    pub nodes: BTreeMap<String, Node>,
}

/// A place in a menu. It either asks for keys (`keys`, `number`), or says something and goes on (`then`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What is said: names of prompts, in order.
    #[serde(default, deserialize_with = "one_or_many")]
    pub say: Vec<String>,
    /// Where keys lead. A name of several keys is pressed one after the other.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, Goal>,
    /// Any number instead of certain keys. Keys that have a goal of their own keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<Number>,
    /// Where it goes on when nothing is to be pressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Goal>,
    /// What is said to keys that lead nowhere, before the prompt again.
    #[serde(
        default,
        deserialize_with = "one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub invalid: Vec<String>,
    /// What is said when nothing is pressed, before the prompt again.
    #[serde(
        default,
        deserialize_with = "one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub silence: Vec<String>,
    /// How long it waits for the first key, in milliseconds.
    #[serde(default = "Node::usual_timeout_ms")]
    pub timeout_ms: u32,
    /// How long it waits for a further key, in milliseconds.
    #[serde(default = "Node::usual_digit_timeout_ms")]
    pub digit_timeout_ms: u32,
    /// How often the prompt is said before the caller is given up: after wrong keys, and after none.
    #[serde(default = "Node::usual_tries")]
    pub max_tries: u8,
    /// Where it goes on then.
    #[serde(default)]
    pub give_up: Goal,
}

/// A number that the caller enters, ended by `#`, by its length, or by a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Number {
    /// The fewest digits that are a number.
    pub min_digits: u8,
    /// The most, at most [`MOST_DIGITS`].
    pub max_digits: u8,
    /// Where it goes on.
    pub then: Goal,
}

/// Where a menu goes on: `{"goto": "node"}`, `{"transfer": "outcome"}` or `"hang_up"`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// At another node.
    Goto(String),
    /// Outside: the call's flow goes on by this outcome.
    Transfer(String),
    /// Nowhere.
    #[default]
    HangUp,
}

/// Where a caller is in a menu: what the bot keeps between two turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The node.
    pub node: String,
    /// How often its prompt has been said.
    pub tries: u8,
}

/// What a menu answers to an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The names of the prompts to be said, in order.
    pub say: Vec<&'a str>,
    /// What comes after them.
    pub then: Then,
    /// Where the caller is now.
    pub place: Place,
}

/// What is wrong with a menu, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// There is no such start.
    #[error("the menu starts at \"{0}\", and there is no such node; name one of its nodes in `start`")]
    NoStart(String),
    /// A node leads to one that is not there.
    #[error("node \"{node}\" goes to \"{target}\", and there is no such node")]
    MissingTarget {
        /// The node.
        node: String,
        /// Where it leads.
        target: String,
    },
    /// Nothing leads to a node.
    #[error("node \"{0}\" cannot be reached from the start; lead to it or remove it")]
    Unreachable(String),
    /// A caller who does nothing would hear the same for ever.
    #[error("a caller who presses nothing goes round for ever: {}", .0.join(" -> "))]
    Loop(Vec<String>),
    /// A field of a node is wrong.
    #[error("node \"{node}\": {what}")]
    Node {
        /// The node.
        node: String,
        /// What is wrong, and what to do.
        what: String,
    },
}

impl Tree {
    /// Looks for everything that would leave a caller stuck: what is wrong, all of it.
    pub fn validate(&self) -> Result<(), Vec<TreeError>> {
        let mut errors = Vec::new();
        if !self.nodes.contains_key(&self.start) {
            errors.push(TreeError::NoStart(self.start.clone()));
        }
        for (name, node) in &self.nodes {
            let wrong = node.validate().into_iter().chain(wrong_name(name, "its name"));
            errors.extend(wrong.map(|what| TreeError::Node {
                node: name.clone(),
                what,
            }));
            let missing = node.targets().filter(|target| !self.nodes.contains_key(*target));
            let missing: BTreeSet<_> = missing.collect();
            errors.extend(missing.into_iter().map(|target| TreeError::MissingTarget {
                node: name.clone(),
                target: target.to_owned(),
            }));
        }
        if self.nodes.contains_key(&self.start) {
            let reached = self.reached();
            let unreached = self.nodes.keys().filter(|name| !reached.contains(name.as_str()));
            errors.extend(unreached.cloned().map(TreeError::Unreachable));
        }
        errors.extend(self.loops().into_iter().map(TreeError::Loop));
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// The names of all prompts, so that whoever has the files can see whether each is there.
    pub fn prompts(&self) -> BTreeSet<&str> {
        let prompts = self
            .nodes
            .values()
            .flat_map(|node| [&node.say, &node.invalid, &node.silence]);
        prompts.flatten().map(String::as_str).collect()
    }

    fn reached(&self) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![self.start.as_str()];
        while let Some(name) = open.pop() {
            if let Some(node) = self.nodes.get(name)
                && reached.insert(name)
            {
                open.extend(node.targets());
            }
        }
        reached
    }

    /// The circles in which nothing has to be pressed. Each node has one way on without, so there is no more to a search
    /// than to walk.
    fn loops(&self) -> Vec<Vec<String>> {
        let mut loops = Vec::new();
        let mut walked = BTreeSet::new();
        for start in self.nodes.keys() {
            let mut path: Vec<&str> = Vec::new();
            let mut at = Some(start.as_str());
            while let Some(name) = at {
                if let Some(begin) = path.iter().position(|before| *before == name) {
                    let round = path[begin..].iter().chain([&name]);
                    loops.push(round.map(|name| (*name).to_owned()).collect());
                    break;
                }
                if !walked.insert(name) {
                    break;
                }
                path.push(name);
                at = self
                    .nodes
                    .get(name)
                    .and_then(|node| node.goal_without_keys().node());
            }
        }
        loops
    }

    /// Answers an input of a caller at a place; one who is nowhere yet, or at a node that a newer tree does not have any
    /// more, is at the start. The tree is valid.
    pub fn answer(&self, place: Option<Place>, input: &Input) -> Reply<'_> {
        let mut reply = Reply {
            say: Vec::new(),
            then: Then::HangUp,
            place: Place {
                node: self.start.clone(),
                tries: 0,
            },
        };
        let known = place.and_then(|place| Some((self.nodes.get(&place.node)?, place)));
        let (node, place) = match (known, self.nodes.get(&self.start)) {
            (Some(known), _) => known,
            (None, Some(start)) => (start, reply.place.clone()),
            (None, None) => return reply,
        };
        reply.place = place;
        match (input, node.goal_of(input)) {
            (Input::Digits(_), Some(goal)) => self.follow(goal, &mut reply),
            // Whoever says something where keys are asked for hears the prompt again, at no cost.
            (Input::Start | Input::Speech(_), _) => {
                let tries = reply.place.tries.max(1);
                self.enter(node, tries, &mut reply);
            }
            (Input::Digits(_) | Input::Silence(_), _) if reply.place.tries < node.max_tries => {
                let before = if matches!(input, Input::Silence(_)) {
                    &node.silence
                } else {
                    &node.invalid
                };
                reply.say.extend(before.iter().map(String::as_str));
                let tries = reply.place.tries + 1;
                self.enter(node, tries, &mut reply);
            }
            (Input::Digits(_), _) => {
                reply.say.extend(node.invalid.iter().map(String::as_str));
                self.follow(&node.give_up, &mut reply);
            }
            (Input::Silence(_), _) => self.follow(&node.give_up, &mut reply),
        }
        reply
    }

    /// Says a node's prompt, and goes on from there.
    fn enter<'a>(&'a self, node: &'a Node, tries: u8, reply: &mut Reply<'a>) {
        reply.place.tries = tries;
        reply.say.extend(node.say.iter().map(String::as_str));
        match &node.then {
            Some(goal) => self.follow(goal, reply),
            None => reply.then = Then::Listen(node.listen()),
        }
    }

    /// Goes where a goal leads, to where keys are asked for or the call ends. A tree that nobody validated may lead
    /// nowhere or for ever; then the call ends.
    fn follow<'a>(&'a self, mut goal: &'a Goal, reply: &mut Reply<'a>) {
        reply.then = Then::HangUp;
        for _ in 0..=self.nodes.len() {
            let (name, node) = match goal {
                Goal::HangUp => return,
                Goal::Transfer(outcome) => {
                    reply.then = Then::Transfer(outcome.clone());
                    return;
                }
                Goal::Goto(name) => match self.nodes.get(name) {
                    Some(node) => (name, node),
                    None => return,
                },
            };
            reply.place.node.clone_from(name);
            reply.place.tries = 1;
            reply.say.extend(node.say.iter().map(String::as_str));
            match &node.then {
                Some(next) => goal = next,
                None => {
                    reply.then = Then::Listen(node.listen());
                    return;
                }
            }
        }
    }
}

impl Node {
    fn usual_timeout_ms() -> u32 {
        6_000
    }

    fn usual_digit_timeout_ms() -> u32 {
        3_000
    }

    fn usual_tries() -> u8 {
        3
    }

    fn asks(&self) -> bool {
        !self.keys.is_empty() || self.number.is_some()
    }

    /// Where it goes on when nothing is pressed.
    fn goal_without_keys(&self) -> &Goal {
        self.then.as_ref().unwrap_or(&self.give_up)
    }

    fn targets(&self) -> impl Iterator<Item = &str> {
        let number = self.number.iter().map(|number| &number.then);
        let goals = self.keys.values().chain(number).chain([self.goal_without_keys()]);
        goals.filter_map(Goal::node)
    }

    fn goal_of(&self, input: &Input) -> Option<&Goal> {
        let Input::Digits(digits) = input else { return None };
        let number = self.number.as_ref().filter(|number| {
            let length = usize::from(number.min_digits)..=usize::from(number.max_digits);
            length.contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
        });
        self.keys.get(digits).or(number.map(|number| &number.then))
    }

    /// What the session is to listen for here.
    fn listen(&self) -> Listen {
        let keys = self.keys.keys().map(String::len).max().unwrap_or(0);
        let number = self
            .number
            .as_ref()
            .map_or(0, |number| usize::from(number.max_digits));
        let max_digits = keys.max(number).min(usize::from(MOST_DIGITS)) as u8;
        let is_free = !self.keys.keys().any(|keys| keys.contains('#'));
        Listen {
            speech: false,
            max_digits,
            terminator: (max_digits > 1 && is_free).then_some('#'),
            digit_timeout_ms: self.digit_timeout_ms,
            no_input_ms: self.timeout_ms,
            // The tree itself comes to an end, after `max_tries` at each node.
            most_silences: u8::MAX,
        }
    }

    fn validate(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.say.is_empty() && (self.asks() || self.then.is_none()) {
            wrong.push("it says nothing; name a prompt in `say`".to_owned());
        }
        for (field, prompts) in [
            ("say", &self.say),
            ("invalid", &self.invalid),
            ("silence", &self.silence),
        ] {
            let names = prompts
                .iter()
                .filter_map(|name| wrong_name(name, &format!("a prompt in `{field}`")));
            wrong.extend(names);
        }
        match (self.asks(), &self.then) {
            (true, Some(_)) => wrong
                .push("it asks for keys and goes on without; use `keys` and `number`, or `then`".to_owned()),
            (false, None) => wrong.push("it leads nowhere; give it `keys`, a `number` or `then`".to_owned()),
            _ => {}
        }
        for keys in self.keys.keys() {
            if keys.is_empty() || keys.len() > usize::from(MOST_DIGITS) || !keys.chars().all(is_key) {
                wrong.push(format!(
                    "\"{keys}\" cannot be pressed; keys are 0 to 9, *, # and A to D"
                ));
            }
        }
        if let Some(number) = &self.number {
            let has_digits = 1 <= number.min_digits && number.min_digits <= number.max_digits;
            if !has_digits || number.max_digits > MOST_DIGITS {
                wrong.push(format!(
                    "a number of {} to {} digits cannot be entered; allow 1 to {MOST_DIGITS}",
                    number.min_digits, number.max_digits
                ));
            }
        }
        if self.asks() && self.max_tries == 0 {
            wrong.push("`max_tries` is 0; the prompt is said once at least".to_owned());
        }
        for (field, ms) in [
            ("timeout_ms", self.timeout_ms),
            ("digit_timeout_ms", self.digit_timeout_ms),
        ] {
            if !(500..=LONGEST_TIMEOUT_MS).contains(&ms) {
                wrong.push(format!(
                    "`{field}` is {ms}; wait 500 to {LONGEST_TIMEOUT_MS} ms for a key"
                ));
            }
        }
        let number = self.number.iter().map(|number| &number.then);
        let goals = self
            .keys
            .values()
            .chain(number)
            .chain(&self.then)
            .chain([&self.give_up]);
        let outcomes = goals.filter_map(|goal| match goal {
            Goal::Transfer(outcome) => wrong_name(outcome, "the outcome of a transfer"),
            _ => None,
        });
        wrong.extend(outcomes);
        wrong
    }
}

impl Goal {
    fn node(&self) -> Option<&str> {
        match self {
            Goal::Goto(node) => Some(node),
            Goal::Transfer(_) | Goal::HangUp => None,
        }
    }
}

/// What is wrong with a name, if anything.
fn wrong_name(name: &str, what: &str) -> Option<String> {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '"' | '\\');
    if name.trim().is_empty() {
        Some(format!("{what} is empty; give it a name"))
    } else if name.len() > LONGEST_NAME || !name.chars().all(is_plain) {
        let shown: String = name.chars().filter(|c| is_plain(*c)).take(20).collect();
        Some(format!(
            "{what} (\"{shown}…\") has more than {LONGEST_NAME} bytes, or quotes in it"
        ))
    } else {
        None
    }
}

/// Reads one name or a list of names.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "the name of a prompt, or a list of such names")]
    enum Names {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::Many(names) => names,
    })
}
