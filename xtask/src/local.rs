//! `cargo xtask local`: the bundle on this machine.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};
use exotel_simulator::{Account, Handle, Options, Simulator};
use http::HeaderValue;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use stack::{Deployment, Emulator, FrontDoor, StackFile, Template, Venv, deploy, local_parameters};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};

use crate::{
    cargo::cargo,
    paths,
    steps::{Step, heading},
    token::{self, Role, mint, random_text},
    walk,
};

/// Name of the stack, and prefix of its queues.
const STACK: &str = "exotel";
/// The ExoPhone that both parties of a demo call see.
const EXOPHONE: &str = "08047112345";
/// The account's other one.
const OTHER_EXOPHONE: &str = "08047154321";
/// The WebSocket API's stage.
const WS_PATH: &str = "ws";

/// A stack that answers, with the simulated Exotel beside it.
pub(crate) struct Running {
    simulator: Handle,
    emulator: Emulator,
    doors: Vec<JoinHandle<()>>,
    pub(crate) file: StackFile,
    /// Logs and temporary files.
    pub(crate) dir: PathBuf,
    pub(crate) jwt_secret: String,
}

/// How a stack is started.
struct Plan {
    /// Logs and temporary files.
    dir: PathBuf,
    jwt_secret: String,
    speed: f64,
    /// Settings of the person's own, by variable.
    settings: BTreeMap<String, String>,
}

impl Running {
    /// A token for it.
    pub(crate) fn token(&self, user: &str, role: Role) -> Result<String> {
        mint(&self.jwt_secret, user, role, 12)
    }

    /// What its functions have printed.
    pub(crate) fn functions_log(&self) -> Result<String> {
        Ok(self.emulator.functions_log()?)
    }

    /// What must never be printed.
    pub(crate) fn secrets(&self) -> [String; 3] {
        [
            "simtoken".to_owned(),
            self.file.webhook_token.clone(),
            self.jwt_secret.clone(),
        ]
    }

    async fn stop(self) -> Result<()> {
        for door in self.doors {
            door.abort();
        }
        self.emulator.stop().await?;
        self.simulator.stop().await;
        Ok(())
    }
}

/// Walks the demo on a stack of its own.
pub(crate) async fn once(speed: f64) -> Result<()> {
    on_its_own(speed, for_a_demo(), async |running| {
        walk::walk(running).await?;
        heading("Everything went as it should.");
        Ok(())
    })
    .await
}

/// Nobody waits a quarter of an hour for a demo's poll.
fn for_a_demo() -> BTreeMap<String, String> {
    [("EXOTEL_SYNC_INTERVAL_MINUTES", "1")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// Starts a stack for `work` alone, beside a running one if there is one, and leaves nothing; what failed leaves its
/// logs. `settings` are those of the functions, by variable.
pub(crate) async fn on_its_own(
    speed: f64,
    settings: BTreeMap<String, String>,
    work: impl AsyncFnOnce(&Running) -> Result<()>,
) -> Result<()> {
    sweep_leftovers();
    let dir = paths::local().join(format!("once-{}", std::process::id()));
    let plan = Plan {
        dir: dir.clone(),
        jwt_secret: random_text(48),
        speed,
        settings,
    };
    let worked = async {
        let running = start(plan).await?;
        let worked = work(&running).await;
        running.stop().await?;
        worked
    };
    let outcome = tokio::select! {
        outcome = worked => outcome,
        () = asked_to_end() => bail!("ended before it was done"),
    };
    if outcome.is_ok() {
        fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    } else if dir.exists() {
        eprintln!("Logs are in {}", dir.display());
    }
    outcome
}

/// Removes what an earlier `--once` left when it failed or was killed.
fn sweep_leftovers() {
    for entry in fs::read_dir(paths::local()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix("once-")?.parse().ok());
        if pid.is_some_and(|pid| kill(Pid::from_raw(pid), None).is_err()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Starts the stack, walks the demo, and serves until Ctrl-C or `--stop`.
pub(crate) async fn serve(speed: f64) -> Result<()> {
    let lock = Lock::take()?;
    let dir = paths::local().join("run");
    let plan = Plan {
        dir: dir.clone(),
        jwt_secret: token::secret()?,
        speed,
        settings: for_a_demo().into_iter().chain(own_settings()?).collect(),
    };
    let mut end = pin!(asked_to_end());
    let served = tokio::select! {
        served = start_and_show(plan) => Some(served),
        () = &mut end => None,
    };
    let outcome = match served {
        Some(Ok(running)) => {
            end.await;
            println!("\nEnding the local stack.");
            running.stop().await
        }
        Some(Err(err)) if !dir.exists() => Err(err),
        Some(Err(err)) => {
            eprintln!("Logs are in {}", dir.display());
            Err(err)
        }
        None => Ok(()),
    };
    lock.release();
    outcome
}

async fn start_and_show(plan: Plan) -> Result<Running> {
    let logs = plan.dir.clone();
    let running = start(plan).await?;
    let walked = walk::walk(&running).await;
    let path = paths::stack_file();
    running.file.write(&path)?;
    if let Err(err) = &walked {
        eprintln!(
            "\nThe demo did not go as it should: {err:#}\nThe stack keeps serving, so that you can look."
        );
    }
    let file = &running.file;
    heading("Serving. Ctrl-C, or `cargo xtask local --stop` elsewhere, ends it.");
    println!("  HTTP API          {}", file.http_url);
    if !file.ws_url.is_empty() {
        println!("  WebSocket API     {}", file.ws_url);
    }
    println!("  Recordings        {}", file.recordings_url);
    println!("  Exotel simulator  {}/_sim/journal", file.simulator_url);
    println!(
        "  AWS               {} (region {})",
        file.aws_endpoint_url, file.region
    );
    println!("  All addresses     {}", path.display());
    println!("  Functions' logs   {}", logs.join("functions.log").display());
    println!("\nTry it:");
    println!("  TOKEN={}", running.token(walk::AGENT, Role::Sales)?);
    println!(
        "  curl -H \"Authorization: Bearer $TOKEN\" {}/api/sales/crm",
        file.http_url
    );
    println!(
        "Other tokens: cargo xtask token --user {} --role ADMIN",
        walk::ADMIN
    );
    Ok(running)
}

/// Ends the stack that serves, if one does.
pub(crate) async fn stop() -> Result<()> {
    let Some(pid) = Lock::holder()? else {
        println!("No local stack is running.");
        return Ok(());
    };
    let step = Step::start("ending the local stack");
    kill(Pid::from_raw(pid), Signal::SIGTERM).with_context(|| format!("end process {pid}"))?;
    let asked = Instant::now();
    while Lock::holder()?.is_some() {
        if asked.elapsed() > Duration::from_secs(20) {
            bail!("process {pid} does not end; `kill -9 {pid}` takes everything it started with it");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    step.done("the local stack has ended");
    Ok(())
}

async fn start(plan: Plan) -> Result<Running> {
    let root = paths::root();
    let template = Template::read(&root.join("template.yaml"))?;
    // First: what is missing should not show after a long build.
    heading("Looking for what is needed");
    let venv = venv()?;
    heading("Building the functions");
    let binaries = build(&root, &template)?;

    heading("Starting the local stack");
    let step = Step::start("starting the Exotel simulator");
    let account = Account {
        exophones: vec![EXOPHONE.to_owned(), OTHER_EXOPHONE.to_owned()],
        ..Account::new("acme1", "simkey", "simtoken")
    };
    let options = Options {
        accounts: vec![account.clone()],
        speed: plan.speed,
        ..Options::default()
    };
    let simulator = Simulator::start(options).await?;
    step.done(&format!("the Exotel simulator listens on {}", simulator.url()));

    let (api, recordings) = (FrontDoor::reserve().await?, FrontDoor::reserve().await?);
    let sockets = FrontDoor::reserve().await?;
    let ws_url = format!("{}/{WS_PATH}", sockets.socket_origin());
    let webhook_token = random_text(32);
    let mut settings = plan.settings;
    settings.extend(
        [
            (
                "ARCHITECTURE",
                if env::consts::ARCH == "aarch64" {
                    "arm64"
                } else {
                    "x86_64"
                },
            ),
            ("EXOTEL_SID", &account.sid),
            ("EXOTEL_API_KEY", &account.key),
            ("EXOTEL_API_TOKEN", "simtoken"),
            ("EXOTEL_SUBDOMAIN", simulator.url()),
            ("EXOTEL_CALLER_ID", EXOPHONE),
            ("EXOTEL_WEBHOOK_TOKEN", &webhook_token),
            ("JWT_SECRET", &plan.jwt_secret),
            ("PUBLIC_BASE_URL", &api.origin()),
            ("RECORDINGS_BASE_URL", &recordings.origin()),
            ("RECORDING_EXTRA_ORIGINS", simulator.url()),
            ("WS_PATH", WS_PATH),
            ("VOICEBOT_WS_URL", &ws_url),
            ("VOICEBOT_SOCKETS_URL", &format!("{}/{WS_PATH}", sockets.origin())),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let (parameters, environment) = local_parameters(&template, settings);

    let step = Step::start("starting MiniStack, the local AWS");
    let emulator = Emulator::start(&venv, &plan.dir, &environment).await?;
    step.done(&format!(
        "MiniStack, the local AWS, listens on {}",
        emulator.endpoint_url()
    ));

    let step = Step::start("deploying template.yaml");
    let deployed = deploy(
        &emulator,
        STACK,
        &template,
        &binaries,
        &parameters,
        |name, number, all| {
            step.note(&format!("{name} ({number} of {all})"));
        },
    )
    .await?;
    step.done(&format!(
        "deployed template.yaml with {} functions",
        deployed.functions()?.len()
    ));

    let mut file = addresses(&deployed, &api, &recordings, &simulator, &emulator, webhook_token)?;
    let mut doors = vec![
        api.open(emulator.address(), api_host(deployed.id("HttpApi")?)?),
        recordings.open(emulator.address(), function_url_host(&deployed)?),
    ];
    if let Ok(id) = deployed.id("WsApi") {
        doors.push(sockets.open(emulator.address(), api_host(id)?));
        file.ws_url = ws_url;
    }
    Ok(Running {
        simulator,
        emulator,
        doors,
        file,
        dir: plan.dir,
        jwt_secret: plan.jwt_secret,
    })
}

/// The Python environment of the emulator and the template checks.
pub(crate) fn venv() -> Result<Venv> {
    let step = Step::start("looking for the Python environment");
    let requirements = paths::root().join("local/stack/requirements.txt");
    let requirements =
        fs::read_to_string(&requirements).with_context(|| format!("read {}", requirements.display()))?;
    let venv = Venv::make(&paths::local().join("venv"), &requirements, |what| {
        step.note(what)
    })?;
    step.done("the Python environment is there");
    Ok(venv)
}

fn addresses(
    deployed: &Deployment,
    api: &FrontDoor,
    recordings: &FrontDoor,
    simulator: &Handle,
    emulator: &Emulator,
    webhook_token: String,
) -> Result<StackFile> {
    Ok(StackFile {
        http_url: api.origin(),
        ws_url: String::new(),
        recordings_url: recordings.origin(),
        simulator_url: simulator.url().to_owned(),
        aws_endpoint_url: emulator.endpoint_url(),
        region: stack::REGION.to_owned(),
        table_name: deployed.id("Table")?.to_owned(),
        webhook_token,
        queues: deployed.queues(),
        functions: deployed.functions()?,
    })
}

fn api_host(id: &str) -> Result<HeaderValue> {
    host(&format!("{id}.execute-api.localhost"))
}

fn function_url_host(deployed: &Deployment) -> Result<HeaderValue> {
    let url = deployed
        .outputs
        .get("RecordingFunctionUrl")
        .context("the template has no output RecordingFunctionUrl")?;
    let id = url
        .split(['/', '.'])
        .find(|part| part.len() == 32)
        .context("the function URL has another form")?;
    host(&format!("{id}.lambda-url.{}.localhost", stack::REGION))
}

fn host(name: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(name).context("a host name of the emulator")
}

/// Builds every function of the template, unoptimised, and says where the binaries are. Cargo shows its own progress.
fn build(root: &Path, template: &Template) -> Result<PathBuf> {
    let metadata: Metadata = MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .exec()
        .context("ask cargo for the workspace")?;
    let mut cargo = cargo();
    cargo.args(["build", "--bins"]);
    for package in &metadata.packages {
        if package
            .manifest_path
            .starts_with(metadata.workspace_root.join("functions"))
        {
            cargo.args(["--package", package.name.as_str()]);
        }
    }
    let step = Instant::now();
    if !cargo.status().context("start cargo")?.success() {
        bail!("the functions do not build");
    }
    let binaries = metadata.target_directory.join("debug").into_std_path_buf();
    for function in template.functions()? {
        if !binaries.join(&function.bin).exists() {
            bail!(
                "template.yaml has {}, but no package under functions/ has a binary {}",
                function.logical_id,
                function.bin
            );
        }
    }
    println!("✓ built the functions ({:.1} s)", step.elapsed().as_secs_f64());
    Ok(binaries)
}

/// The person's own settings from `.env`, without those by which the local stack holds together.
fn own_settings() -> Result<BTreeMap<String, String>> {
    let path = paths::root().join(".env");
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let known = |name: &str| {
        lambda_kit::config::VARIABLES
            .iter()
            .any(|variable| variable.name == name)
    };
    let mut settings = BTreeMap::new();
    for entry in dotenvy::from_path_iter(&path).context("read .env")? {
        let (name, value) = entry.context("read .env")?;
        if !known(&name) {
            eprintln!("! .env sets {name}, which nothing reads; .env.example lists the settings");
        }
        if !value.trim().is_empty() {
            settings.insert(name, value);
        }
    }
    Ok(settings)
}

async fn asked_to_end() {
    let mut term = signal(SignalKind::terminate()).expect("a signal handler can be set");
    let mut hangup = signal(SignalKind::hangup()).expect("a signal handler can be set");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => (),
        _ = term.recv() => (),
        _ = hangup.recv() => (),
    }
}

/// One serving stack at a time: the file holds its process id, and is locked as long as that lives.
struct Lock {
    file: File,
}

impl Lock {
    fn path() -> PathBuf {
        paths::local().join("serving.pid")
    }

    fn take() -> Result<Self> {
        fs::create_dir_all(paths::local()).context("make .local")?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(Self::path())
            .context("open .local/serving.pid")?;
        if file.try_lock().is_err() {
            bail!("a local stack is serving already (.local/stack.json); `cargo xtask local --stop` ends it");
        }
        // Left behind by one that was killed.
        let _ = fs::remove_file(paths::stack_file());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .context("write .local/serving.pid")?;
        write!(file, "{}", std::process::id()).context("write .local/serving.pid")?;
        Ok(Self { file })
    }

    /// The process that serves.
    fn holder() -> Result<Option<i32>> {
        let mut file = match File::open(Self::path()) {
            Ok(file) => file,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err).context("open .local/serving.pid"),
        };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(paths::stack_file());
            return Ok(None);
        }
        let mut text = String::new();
        file.read_to_string(&mut text)
            .context("read .local/serving.pid")?;
        Ok(Some(
            text.trim().parse().context("understand .local/serving.pid")?,
        ))
    }

    fn release(self) {
        let _ = fs::remove_file(paths::stack_file());
        let _ = fs::remove_file(Self::path());
        drop(self.file);
    }
}
