//! Invoking another function of ours without waiting for what it does.

use serde::Serialize;

use super::{aws::AwsEnvironment, signed::Signed};
use crate::Error;

const ATTEMPTS: usize = 2;

/// Another function of ours.
///
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>
pub struct Invoker {
    lambda: Signed,
    path: String,
}

impl Invoker {
    /// The function of this name.
    pub(super) fn new(function_name: &str, environment: AwsEnvironment) -> Result<Self, Error> {
        Ok(Self {
            lambda: Signed::new("lambda", environment)?,
            path: format!("/2015-03-31/functions/{function_name}/invocations"),
        })
    }

    /// Hands an event over. Lambda keeps it, and runs the function within milliseconds as a rule; what the function
    /// makes of it is between the two. A failure of Lambda's own is tried once more.
    ///
    /// # Errors
    /// [`Error::Invoke`]; the function may have been invoked all the same.
    pub async fn invoke(&self, event: &impl Serialize) -> Result<(), Error> {
        let body = serde_json::to_string(event).map_err(|err| Error::Invoke(err.to_string()))?;
        let headers = [
            ("content-type", "application/json"),
            ("x-amz-invocation-type", "Event"),
        ];
        let mut attempts = 1;
        loop {
            let (again, says) = match self.lambda.post(&self.path, headers, body.clone()).await {
                Ok((202, _)) => return Ok(()),
                // 429 as well: the function's own concurrency does not count here, only the account's requests.
                Ok((status, _)) => (
                    status == 429 || status >= 500,
                    format!("Lambda answered {status}"),
                ),
                Err(err) => (true, format!("Lambda {err}")),
            };
            if !again || attempts == ATTEMPTS {
                return Err(Error::Invoke(says));
            }
            attempts += 1;
        }
    }
}
