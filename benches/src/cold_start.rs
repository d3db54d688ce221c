//! webhook-call-status: cold start and warm cost, against a minimal Rust Lambda and the Node.js peer.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use domain::ids::{CallId, CallLocator};
use indicatif::ProgressBar;
use jiff::Timestamp;
use lambda_kit::capability::{Purpose, SigningKeys};
use runtime_api::{Function, Launch};
use secrecy::SecretString;
use serde_json::json;

use crate::{dynamo_stub, programs};

/// 32 characters or more, as the product asks for.
const SIGNING_KEY: &str = "bench-signing-key-bench-signing-key";

struct Program {
    name: &'static str,
    launch: Launch,
    /// Size of the deployed program; none for the peer, whose runtime is Lambda's.
    size: Option<u64>,
}

/// What one program cost, medians over its runs.
struct Cost {
    name: &'static str,
    size: Option<u64>,
    cold_cpu: Duration,
    cold_wall: Duration,
    rss: u64,
    warm_cpu: Duration,
}

#[derive(Default)]
struct Samples {
    cold_cpu: Vec<Duration>,
    cold_wall: Vec<Duration>,
    rss: Vec<u64>,
    warm_cpu: Vec<Duration>,
}

/// Runs the programs in turn, `runs` fresh processes each and `warm` further events per process, and prints the table.
///
/// # Errors
/// When a program cannot be built, started or does not answer 200.
pub(crate) async fn run(runs: usize, warm: usize) -> Result<()> {
    let stub = dynamo_stub::start().await?;
    let mut programs = vec![
        rust("minimal Rust Lambda", "minimal-lambda", "minimal-lambda")?,
        rust("webhook-call-status", "webhooks", "webhook-call-status")?,
    ];
    match programs::node_peer() {
        Ok(folder) => programs.push(Program {
            name: "Node.js peer",
            launch: Launch::new("node").arg(folder.join("runtime.mjs").to_string_lossy()),
            size: None,
        }),
        Err(missing) => eprintln!("The Node.js peer is left out: {missing}"),
    }
    let event = event()?;
    let mut samples: Vec<Samples> = programs.iter().map(|_| Samples::default()).collect();
    let bar = ProgressBar::new((runs * programs.len()) as u64);
    for _ in 0..runs {
        for (program, samples) in programs.iter().zip(&mut samples) {
            measure(program, &stub, &event, warm, samples)
                .await
                .with_context(|| program.name)?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let costs: Vec<Cost> = programs
        .iter()
        .zip(samples)
        .map(|(program, samples)| samples.into_cost(program))
        .collect();
    report(&costs, runs, warm);
    Ok(())
}

fn rust(name: &'static str, package: &str, bin: &str) -> Result<Program> {
    let path: PathBuf = programs::release_binary(package, bin)?;
    Ok(Program {
        name,
        size: Some(std::fs::metadata(&path)?.len()),
        launch: Launch::new(path),
    })
}

async fn measure(program: &Program, stub: &str, event: &str, warm: usize, into: &mut Samples) -> Result<()> {
    let launch = program
        .launch
        .clone()
        .env("AWS_ENDPOINT_URL", stub)
        .env("AWS_SESSION_TOKEN", "bench")
        .env("TABLE_NAME", "bench")
        .env("SIGNING_KEY", SIGNING_KEY)
        .env("WEBHOOK_EVENTS_QUEUE_URL", format!("{stub}/queue"))
        .env("EXOTEL_WEBHOOK_TOKEN", "bench-webhook-token-0123456789");
    let function = Function::start(launch).await?;
    let first = function.invoke(event.to_owned()).await?.finish().await?;
    let status = serde_json::from_slice::<serde_json::Value>(&first.body)?["statusCode"].clone();
    ensure!(
        status == 200,
        "answered {status}: {}",
        String::from_utf8_lossy(&first.body)
    );
    into.cold_cpu.push(first.figures.cpu_since_start);
    into.cold_wall.push(first.figures.wall_since_start);
    into.rss.push(function.usage()?.rss_bytes);
    let before = function.usage()?.cpu;
    for _ in 0..warm {
        function.invoke(event.to_owned()).await?.finish().await?;
    }
    let per_event = (function.usage()?.cpu - before) / u32::try_from(warm.max(1))?;
    into.warm_cpu.push(per_event);
    Ok(())
}

impl Samples {
    fn into_cost(self, program: &Program) -> Cost {
        Cost {
            name: program.name,
            size: program.size,
            cold_cpu: median(self.cold_cpu),
            cold_wall: median(self.cold_wall),
            rss: median(self.rss),
            warm_cpu: median(self.warm_cpu),
        }
    }
}

pub(crate) fn median<T: Ord + Copy>(mut samples: Vec<T>) -> T {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

/// A completed call's terminal event on its capability URL, as API Gateway hands it over.
fn event() -> Result<String> {
    let locator = CallLocator {
        id: CallId::new(Timestamp::from_second(1_795_000_000)?, 7),
        lead_id: "lead-7f3".parse()?,
    };
    let keys = SigningKeys::new(&SecretString::from(SIGNING_KEY), None);
    let (locator, capability) = (
        locator.to_string(),
        keys.capability(Purpose::Call, &locator.to_string()),
    );
    let path = format!("/webhooks/exotel/call/{locator}/{capability}");
    let route = "POST /webhooks/exotel/call/{locator}/{capability}";
    let body = json!({
        "CallSid": "5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k", "EventType": "terminal", "Status": "completed",
        "DateCreated": "2026-11-20 14:03:11", "DateUpdated": "2026-11-20 14:06:02", "From": "09811100001",
        "To": "09811100002", "PhoneNumberSid": "08045550100", "StartTime": "2026-11-20 14:03:12",
        "EndTime": "2026-11-20 14:05:58", "ConversationDuration": 121, "Direction": "outbound-api",
        "CustomField": locator,
        "RecordingUrl": "https://recordings.exotel.com/exotelrecordings/acme1/5f0c1d2e3a4b4c5d8e9f0a1b2c3d196l.mp3",
        "Legs": [{"OnCallDuration": 139, "Status": "completed"}, {"OnCallDuration": 121, "Status": "completed"}],
    });
    let event = json!({
        "version": "2.0", "routeKey": route, "rawPath": path, "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "api.example.in", "user-agent": "exotel"},
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "api.example.in", "domainPrefix": "api",
            "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "exotel"},
            "requestId": "bench", "routeKey": route, "stage": "$default", "time": "20/Nov/2026:08:36:02 +0000",
            "timeEpoch": 1_795_163_762_000_u64,
        },
        "pathParameters": {"locator": locator, "capability": capability},
        "body": body.to_string(), "isBase64Encoded": false,
    });
    Ok(event.to_string())
}

fn report(costs: &[Cost], runs: usize, warm: usize) {
    println!(
        "webhook-call-status, plain HTTP to a stub of DynamoDB; medians of {runs} processes, {warm} warm events each"
    );
    println!();
    println!("| program | cold CPU | cold wall | RSS | size | warm CPU per event |");
    println!("| - | -: | -: | -: | -: | -: |");
    for cost in costs {
        println!(
            "| {} | {:.1} ms | {:.1} ms | {:.1} MB | {} | {:.0} µs |",
            cost.name,
            cost.cold_cpu.as_secs_f64() * 1e3,
            cost.cold_wall.as_secs_f64() * 1e3,
            cost.rss as f64 / 1e6,
            cost.size
                .map_or("–".to_owned(), |size| format!("{:.1} MB", size as f64 / 1e6)),
            cost.warm_cpu.as_secs_f64() * 1e6,
        );
    }
    let of = |name: &str| costs.iter().find(|cost| cost.name == name);
    let (Some(minimal), Some(ours)) = (of("minimal Rust Lambda"), of("webhook-call-status")) else {
        return;
    };
    println!();
    println!("| ratio | figure | must be |");
    println!("| - | -: | -: |");
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!(
        "| cold CPU, ours to minimal | {:.2} | ≤ 4 |",
        ratio(ours.cold_cpu, minimal.cold_cpu)
    );
    println!(
        "| RSS, ours to minimal | {:.2} | ≤ 3 |",
        ours.rss as f64 / minimal.rss as f64
    );
    if let (Some(a), Some(b)) = (ours.size, minimal.size) {
        println!("| size, ours to minimal | {:.2} | ≤ 6 |", a as f64 / b as f64);
    }
    if let Some(node) = of("Node.js peer") {
        println!(
            "| cold CPU, Node.js to ours | {:.1} | ≥ 10 |",
            ratio(node.cold_cpu, ours.cold_cpu)
        );
        println!(
            "| warm CPU, Node.js to ours | {:.1} | ≥ 3 |",
            ratio(node.warm_cpu, ours.warm_cpu)
        );
    }
}
