#![doc = include_str!("../README.md")]

mod answer;
mod error;
mod function;
mod process;
mod server;

pub use answer::{Answer, Complete, Figures, Prelude};
pub use error::{Error, Failure};
pub use function::{Function, Launch};
pub use process::Usage;
