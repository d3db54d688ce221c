//! The table of settings, the template, `.env.example` and the code agree.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    sync::{Arc, Mutex},
};

use cargo_metadata::TargetKind;
use lambda_kit::{
    capability::SigningKeys,
    config::{
        AlertUrlConfig, BotOriginsConfig, BotsConfig, CallerIdConfig, CorsConfig, DigestConfig,
        EventBusConfig, ExotelConfig, ExotelCredentials, ExportsConfig, HeartbeatConfig, JwtConfig,
        LocaleConfig, OutboundConfig, PassthruConfig, PublicUrls, QueueConfig, RecordingConfig, Settings,
        SocketTokenConfig, TableConfig, VARIABLES, VoicebotConfig, VoicebotSocketsConfig, VoicebotTurnConfig,
        WebhookConfig, env_example,
    },
    metrics::Metrics,
};

use crate::{folder, lint, packages, root, template};

#[test]
fn every_variable_of_the_template_is_a_setting_and_no_secret() {
    let template = template();
    for (id, properties) in template.of_type("AWS::Serverless::Function") {
        for name in properties["Environment"]["Variables"]
            .as_object()
            .into_iter()
            .flat_map(|all| all.keys())
        {
            let variable = VARIABLES.iter().find(|variable| variable.name == name);
            let variable = variable.unwrap_or_else(|| panic!("{id}: nothing reads {name}"));
            assert!(!variable.secret, "{id}: {name} belongs in the secret");
            assert!(
                !name.ends_with("_EXTRA_ORIGINS"),
                "{id}: {name} is for local runs alone"
            );
        }
    }
    assert!(
        template.json()["Globals"]["Function"]["Environment"].is_null(),
        "each function gets what it reads"
    );
}

#[test]
fn every_key_of_the_secret_is_a_setting() {
    let template = template();
    let (_, secret) = template.of_type("AWS::SecretsManager::Secret").next().unwrap();
    let generate = &secret["GenerateSecretString"];
    let text = generate["SecretStringTemplate"]["Fn::Sub"].as_str().unwrap();
    let keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    let keys = keys
        .keys()
        .map(String::as_str)
        .chain(generate["GenerateStringKey"].as_str());
    for key in keys {
        assert!(
            VARIABLES.iter().any(|variable| variable.name == key),
            "nothing reads {key}"
        );
    }
}

#[test]
fn every_secret_parameter_is_hidden_and_every_parameter_described() {
    let template = template();
    for (name, parameter) in template.section("Parameters") {
        assert!(parameter["Description"].is_string(), "{name} has no description");
        let secret = VARIABLES
            .iter()
            .find(|variable| variable.secret && variable.name.replace('_', "").eq_ignore_ascii_case(name));
        assert!(
            secret.is_none() || parameter["NoEcho"] == true,
            "{name} would be shown to anybody"
        );
    }
}

#[test]
fn the_example_environment_is_the_table_of_settings() {
    let found = fs::read_to_string(root().join(".env.example")).unwrap();
    assert!(found == env_example(), "run `cargo xtask env-example`");
}

type Concern = (&'static str, fn(&Settings));

/// How the code asks for each concern, and the asking itself.
const CONCERNS: &[Concern] = &[
    ("ExotelConfig::from_env", |settings| {
        drop(ExotelConfig::from_env(settings).unwrap())
    }),
    ("ExotelCredentials::from_env", |settings| {
        drop(ExotelCredentials::from_env(settings).unwrap())
    }),
    ("WebhookConfig::from_env", |settings| {
        drop(WebhookConfig::from_env(settings).unwrap())
    }),
    ("PassthruConfig::from_env", |settings| {
        drop(PassthruConfig::from_env(settings).unwrap())
    }),
    ("PublicUrls::from_env", |settings| {
        drop(PublicUrls::from_env(settings).unwrap())
    }),
    ("JwtConfig::from_env", |settings| {
        drop(JwtConfig::from_env(settings).unwrap())
    }),
    ("CorsConfig::from_env", |settings| {
        drop(CorsConfig::from_env(settings).unwrap())
    }),
    ("RecordingConfig::from_env", |settings| {
        drop(RecordingConfig::from_env(settings).unwrap())
    }),
    ("BotOriginsConfig::from_env", |settings| {
        drop(BotOriginsConfig::from_env(settings).unwrap())
    }),
    ("OutboundConfig::from_env", |settings| {
        drop(OutboundConfig::from_env(settings).unwrap())
    }),
    ("LocaleConfig::from_env", |settings| {
        drop(LocaleConfig::from_env(settings).unwrap())
    }),
    ("HeartbeatConfig::from_env", |settings| {
        let _ = HeartbeatConfig::from_env(settings).unwrap();
    }),
    ("CallerIdConfig::from_env", |settings| {
        drop(CallerIdConfig::from_env(settings).unwrap())
    }),
    ("TableConfig::from_env", |settings| {
        drop(TableConfig::from_env(settings).unwrap())
    }),
    ("outbound_from_env", |settings| {
        drop(QueueConfig::outbound_from_env(settings).unwrap())
    }),
    ("poll_calls_dlq_from_env", |settings| {
        drop(QueueConfig::poll_calls_dlq_from_env(settings).unwrap())
    }),
    ("webhook_events_from_env", |settings| {
        drop(QueueConfig::webhook_events_from_env(settings).unwrap())
    }),
    ("exports_from_env", |settings| {
        drop(QueueConfig::exports_from_env(settings).unwrap())
    }),
    ("ExportsConfig::from_env", |settings| {
        drop(ExportsConfig::from_env(settings).unwrap())
    }),
    ("EventBusConfig::from_env", |settings| {
        drop(EventBusConfig::from_env(settings).unwrap())
    }),
    ("AlertUrlConfig::from_env", |settings| {
        drop(AlertUrlConfig::from_env(settings).unwrap())
    }),
    ("DigestConfig::from_env", |settings| {
        DigestConfig::from_env(settings).unwrap();
    }),
    ("VoicebotConfig::from_env", |settings| {
        drop(VoicebotConfig::from_env(settings).unwrap())
    }),
    ("BotsConfig::from_env", |settings| {
        drop(BotsConfig::from_env(settings).unwrap())
    }),
    ("SocketTokenConfig::from_env", |settings| {
        drop(SocketTokenConfig::from_env(settings))
    }),
    ("VoicebotSocketsConfig::from_env", |settings| {
        drop(VoicebotSocketsConfig::from_env(settings).unwrap())
    }),
    ("VoicebotTurnConfig::from_env", |settings| {
        drop(VoicebotTurnConfig::from_env(settings).unwrap())
    }),
    ("Metrics::from_env", |settings| drop(Metrics::from_env(settings))),
    ("SigningKeys::from_env", |settings| {
        drop(SigningKeys::from_env(settings).unwrap())
    }),
];

/// The settings that a concern asks for when everything is set as it should be.
fn asks(concern: fn(&Settings)) -> BTreeSet<String> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let record = Arc::clone(&seen);
    concern(&Settings::new(move |name| {
        record.lock().unwrap().insert(name.to_owned());
        let variable = VARIABLES.iter().find(|variable| variable.name == name)?;
        let value = variable.default.unwrap_or(match name {
            "EXOTEL_PASSTHRU_RULE" => "known-lead",
            "EXOTEL_REGION" => "sg",
            "EXOTEL_SUBDOMAIN" => "api.exotel.com",
            "OUTBOUND_ALLOWED_PREFIXES" => "+91",
            "RECORDING_EXTRA_ORIGINS" | "VOICEBOT_EXTRA_ORIGINS" => "http://127.0.0.1:1",
            "EXOTEL_APP_ID" => "228040",
            "VOICEBOT_DEFAULT_BOT" => "echo",
            "CORE_FLEET" => "https://media.example.com",
            _ if name.ends_with("_URL") || name.ends_with("_ORIGINS") => "https://example.com",
            _ => "a text that is long enough for a key",
        });
        Some(value.to_owned())
    }));
    let seen = seen.lock().unwrap();
    // A name, not its alias.
    seen.iter()
        .filter(|name| VARIABLES.iter().any(|variable| variable.name == *name))
        .cloned()
        .collect()
}

/// What the code of a bin asks for: its own file, its package's `lib.rs`, and the modules beside it that the bin names.
fn asked_by(bin: &str, package: &str) -> BTreeSet<String> {
    let package = root().join("functions").join(package).join("src");
    let own = fs::read_to_string(package.join("bin").join(format!("{bin}.rs"))).unwrap();
    let mut code = own.clone();
    for entry in fs::read_dir(&package).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        if path.is_file() && (module == "lib" || own.contains(&format!("{module}::"))) {
            code += &fs::read_to_string(&path).unwrap();
        }
    }
    let concerns = CONCERNS.iter().filter(|(call, _)| code.contains(call));
    let mut asked: BTreeSet<String> = concerns.flat_map(|(_, concern)| asks(*concern)).collect();
    for variable in VARIABLES {
        if code.contains(&format!("\"{}\"", variable.name)) {
            asked.insert(variable.name.to_owned());
        }
    }
    // PublicUrls holds both; each is demanded by the function that needs it.
    for (name, call) in [
        ("WEBHOOK_BASE_URL", ".webhooks()"),
        ("RECORDINGS_BASE_URL", ".recordings()"),
    ] {
        if !code.contains(call) {
            asked.remove(name);
        }
    }
    let secrets = VARIABLES.iter().filter(|variable| variable.secret);
    if secrets
        .map(|variable| variable.name)
        .any(|name| asked.contains(name))
    {
        asked.insert("SECRET_ARN".to_owned());
    }
    asked
}

#[test]
fn every_function_gets_the_settings_that_its_code_reads_and_no_others() {
    let template = template();
    let mut given = BTreeMap::new();
    for function in template.functions().unwrap() {
        let variables =
            &template.json()["Resources"][&function.logical_id]["Properties"]["Environment"]["Variables"];
        let names: BTreeSet<String> = variables.as_object().unwrap().keys().cloned().collect();
        given.insert(function.bin, names);
    }
    // What no function is given comes from the secret, or has a default that the template does not touch.
    let offered: BTreeSet<String> = given.values().flatten().cloned().collect();
    for package in packages()
        .iter()
        .filter(|package| folder(package).starts_with("functions/"))
    {
        for target in package
            .targets
            .iter()
            .filter(|target| target.kind.contains(&TargetKind::Bin))
        {
            let asked = asked_by(&target.name, &package.name);
            let given = &given[&target.name];
            let surplus: Vec<_> = given.difference(&asked).collect();
            assert!(
                surplus.is_empty(),
                "{} is given {surplus:?}, which its code does not read",
                target.name
            );
            // Only the worker of a queue may give up a message.
            let lacking: Vec<_> = asked
                .intersection(&offered)
                .filter(|name| !given.contains(*name) && !name.ends_with("_DLQ_URL"))
                .collect();
            assert!(
                lacking.is_empty(),
                "{} is not given {lacking:?}, which its code reads",
                target.name
            );
        }
    }
}

/// A shell and SAM take quotes away that are not quoted themselves, and what is left stops every function that reads it.
#[test]
fn bots_that_lost_their_quotes_are_refused_by_the_deploy() {
    let template = template();
    let parameter = &template.json()["Parameters"]["VoicebotBots"];
    assert!(parameter["ConstraintDescription"].is_string());
    let is_taken = |value: &str| {
        let program = "import re, sys; sys.exit(re.fullmatch(sys.argv[1], sys.argv[2]) is None)";
        let arguments = [
            "-c",
            program,
            parameter["AllowedPattern"].as_str().unwrap(),
            value,
        ];
        let python = Command::new(lint::venv().python()).args(arguments).status();
        python.unwrap().success()
    };
    for bots in [
        "{}",
        "{ }",
        r#"{"reception": {"kind": "menu", "tree": "reception"}}"#,
    ] {
        assert!(is_taken(bots), "{bots}");
    }
    for bots in [
        "",
        "{",
        "{reception:{kind:menu,tree:reception}}",
        r#"{"reception""#,
        "null",
    ] {
        assert!(!is_taken(bots), "{bots}");
    }
}
