//! Where settings come from: the environment first, then the secret.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

use super::variables::{VARIABLES, Variable};
use crate::Error;

type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The settings of one function. A variable that is set in the environment wins over the secret's key of the same
/// name; a value of nothing but spaces counts as not set.
#[derive(Clone)]
pub struct Settings {
    environment: Arc<Lookup>,
    secret: Arc<BTreeMap<String, SecretString>>,
}

impl Settings {
    /// Settings from an environment alone; only [`crate::init`] passes the process's own.
    pub fn new(environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            environment: Arc::new(environment),
            secret: Arc::default(),
        }
    }

    /// The same environment over another secret.
    ///
    /// `json` is the secret's text: an object whose keys are the names in [`VARIABLES`] and whose values are
    /// strings, numbers or booleans.
    ///
    /// # Errors
    /// [`Error::Secret`] when it is no such object.
    pub fn with_secret(&self, json: &SecretString) -> Result<Self, Error> {
        // serde_json's own message could quote the secret: say only where it stopped.
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json.expose_secret())
            .map_err(|err| {
            Error::Secret(format!(
                "it is not a JSON object (line {}, column {})",
                err.line(),
                err.column()
            ))
        })?;
        let mut secret = BTreeMap::new();
        for (key, value) in object {
            let text = match value {
                serde_json::Value::String(text) => text,
                serde_json::Value::Number(number) => number.to_string(),
                serde_json::Value::Bool(flag) => flag.to_string(),
                serde_json::Value::Null => continue,
                serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                    return Err(Error::Secret(format!(
                        "its key {key} holds a list or an object, not a text"
                    )));
                }
            };
            secret.insert(key, SecretString::from(text));
        }
        Ok(Self {
            environment: Arc::clone(&self.environment),
            secret: Arc::new(secret),
        })
    }

    /// The value of a variable in [`VARIABLES`], by its name or its alias, trimmed.
    pub fn get(&self, name: &'static str) -> Option<String> {
        let Variable { alias, .. } = entry(name);
        let names = || std::iter::once(name).chain(*alias);
        let set = |value: &str| {
            let value = value.trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        names()
            .find_map(|name| (self.environment)(name).as_deref().and_then(set))
            .or_else(|| {
                names().find_map(|name| self.secret.get(name).and_then(|value| set(value.expose_secret())))
            })
    }

    /// Whether the environment sets the variable, by its name or its alias: then the secret's value does not matter.
    pub fn is_pinned(&self, name: &'static str) -> bool {
        let Variable { alias, .. } = entry(name);
        let is_set = |name| (self.environment)(name).is_some_and(|value| !value.trim().is_empty());
        std::iter::once(name).chain(*alias).any(is_set)
    }

    /// What the environment alone says, for variables that Lambda itself sets.
    #[cfg(feature = "init")]
    pub(crate) fn environment(&self, name: &str) -> Option<String> {
        (self.environment)(name).filter(|value| !value.trim().is_empty())
    }

    /// As [`Settings::get`], kept secret.
    pub fn secret(&self, name: &'static str) -> Option<SecretString> {
        self.get(name).map(SecretString::from)
    }

    /// The value, without which the function cannot work.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not set.
    pub fn required(&self, name: &'static str) -> Result<String, Error> {
        self.get(name).ok_or(Error::Missing {
            variable: name,
            doc: entry(name).doc,
        })
    }

    /// The value, or its default, read as a `T`.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not set and has no default; [`Error::Invalid`] with `expected` when it cannot
    /// be read.
    pub fn parse<T: FromStr>(&self, name: &'static str, expected: &str) -> Result<T, Error> {
        let text = match (self.get(name), entry(name).default) {
            (Some(text), _) => text,
            (None, Some(default)) => default.to_owned(),
            (None, None) => {
                return Err(Error::Missing {
                    variable: name,
                    doc: entry(name).doc,
                });
            }
        };
        text.parse().map_err(|_| invalid(name, expected))
    }

    /// A whole number of at least 1, or its default.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is anything else.
    pub fn count(&self, name: &'static str) -> Result<u32, Error> {
        match self.parse(name, "it must be a whole number of at least 1")? {
            0 => Err(invalid(name, "it must be a whole number of at least 1")),
            count => Ok(count),
        }
    }

    /// `true` or `false` (also 1, 0, yes, no, on, off; any case), or its default.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is anything else: a switch that is misspelt must not count as off, nor as on.
    pub fn flag(&self, name: &'static str) -> Result<bool, Error> {
        let text: String = self.parse(name, "it must be true or false")?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(invalid(name, "it must be true or false")),
        }
    }

    /// The parts of a list separated by commas or spaces; empty when it is not set.
    pub fn list(&self, name: &'static str) -> Vec<String> {
        let text = self.get(name).unwrap_or_default();
        text.split([',', ' '])
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("secret", &self.secret.keys())
            .finish_non_exhaustive()
    }
}

pub(crate) fn invalid(variable: &'static str, reason: impl Into<String>) -> Error {
    Error::Invalid {
        variable,
        reason: reason.into(),
    }
}

fn entry(name: &'static str) -> &'static Variable {
    VARIABLES
        .iter()
        .find(|variable| variable.name == name)
        .expect("every variable that is read stands in VARIABLES")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&'static str, &'static str)]) -> Settings {
        let pairs: BTreeMap<_, _> = pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        Settings::new(move |name| pairs.get(name).cloned())
    }

    #[test]
    fn the_environment_wins_over_the_secret_and_the_name_over_its_alias() {
        let secret = SecretString::from(
            r#"{"EXOTEL_API_TOKEN":"from secret","EXOTEL_SID":"acme1","JWT_SECRET":null}"#,
        );
        let both = settings(&[("EXOTEL_API_SECRET", "from alias")])
            .with_secret(&secret)
            .unwrap();
        assert_eq!(both.get("EXOTEL_API_TOKEN").as_deref(), Some("from alias"));
        assert_eq!(both.get("EXOTEL_SID").as_deref(), Some("acme1"));
        assert_eq!(both.get("JWT_SECRET"), None);
        assert!(both.is_pinned("EXOTEL_API_TOKEN") && !both.is_pinned("EXOTEL_SID"));
        let names = settings(&[("EXOTEL_API_TOKEN", "name"), ("EXOTEL_API_SECRET", "alias")]);
        assert_eq!(names.get("EXOTEL_API_TOKEN").as_deref(), Some("name"));
    }

    #[test]
    fn an_empty_value_counts_as_not_set() {
        let secret = SecretString::from(r#"{"EXOTEL_SID":"acme1","TABLE_NAME":" "}"#);
        let empty = settings(&[("EXOTEL_SID", "  ")]).with_secret(&secret).unwrap();
        assert_eq!(empty.get("EXOTEL_SID").as_deref(), Some("acme1"));
        let missing = empty.required("TABLE_NAME").unwrap_err().to_string();
        assert_eq!(missing, "TABLE_NAME is not set: DynamoDB table");
    }

    #[test]
    fn a_secret_of_another_form_is_refused_without_quoting_it() {
        for (json, says) in [
            ("hunter2", "not a JSON object"),
            (r#"["hunter2"]"#, "not a JSON object"),
            (r#"{"JWT_SECRET":{"nested":"hunter2"}}"#, "JWT_SECRET"),
        ] {
            let message = settings(&[])
                .with_secret(&SecretString::from(json))
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(says) && !message.contains("hunter2"),
                "{message}"
            );
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let settings = settings(&[])
            .with_secret(&SecretString::from(r#"{"JWT_SECRET":"hunter2"}"#))
            .unwrap();
        let shown = format!("{settings:?}");
        assert!(
            shown.contains("JWT_SECRET") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn a_misspelt_switch_or_number_is_an_error() {
        assert!(settings(&[]).flag("OUTBOUND_ENABLED").unwrap());
        assert!(
            !settings(&[("OUTBOUND_ENABLED", "OFF")])
                .flag("OUTBOUND_ENABLED")
                .unwrap()
        );
        assert!(
            settings(&[("OUTBOUND_ENABLED", "flase")])
                .flag("OUTBOUND_ENABLED")
                .is_err()
        );
        assert_eq!(settings(&[]).count("OUTBOUND_VOICE_PER_MINUTE").unwrap(), 200);
        for bad in ["0", "-1", "many", "99999999999"] {
            let bad: &'static str = bad;
            assert!(
                settings(&[("OUTBOUND_VOICE_PER_MINUTE", bad)])
                    .count("OUTBOUND_VOICE_PER_MINUTE")
                    .is_err()
            );
        }
    }
}
