//! The settings of every concern, read from one place and checked in init.
//!
//! Each concern is a struct with a `from_env` that takes [`Settings`]; each field's doc names its variable. The
//! whole list is [`VARIABLES`].

mod concerns;
mod origin;
mod settings;
mod socket;
mod variables;

pub(crate) use concerns::long_secret;
pub use concerns::*;
pub use origin::Origin;
pub use settings::Settings;
pub(crate) use settings::invalid;
pub use socket::SocketUrl;
pub use variables::{VARIABLES, Variable, env_example};
