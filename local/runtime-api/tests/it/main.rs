//! A real function, written with `lambda_runtime`, driven through the stand-in.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod driving;
