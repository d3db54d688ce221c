//! What `roll-up` is made of.

use jiff::{SignedDuration, Timestamp};
use lambda_kit::{
    config::{LocaleConfig, TableConfig},
    init::{Boot, BoxError, Diagnostic},
};
use services::figures::{RollUp, RolledUp};

/// How long a run folds; the function has 60 s, and the next run comes in a minute.
const RUNS_FOR: SignedDuration = SignedDuration::from_secs(45);

/// Folds figures by the settings of the function.
pub struct Folding(RollUp);

impl Folding {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn from_boot(boot: &Boot) -> Result<Self, BoxError> {
        let table = TableConfig::from_env(boot.settings())?;
        let locale = LocaleConfig::from_env(boot.settings())?;
        let table = services::connect(boot.aws(), &table.name);
        Ok(Self(RollUp::new(table, locale.time_zone)))
    }

    /// One run.
    ///
    /// # Errors
    /// When the table fails; the next run goes on.
    pub async fn run(&self, clock: impl Fn() -> Timestamp) -> Result<RolledUp, Diagnostic> {
        let until = clock() + RUNS_FOR;
        let rolled_up = self.0.run(clock, until).await.map_err(crate::failed)?;
        if rolled_up.failed > 0 {
            // The log says which; what could be folded is.
            return Err(Diagnostic {
                error_type: "Incomplete".to_owned(),
                error_message: format!("{} quarters or days were not folded", rolled_up.failed),
            });
        }
        Ok(rolled_up)
    }
}
