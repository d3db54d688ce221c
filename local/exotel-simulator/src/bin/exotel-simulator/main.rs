//! The command line of the simulator.

mod call;

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use exotel_simulator::{
    Account, Ask, BodyForm, CcmDetails, CcmUser, EmptyAs, Heartbeat, Nesting, Numbers, Options, PassthruForm,
    Simulator, Voicebot,
};
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;

/// A pretend Exotel on this machine.
///
/// Point a client at the address printed: it takes calls and messages over Exotel's v1 API, lets them happen, calls
/// back, and serves recordings. Which way a call or message goes is chosen by the last digits of the lead's number
/// (…0002 nobody answers, …0003 busy, …0011 DND, …0017 reset after accepting; the README has the table) or by
/// POST /_sim/scripts and /_sim/faults. Calls come in by POST /_sim/inbound, a whole day of calls by POST
/// /_sim/traffic; ExoPhones fail by POST /_sim/exophones, which the HeartBeat tells. GET /_sim/journal shows every
/// request, every leg rung and every callback.
///
/// `exotel-simulator call` places a single call to a voicebot instead, and judges it.
#[derive(Debug, Parser)]
#[command(name = "exotel-simulator", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// Port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 8900)]
    port: u16,

    /// Address to listen on. The simulator has no protection: keep it on loopback.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,

    /// Origin in recording URLs, if clients reach the simulator by another address than the one listened on.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,

    /// Account SID.
    #[arg(long, default_value = "acme1")]
    account: String,

    /// API key (letters and digits).
    #[arg(long, default_value = "simkey")]
    key: String,

    /// API token (letters and digits).
    #[arg(long, default_value = "simtoken")]
    token: SecretString,

    /// ExoPhone of the account; several are possible. Without any, every valid number will do as CallerId, and the
    /// account's lists hold those that POST /_sim/exophones named.
    #[arg(long, value_name = "NUMBER")]
    exophone: Vec<String>,

    /// SMS sender id (header) of the account; several are possible. Without any, every well-formed one will do.
    #[arg(long, value_name = "HEADER")]
    sender_id: Vec<String>,

    /// Another account that lives on the other cluster, as SID:KEY:TOKEN: answered with 401 here.
    #[arg(long, value_name = "SID:KEY:TOKEN")]
    other_cluster_account: Vec<String>,

    /// How many times faster than life calls and messages go.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,

    /// Simulated milliseconds from accepting a call to the first leg's answer.
    #[arg(long, value_name = "MS")]
    ring1_ms: Option<u64>,

    /// Simulated milliseconds from the first leg's answer to the second's.
    #[arg(long, value_name = "MS")]
    ring2_ms: Option<u64>,

    /// Simulated milliseconds of talk.
    #[arg(long, value_name = "MS")]
    talk_ms: Option<u64>,

    /// Simulated milliseconds a leg rings that nobody answers.
    #[arg(long, value_name = "MS")]
    no_answer_ms: Option<u64>,

    /// Simulated milliseconds from a call's end until end time, duration and price settle.
    #[arg(long, value_name = "MS")]
    settle_ms: Option<u64>,

    /// Simulated milliseconds from a call's end until its recording is there.
    #[arg(long, value_name = "MS")]
    recording_ms: Option<u64>,

    /// Simulated milliseconds per step of a message.
    #[arg(long, value_name = "MS")]
    sms_step_ms: Option<u64>,

    /// Simulated milliseconds before each retry of a callback, as many as there are retries.
    #[arg(long, value_name = "MS,MS…", value_delimiter = ',')]
    retry_ms: Option<Vec<u64>>,

    /// Seed of sids and faults; the same seed and requests give the same sids and faults.
    #[arg(long)]
    seed: Option<u64>,

    /// Voice requests admitted in any 60 seconds; 429 beyond.
    #[arg(long, default_value_t = 200)]
    voice_limit: usize,

    /// SMS posts admitted in any 60 seconds; 503 with code 40405 beyond.
    #[arg(long, default_value_t = 200)]
    sms_limit: usize,

    /// Refuse SMS posts over the limit with 429 and code 40402 instead.
    #[arg(long)]
    sms_limit_as_429: bool,

    /// Requests for ExoPhones admitted in any 60 seconds; 429 beyond. They do not count as voice.
    #[arg(long, default_value_t = 200)]
    exophone_limit: usize,

    /// Send every callback in this form, whatever was asked for.
    #[arg(long)]
    force_form: Option<Form>,

    /// Send absent callback values as the literal string "null".
    #[arg(long)]
    literal_nulls: bool,

    /// Leave out every callback field that may be missing.
    #[arg(long)]
    sparse_callbacks: bool,

    /// Send events also for calls to flows and voicebots (Exotel's documents disagree about them).
    #[arg(long)]
    events_without_to: bool,

    /// Pass over details=true on the bulk list (whether Exotel heeds it there is not documented).
    #[arg(long)]
    no_list_details: bool,

    /// Give the agent rung as To of an inbound call in details and list, instead of the ExoPhone called.
    #[arg(long)]
    inbound_to_agent: bool,

    /// Answer v2 requests for ExoPhones with the data alone, instead of in response.data of the envelope.
    #[arg(long)]
    exophones_at_top: bool,

    /// Co-worker who may call through v2, as USER_ID=NUMBER or USER_ID=NUMBER,NAME; several are possible. Without any,
    /// every user_contact_uri is somebody's and every user_id is unknown.
    #[arg(long, value_name = "USER_ID=NUMBER,NAME")]
    ccm_user: Vec<String>,

    /// Where v2 and v3 put the details of a call.
    #[arg(long, value_enum, default_value_t = Place::CallDetails)]
    ccm_details: Place,

    /// Where the Passthru applets of flows point (plain http); without it, flows have none.
    #[arg(long, value_name = "URL")]
    passthru_url: Option<String>,

    /// Push the HeartBeat of the account's ExoPhones to this URL (plain http).
    #[arg(long, value_name = "URL")]
    heartbeat_url: Option<String>,

    /// Simulated milliseconds from push to push of the HeartBeat.
    #[arg(long, value_name = "MS", default_value_t = 60_000)]
    heartbeat_every_ms: u64,

    /// Write the HeartBeat's data without the "connectivity" around a number's health.
    #[arg(long)]
    heartbeat_flat: bool,

    /// Write the HeartBeat's empty lists as [] instead of null.
    #[arg(long)]
    heartbeat_empty_arrays: bool,

    /// Flows begin with a Voicebot applet that has this URL: ws:// or wss://, or http(s):// of an endpoint that answers
    /// one.
    #[arg(long, value_name = "URL")]
    voicebot_url: Option<String>,

    /// Ask that endpoint by POST with a JSON body instead of GET.
    #[arg(long, requires = "voicebot_url")]
    voicebot_post: bool,

    /// Write Stream in the Passthru after a voicebot as one JSON string instead of nested keys.
    #[arg(long)]
    stream_json: bool,

    /// Write the numbers in messages to voicebots as numbers instead of strings.
    #[arg(long)]
    stream_ints: bool,

    /// Streams that an account may have at once.
    #[arg(long, default_value_t = 100)]
    max_streams: usize,

    /// Write ActiveStreams in JSON as the tree that XML has.
    #[arg(long)]
    active_streams_as_tree: bool,

    /// Trust the certificate authority in this PEM file for the servers of voicebots, too.
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Call(Box<call::Call>),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Multipart,
    Urlencoded,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Place {
    /// In response.
    Response,
    /// In response.call_details.
    CallDetails,
    /// Beside request_id.
    TopLevel,
}

impl Cli {
    fn options(self) -> Result<Options, String> {
        let mut accounts = vec![Account {
            sid: self.account,
            key: self.key,
            token: self.token,
            exophones: self.exophone,
            sender_ids: self.sender_id,
            other_cluster: false,
        }];
        for text in &self.other_cluster_account {
            let mut parts = text.splitn(3, ':');
            let (Some(sid), Some(key), Some(token)) = (parts.next(), parts.next(), parts.next()) else {
                return Err("--other-cluster-account must be SID:KEY:TOKEN".to_owned());
            };
            accounts.push(Account {
                other_cluster: true,
                ..Account::new(sid, key, token)
            });
        }
        let mut ccm_users = Vec::new();
        for text in &self.ccm_user {
            let Some((id, rest)) = text.split_once('=') else {
                return Err("--ccm-user must be USER_ID=NUMBER or USER_ID=NUMBER,NAME".to_owned());
            };
            let (contact_uri, name) = match rest.split_once(',') {
                Some((contact_uri, name)) => (contact_uri, Some(name.to_owned())),
                None => (rest, None),
            };
            ccm_users.push(CcmUser {
                id: id.to_owned(),
                name,
                contact_uri: contact_uri.to_owned(),
            });
        }
        let mut options = Options {
            listen: SocketAddr::new(self.host, self.port),
            public_url: self.public_url,
            accounts,
            speed: self.speed,
            seed: self.seed,
            voice_limit: self.voice_limit,
            sms_limit: self.sms_limit,
            sms_limit_as_429: self.sms_limit_as_429,
            exophone_limit: self.exophone_limit,
            force_form: self.force_form.map(|form| match form {
                Form::Multipart => BodyForm::Multipart,
                Form::Urlencoded => BodyForm::Urlencoded,
                Form::Json => BodyForm::Json,
            }),
            literal_nulls: self.literal_nulls,
            sparse_callbacks: self.sparse_callbacks,
            events_without_to: self.events_without_to,
            list_details: !self.no_list_details,
            inbound_to_agent: self.inbound_to_agent,
            exophones_at_top: self.exophones_at_top,
            ccm_users,
            passthru: self.passthru_url,
            ccm_details: match self.ccm_details {
                Place::Response => CcmDetails::Response,
                Place::CallDetails => CcmDetails::CallDetails,
                Place::TopLevel => CcmDetails::TopLevel,
            },
            heartbeat: self.heartbeat_url.map(|url| Heartbeat {
                url,
                every_ms: Some(self.heartbeat_every_ms),
                nesting: match self.heartbeat_flat {
                    true => Nesting::Flat,
                    false => Nesting::Connectivity,
                },
                empty_as: match self.heartbeat_empty_arrays {
                    true => EmptyAs::Array,
                    false => EmptyAs::Null,
                },
                ..Heartbeat::default()
            }),
            ..Options::default()
        };
        options.voicebot = self.voicebot_url.map(|url| Voicebot {
            ask: if self.voicebot_post { Ask::Post } else { Ask::Get },
            ..Voicebot::at(&url)
        });
        if self.stream_json {
            options.stream.passthru_form = PassthruForm::Json;
        }
        if self.stream_ints {
            options.stream.numbers = Numbers::Ints;
        }
        options.max_streams = self.max_streams;
        options.active_streams_as_tree = self.active_streams_as_tree;
        for path in &self.trust {
            let pem = std::fs::read_to_string(path)
                .map_err(|err| format!("cannot read {}: {err}", path.display()))?;
            options.trusted.push(pem);
        }
        let timings = &mut options.timings;
        for (set, value) in [
            (&mut timings.ring1_ms, self.ring1_ms),
            (&mut timings.ring2_ms, self.ring2_ms),
            (&mut timings.talk_ms, self.talk_ms),
            (&mut timings.no_answer_ms, self.no_answer_ms),
            (&mut timings.settle_ms, self.settle_ms),
            (&mut timings.recording_ms, self.recording_ms),
            (&mut timings.sms_step_ms, self.sms_step_ms),
        ] {
            *set = value.unwrap_or(*set);
        }
        if let Some(retry_ms) = self.retry_ms {
            timings.retry_ms = retry_ms;
        }
        Ok(options)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let mut cli = Cli::parse();
    let outcome = match cli.command.take() {
        Some(Command::Call(call)) => place(*call).await,
        None => run(cli).await.map(|()| true),
    };
    match outcome {
        Ok(true) => std::process::ExitCode::SUCCESS,
        Ok(false) => std::process::ExitCode::FAILURE,
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "exotel-simulator: {problem}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Places one call, prints its report, and answers whether all went well.
async fn place(call: call::Call) -> Result<bool, String> {
    let (report, well) = call.run().await?;
    std::io::stdout()
        .write_all(report.as_bytes())
        .map_err(|err| format!("cannot write to standard output: {err}"))?;
    Ok(well)
}

async fn run(cli: Cli) -> Result<(), String> {
    let handle = Simulator::start(cli.options()?)
        .await
        .map_err(|err| err.to_string())?;
    let stdout = std::io::stdout();
    writeln!(&stdout, "exotel-simulator listening on {}", handle.url())
        .and_then(|()| (&stdout).flush())
        .map_err(|err| format!("cannot write to standard output: {err}"))?;
    tracing::info!(seed = handle.seed(), "started with seed {}", handle.seed());
    ended()
        .await
        .map_err(|err| format!("cannot wait for signals: {err}"))?;
    handle.stop().await;
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM.
async fn ended() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
