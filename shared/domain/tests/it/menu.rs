//! Menus: what is wrong with a tree, and how a caller walks one.

use domain::voicebot::{
    Event, Input, Listen, MOST_DIGITS, Rate, Then,
    menu::{Place, Reply, Tree, TreeError},
};

use crate::line::{Call, at, frame_at, hush};

const SHOP: &str = r#"
start = "welcome"

[nodes.welcome]
say = "welcome"
keys = { 1 = { goto = "hours" }, 2 = { goto = "order" }, 9 = { transfer = "agent" } }
invalid = "wrong-key"
silence = "still-there"
max_tries = 2

[nodes.hours]
say = ["open", "until-seven"]
then = { goto = "bye" }

[nodes.bye]
say = "bye"
then = "hang_up"

[nodes.order]
say = "enter-order"
keys = { "*" = { goto = "welcome" } }
number = { min_digits = 4, max_digits = 8, then = { transfer = "order" } }
give_up = { transfer = "agent" }
timeout_ms = 9000
"#;

fn tree(text: &str) -> Tree {
    toml::from_str(text).unwrap()
}

fn digits(digits: &str) -> Input {
    Input::Digits(digits.to_owned())
}

/// What a caller hears who does all this, and where it ends.
fn walk<'a>(tree: &'a Tree, inputs: &[Input]) -> (Vec<&'a str>, Reply<'a>) {
    let mut place: Option<Place> = None;
    let mut said = Vec::new();
    let mut last = None;
    for input in inputs {
        // The place goes through the store between two turns.
        let kept = serde_json::to_string(&place).unwrap();
        let reply = tree.answer(serde_json::from_str(&kept).unwrap(), input);
        said.extend(&reply.say);
        place = Some(reply.place.clone());
        last = Some(reply);
    }
    (said, last.unwrap())
}

#[test]
fn a_tree_is_the_same_in_toml_and_json() {
    let shop = tree(SHOP);
    assert_eq!(shop.validate(), Ok(()));
    let json = serde_json::to_string(&shop).unwrap();
    assert_eq!(serde_json::from_str::<Tree>(&json).unwrap(), shop);
    let prompts = [
        "bye",
        "enter-order",
        "open",
        "still-there",
        "until-seven",
        "welcome",
        "wrong-key",
    ];
    assert_eq!(shop.prompts().into_iter().collect::<Vec<_>>(), prompts);
}

#[test]
fn keys_lead_on_and_nodes_without_keys_go_on_by_themselves() {
    let shop = tree(SHOP);
    let (said, reply) = walk(&shop, &[Input::Start]);
    assert_eq!(said, ["welcome"]);
    let Then::Listen(listen) = reply.then else {
        panic!("{reply:?}")
    };
    assert_eq!(
        (listen.speech, listen.max_digits, listen.terminator),
        (false, 1, None)
    );
    let (said, reply) = walk(&shop, &[Input::Start, digits("1")]);
    assert_eq!(
        (said, reply.then),
        (vec!["welcome", "open", "until-seven", "bye"], Then::HangUp)
    );
    let (_, reply) = walk(&shop, &[Input::Start, digits("9")]);
    assert_eq!(
        (reply.say, reply.then),
        (vec![], Then::Transfer("agent".to_owned()))
    );
}

#[test]
fn a_number_is_taken_whole() {
    let shop = tree(SHOP);
    let (_, reply) = walk(&shop, &[Input::Start, digits("2")]);
    let expected = Listen {
        speech: false,
        max_digits: 8,
        terminator: Some('#'),
        digit_timeout_ms: 3_000,
        no_input_ms: 9_000,
        most_silences: u8::MAX,
    };
    assert_eq!(reply.then, Then::Listen(expected));
    let (_, reply) = walk(&shop, &[Input::Start, digits("2"), digits("481516")]);
    assert_eq!(reply.then, Then::Transfer("order".to_owned()));
    let (said, reply) = walk(
        &shop,
        &[
            Input::Start,
            digits("2"),
            digits("123"),
            digits("12*45"),
            digits("*"),
        ],
    );
    assert_eq!(
        said,
        ["welcome", "enter-order", "enter-order", "enter-order", "welcome"]
    );
    assert_eq!((reply.place.node.as_str(), reply.place.tries), ("welcome", 1));
}

#[test]
fn wrong_keys_and_silence_are_given_up_after_the_tries() {
    let shop = tree(SHOP);
    let (said, reply) = walk(&shop, &[Input::Start, digits("7"), digits("8")]);
    assert_eq!(
        (said, reply.then),
        (vec!["welcome", "wrong-key", "welcome", "wrong-key"], Then::HangUp)
    );
    let (said, reply) = walk(&shop, &[Input::Start, Input::Silence(1), Input::Silence(2)]);
    assert_eq!(
        (said, reply.then),
        (vec!["welcome", "still-there", "welcome"], Then::HangUp)
    );
    let silent = [
        digits("2"),
        Input::Silence(1),
        Input::Silence(2),
        Input::Silence(3),
    ];
    let (said, reply) = walk(&shop, &silent);
    assert_eq!(
        (said, reply.then),
        (vec!["enter-order"; 3], Then::Transfer("agent".to_owned()))
    );
}

#[test]
fn who_is_nowhere_is_at_the_start() {
    let shop = tree(SHOP);
    assert_eq!(
        shop.answer(None, &digits("9")).then,
        Then::Transfer("agent".to_owned())
    );
    let gone = Place {
        node: "of-an-older-tree".to_owned(),
        tries: 3,
    };
    assert_eq!(
        shop.answer(Some(gone), &Input::Silence(1)).say,
        ["still-there", "welcome"]
    );
}

#[test]
fn everything_that_leaves_a_caller_stuck_is_found_and_named() {
    let broken = tree(
        r#"
        start = "a"
        [nodes.a]
        say = ["a", ""]
        keys = { 1 = { goto = "nowhere" }, 2 = { goto = "b" }, x = "hang_up", 3 = { transfer = " " } }
        [nodes.b]
        say = "b"
        then = { goto = "c" }
        [nodes.c]
        say = "c"
        then = { goto = "b" }
        [nodes.d]
        say = "d"
        number = { min_digits = 5, max_digits = 4, then = "hang_up" }
        max_tries = 0
        timeout_ms = 100
        [nodes.e]
        say = "e"
        [nodes.f]
        keys = { 1 = "hang_up" }
        then = "hang_up"
        [nodes.g]
        say = "g"
        keys = { 1 = "hang_up" }
        give_up = { goto = "g" }
        "#,
    );
    let errors: Vec<_> = broken
        .validate()
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = [
        "node \"a\": a prompt in `say` is empty; give it a name",
        "node \"a\": \"x\" cannot be pressed; keys are 0 to 9, *, # and A to D",
        "node \"a\": the outcome of a transfer is empty; give it a name",
        "node \"a\" goes to \"nowhere\", and there is no such node",
        "node \"d\": a number of 5 to 4 digits cannot be entered; allow 1 to 32",
        "node \"d\": `max_tries` is 0; the prompt is said once at least",
        "node \"d\": `timeout_ms` is 100; wait 500 to 60000 ms for a key",
        "node \"e\": it leads nowhere; give it `keys`, a `number` or `then`",
        "node \"f\": it says nothing; name a prompt in `say`",
        "node \"f\": it asks for keys and goes on without; use `keys` and `number`, or `then`",
        "node \"d\" cannot be reached from the start; lead to it or remove it",
        "node \"e\" cannot be reached from the start; lead to it or remove it",
        "node \"f\" cannot be reached from the start; lead to it or remove it",
        "node \"g\" cannot be reached from the start; lead to it or remove it",
        "a caller who presses nothing goes round for ever: b -> c -> b",
        "a caller who presses nothing goes round for ever: g -> g",
    ];
    assert_eq!(errors, expected);
    assert_eq!(MOST_DIGITS, 32);
}

#[test]
fn a_tree_without_its_start_or_that_nobody_validated_ends_the_call() {
    let none = tree("start = \"a\"\nnodes = {}");
    assert_eq!(none.validate(), Err(vec![TreeError::NoStart("a".to_owned())]));
    assert_eq!(none.answer(None, &Input::Start).then, Then::HangUp);
    let round = tree("start = \"a\"\n[nodes.a]\nthen = { goto = \"a\" }");
    assert_eq!(round.answer(None, &Input::Start).then, Then::HangUp);
}

#[test]
fn a_field_that_does_not_exist_is_no_tree() {
    let error = toml::from_str::<Tree>("start = \"a\"\n[nodes.a]\nsay = \"a\"\ntimeout = 5").unwrap_err();
    assert!(error.to_string().contains("timeout"), "{error}");
    assert!(toml::from_str::<Tree>("start = \"a\"\n[nodes.a]\nsay = 5").is_err());
}

#[test]
fn a_menu_is_walked_through_a_session() {
    let shop = tree(SHOP);
    let rate = Rate::Hz8000;
    let mut call = Call::started(rate);
    let mut place = None;
    let mut said = Vec::new();
    let mut seen = 0;
    // The caller presses 2 into the prompt, a wrong number, and then the right one with #.
    let pressed = [(12, "2"), (40, "99#"), (80, "4815#")];
    let mut number = 1;
    for slot in 2..200 {
        number += 1;
        let _ = call.deliver(number, Event::Media(&hush(number, rate)), frame_at(slot));
        for key in pressed
            .iter()
            .filter(|(when, _)| *when == slot)
            .flat_map(|(_, keys)| keys.chars())
        {
            number += 1;
            let _ = call.deliver(number, Event::Dtmf(key), frame_at(slot));
        }
        while seen < call.asks.len() {
            let (now, ask) = call.asks[seen].clone();
            seen += 1;
            let reply = shop.answer(place.take(), &ask.input);
            said.extend(reply.say.iter().copied());
            place = Some(reply.place.clone());
            let chunks: Vec<u32> = reply.say.iter().map(|_| 1_500).collect();
            call.answer(ask.turn, &chunks, reply.then, now);
        }
    }
    assert_eq!(said, ["welcome", "enter-order", "enter-order"]);
    assert_eq!(call.clears, [at(1_200)], "the first key interrupts the welcome");
    let ended = call.session.ended().map(|(why, _)| why.clone());
    assert_eq!(
        ended,
        Some(domain::voicebot::Ending::Transferred("order".to_owned()))
    );
    assert_eq!(call.inputs().last(), Some(&digits("4815")));
}
