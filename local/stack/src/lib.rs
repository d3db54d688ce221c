#![doc = include_str!("../README.md")]

mod deploy;
mod emulator;
mod error;
mod frames;
mod front;
mod stack_file;
mod template;
mod venv;

pub use deploy::{Deployment, deploy, local_parameters};
pub use emulator::Emulator;
pub use error::Error;
pub use front::FrontDoor;
pub use stack_file::StackFile;
pub use template::{Function, Template};
pub use venv::Venv;

/// The region that the local stack pretends to be in.
pub const REGION: &str = "ap-south-1";
