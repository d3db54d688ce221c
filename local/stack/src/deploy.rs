//! Uploads the functions and creates the stack.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use aws_credential_types::Credentials;
use aws_sdk_cloudformation::types::{Capability, Parameter, StackResource};
use aws_sdk_s3::{config::BehaviorVersion, primitives::ByteStream, types::CreateBucketConfiguration};
use aws_smithy_http_client::Builder;
use aws_types::{SdkConfig, region::Region, sdk_config::SharedCredentialsProvider};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::{Emulator, Error, Function, REGION, Template};

/// Bucket of the code and the template.
const BUCKET: &str = "local-code";
/// The stack waits at most that long; the emulator needs a second or two.
const CREATE: Duration = Duration::from_secs(120);

/// A deployed stack: what it is made of, by logical id.
#[derive(Debug, Clone)]
pub struct Deployment {
    name: String,
    /// Logical id → (type, physical id).
    resources: BTreeMap<String, (String, String)>,
    /// The stack's outputs.
    pub outputs: BTreeMap<String, String>,
    functions: Vec<Function>,
}

/// Deploys `template` as the stack `name`: each function runs the binary of its name in `binaries`, and `parameters`
/// fill the template's. `note` hears what is being uploaded: name, number so far, number of all.
///
/// # Errors
/// [`Error::Stack`] with the reasons when the emulator refuses it, [`Error::Emulator`] when it does not answer.
pub async fn deploy(
    emulator: &Emulator,
    name: &str,
    template: &Template,
    binaries: &Path,
    parameters: &BTreeMap<String, String>,
    note: impl Fn(&str, usize, usize),
) -> Result<Deployment, Error> {
    let config = sdk_config(&emulator.endpoint_url());
    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&config)
            .force_path_style(true)
            .build(),
    );
    let here = CreateBucketConfiguration::builder()
        .location_constraint(REGION.into())
        .build();
    s3.create_bucket()
        .bucket(BUCKET)
        .create_bucket_configuration(here)
        .send()
        .await
        .map_err(Error::emulator("create the bucket for the code"))?;
    let functions = template.functions()?;
    for (number, function) in functions.iter().enumerate() {
        note(&function.bin, number + 1, functions.len());
        let package = package(&binaries.join(&function.bin))?;
        put(&s3, &format!("{}.zip", function.bin), package.into()).await?;
    }
    let packaged = template
        .clone()
        .with_code(|function| format!("s3://{BUCKET}/{}.zip", function.bin))?;
    put(
        &s3,
        "template.json",
        packaged.json().to_string().into_bytes().into(),
    )
    .await?;

    let cloudformation = aws_sdk_cloudformation::Client::new(&config);
    let parameters = parameters
        .iter()
        .map(|(key, value)| {
            Parameter::builder()
                .parameter_key(key)
                .parameter_value(value)
                .build()
        })
        .collect();
    cloudformation
        .create_stack()
        .stack_name(name)
        .template_url(format!("{}/{BUCKET}/template.json", emulator.endpoint_url()))
        .capabilities(Capability::CapabilityIam)
        .capabilities(Capability::CapabilityAutoExpand)
        .set_parameters(Some(parameters))
        .send()
        .await
        .map_err(Error::emulator("take the template"))?;
    let created = {
        use aws_sdk_cloudformation::client::Waiters;
        cloudformation
            .wait_until_stack_create_complete()
            .stack_name(name)
            .wait(CREATE)
            .await
    };
    if created.is_err() {
        return Err(Error::Stack(failures(&cloudformation, name).await?));
    }
    let described = cloudformation
        .describe_stacks()
        .stack_name(name)
        .send()
        .await
        .map_err(Error::emulator("describe the stack"))?;
    let outputs = described
        .stacks()
        .iter()
        .flat_map(|stack| stack.outputs())
        .filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())))
        .collect();
    let resources = cloudformation
        .describe_stack_resources()
        .stack_name(name)
        .send()
        .await
        .map_err(Error::emulator("list the stack's resources"))?
        .stack_resources()
        .iter()
        .filter_map(entry)
        .collect();
    Ok(Deployment {
        name: name.to_owned(),
        resources,
        outputs,
        functions,
    })
}

/// The template's parameters among `settings`, by name: the variable `EXOTEL_CALLER_ID` is the parameter
/// `ExotelCallerId`. Settings without a parameter come back as the second.
pub fn local_parameters(
    template: &Template,
    settings: BTreeMap<String, String>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let mut parameters = BTreeMap::new();
    let mut rest = BTreeMap::new();
    for (variable, value) in settings {
        let name: String = variable
            .split('_')
            .map(|word| word[..1.min(word.len())].to_owned() + &word[1.min(word.len())..].to_lowercase())
            .collect();
        if template.section("Parameters").any(|(known, _)| known == name) {
            parameters.insert(name, value);
        } else {
            rest.insert(variable, value);
        }
    }
    (parameters, rest)
}

impl Deployment {
    /// The physical id of a resource.
    ///
    /// # Errors
    /// [`Error::Template`] when the stack has no such resource.
    pub fn id(&self, logical_id: &str) -> Result<&str, Error> {
        self.resources
            .get(logical_id)
            .map(|(_, physical)| physical.as_str())
            .ok_or_else(|| Error::Template(format!("the stack has no resource {logical_id}")))
    }

    /// Lambda name of each function by its binary.
    ///
    /// # Errors
    /// As [`Deployment::id`].
    pub fn functions(&self) -> Result<BTreeMap<String, String>, Error> {
        self.functions
            .iter()
            .map(|function| Ok((function.bin.clone(), self.id(&function.logical_id)?.to_owned())))
            .collect()
    }

    /// URL of each queue by its name without the stack's: `outbound`.
    pub fn queues(&self) -> BTreeMap<String, String> {
        let prefix = format!("{}-", self.name);
        self.resources
            .values()
            .filter(|(kind, _)| kind == "AWS::SQS::Queue")
            .filter_map(|(_, url)| {
                let (_, name) = url.rsplit_once('/')?;
                // The emulator listens on IPv4 alone, and `localhost` may be tried as IPv6 first.
                let url = url.replacen("//localhost:", "//127.0.0.1:", 1);
                Some((name.strip_prefix(&prefix).unwrap_or(name).to_owned(), url))
            })
            .collect()
    }
}

async fn put(s3: &aws_sdk_s3::Client, key: &str, body: ByteStream) -> Result<(), Error> {
    s3.put_object()
        .bucket(BUCKET)
        .key(key)
        .body(body)
        .send()
        .await
        .map(drop)
        .map_err(Error::emulator("take an upload"))
}

async fn failures(cloudformation: &aws_sdk_cloudformation::Client, name: &str) -> Result<String, Error> {
    let events = cloudformation
        .describe_stack_events()
        .stack_name(name)
        .send()
        .await
        .map_err(Error::emulator("tell why the stack failed"))?;
    let lines: Vec<String> = events
        .stack_events()
        .iter()
        .filter(|event| {
            event
                .resource_status()
                .is_some_and(|status| status.as_str().ends_with("_FAILED"))
        })
        .map(|event| {
            let id = event.logical_resource_id().unwrap_or("?");
            format!(
                "\n  {id}: {}",
                event.resource_status_reason().unwrap_or("no reason given")
            )
        })
        .collect();
    Ok(if lines.is_empty() {
        "no resource failed: it took too long, or the emulator refused the template or a parameter; ministack.log says which".to_owned()
    } else {
        lines.concat()
    })
}

fn entry(resource: &StackResource) -> Option<(String, (String, String))> {
    let kind = resource.resource_type()?.to_owned();
    Some((
        resource.logical_resource_id()?.to_owned(),
        (kind, resource.physical_resource_id()?.to_owned()),
    ))
}

fn sdk_config(endpoint_url: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .endpoint_url(endpoint_url)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "local", "local", None, None, "local",
        )))
        .http_client(Builder::new().build_http())
        .build()
}

/// A deployment package: the binary as `bootstrap`, without debug information (tens of megabytes that every start
/// would copy) and uncompressed (packing takes longer than copying).
fn package(binary: &Path) -> Result<Vec<u8>, Error> {
    let stripped = strip(binary)?;
    let mut code = File::open(&stripped).map_err(Error::file("open", &stripped))?;
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .unix_permissions(0o755);
    let what = || Error::file("pack", binary);
    zip.start_file("bootstrap", options)
        .map_err(io::Error::from)
        .map_err(what())?;
    io::copy(&mut code, &mut zip).map_err(what())?;
    zip.flush().map_err(what())?;
    let packed = zip.finish().map_err(io::Error::from).map_err(what())?;
    Ok(packed.into_inner())
}

/// The binary without debug information, beside it as `<name>.stripped` and made anew only when the binary is newer;
/// the binary itself where there is no `strip`.
fn strip(binary: &Path) -> Result<PathBuf, Error> {
    let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let built = modified(binary).map_err(Error::file("find the built function", binary))?;
    let stripped = binary.with_extension("stripped");
    if modified(&stripped).is_ok_and(|time| time >= built) {
        return Ok(stripped);
    }
    let done = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(binary)
        .status();
    Ok(if done.is_ok_and(|status| status.success()) {
        stripped
    } else {
        binary.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_parameters_by_their_name_or_stay_settings() {
        let template =
            Template::parse("Parameters: { ExotelCallerId: {}, JwtSecret: {} }\nResources: {}").unwrap();
        let settings = [
            ("EXOTEL_CALLER_ID", "1"),
            ("JWT_SECRET", "2"),
            ("RECORDING_EXTRA_ORIGINS", "3"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
        let (parameters, rest) = local_parameters(&template, settings.into());
        assert_eq!(
            parameters.into_iter().collect::<Vec<_>>(),
            [
                ("ExotelCallerId".to_owned(), "1".to_owned()),
                ("JwtSecret".to_owned(), "2".to_owned())
            ]
        );
        assert_eq!(rest.into_keys().collect::<Vec<_>>(), ["RECORDING_EXTRA_ORIGINS"]);
    }
}
