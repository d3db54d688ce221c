//! Tokens (JWT, HS256) for the local stack.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{EncodingKey, Header};
use rand::RngExt;
use serde_json::json;

use crate::paths;

/// Whom the token is for.
#[derive(Args)]
pub(crate) struct Request {
    /// User id, the claim `sub`.
    #[arg(long)]
    user: String,
    /// What the user may do.
    #[arg(long, value_enum, ignore_case = true)]
    role: Role,
    /// Hours until it expires.
    #[arg(long, default_value_t = 12)]
    hours: i64,
}

/// The roles of the specification.
#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Role {
    #[value(alias = "agent")]
    Sales,
    #[value(alias = "manager")]
    SalesHead,
    Admin,
    #[value(name = "SUPERADMIN", alias = "super_admin")]
    SuperAdmin,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Sales => "SALES",
            Self::SalesHead => "SALES_HEAD",
            Self::Admin => "ADMIN",
            Self::SuperAdmin => "SUPERADMIN",
        }
    }
}

pub(crate) fn print(request: &Request) -> Result<()> {
    println!(
        "{}",
        mint(&secret()?, &request.user, request.role, request.hours)?
    );
    Ok(())
}

/// A token signed with `secret`, good for `hours`.
pub(crate) fn mint(secret: &str, user: &str, role: Role, hours: i64) -> Result<String> {
    let now = Timestamp::now();
    let expires = now
        .checked_add(SignedDuration::from_hours(hours))
        .context("so many hours make no date")?;
    let claims =
        json!({ "sub": user, "role": role.name(), "iat": now.as_second(), "exp": expires.as_second() });
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).context("sign the token")
}

/// The secret of the local stack's tokens: made once, kept in `.local`, so that a token outlives a restart.
pub(crate) fn secret() -> Result<String> {
    let path = paths::local().join("jwt-secret");
    if let Ok(secret) = fs::read_to_string(&path) {
        return Ok(secret);
    }
    let secret = random_text(48);
    fs::create_dir_all(paths::local()).context("make .local")?;
    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("create {}", path.display()))?;
    file.write_all(secret.as_bytes())
        .with_context(|| format!("write {}", path.display()))?;
    Ok(secret)
}

/// Letters and digits nobody can guess.
pub(crate) fn random_text(length: usize) -> String {
    let mut random = rand::rng();
    (0..length)
        .map(|_| char::from(random.sample(rand::distr::Alphanumeric)))
        .collect()
}
