//! What a request is: a value that knows its path and its fields.

use std::borrow::Cow;

use crate::answer::Answer;
use crate::error::Error;
use crate::values::PrivateUrl;

/// Names and values of a form or a query.
pub type FieldList = Vec<(Cow<'static, str>, String)>;

/// The API of Exotel's that a request belongs to: it decides host, first part of the path, and how answers are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `/v1/Accounts/{sid}/` on the API host: voice, SMS, numbers.
    V1,
    /// `/v2_beta/Accounts/{sid}/` on the API host: ExoPhones.
    V2Beta,
    /// `/v2/accounts/{sid}/` on the API host: HeartBeat details of an ExoPhone.
    V2,
    /// `/v2/accounts/{sid}/` on the CCM host: calls between users and customers.
    Ccm,
}

impl Api {
    /// What the path begins with, before the account. Upper and lower case matter to Exotel.
    pub(crate) fn root(self) -> [&'static str; 2] {
        match self {
            Self::V1 => ["v1", "Accounts"],
            Self::V2Beta => ["v2_beta", "Accounts"],
            Self::V2 | Self::Ccm => ["v2", "accounts"],
        }
    }
}

/// A request to one of Exotel's APIs. It can be built, logged, stored and compared without a network;
/// [`Client::send`](crate::Client::send) sends it.
pub trait Request {
    /// What Exotel's answer says.
    type Answer;

    /// Checks the rules that Exotel documents.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRequest`] for the first field that breaks one.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Which API it belongs to; v1 unless a request says otherwise.
    fn api(&self) -> Api {
        Api::V1
    }

    /// Segments of the path behind the account, such as `Calls.json`; upper and lower case matter to Exotel.
    fn path(&self) -> Vec<String>;

    /// Fields of the query string.
    fn query(&self) -> FieldList {
        Vec::new()
    }

    /// Fields of the form body: with a form the request is a POST, without one a GET.
    fn form(&self) -> Option<FieldList> {
        None
    }

    /// Reads the answer to a request that Exotel accepted.
    ///
    /// # Errors
    ///
    /// [`Error::Unconfirmed`] if the answer is not what Exotel documents: it was a success, but of what?
    fn read(&self, answer: &Answer) -> Result<Self::Answer, Error>;
}

/// A list of fields under construction; optional values that are absent are not sent.
#[derive(Default)]
pub(crate) struct FieldWriter(FieldList);

impl FieldWriter {
    pub(crate) fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl ToString) -> &mut Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    pub(crate) fn set_some<T: ToString>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: Option<T>,
    ) -> &mut Self {
        if let Some(value) = value {
            self.set(name, value);
        }
        self
    }

    pub(crate) fn finish(self) -> FieldList {
        self.0
    }
}

/// Refuses a field of a request.
pub(crate) fn invalid<T>(field: &'static str, problem: impl Into<String>) -> Result<T, Error> {
    Err(Error::InvalidRequest {
        field,
        problem: problem.into(),
    })
}

/// Refuses a missing value.
pub(crate) fn check_present(field: &'static str, value: &str) -> Result<(), Error> {
    if value.trim().is_empty() {
        invalid(field, "is missing")
    } else {
        Ok(())
    }
}

/// Refuses a value with more than `longest` characters.
pub(crate) fn check_length(field: &'static str, value: &str, longest: usize) -> Result<(), Error> {
    let length = value.chars().count();
    if length > longest {
        invalid(
            field,
            format!("has {length} characters, at most {longest} are allowed"),
        )
    } else {
        Ok(())
    }
}

/// Refuses a URL that Exotel could not call.
pub(crate) fn check_web(field: &'static str, url: &PrivateUrl) -> Result<(), Error> {
    if url.is_http() {
        Ok(())
    } else {
        invalid(field, "must be an http or https URL")
    }
}

/// A parameter that takes one of a few words.
macro_rules! parameter {
    ($(#[$meta:meta])* $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $word:literal ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $( $(#[$vmeta])* $variant, )*
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $( Self::$variant => $word, )* })
            }
        }
    };
}
pub(crate) use parameter;
