//! `taxi runs`
use crate::cli::RunsArgs;
use crate::error::Result;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::output::End;
pub async fn run(_args: RunsArgs, _p: &Provisioner, _r: &dyn Report) -> Result<End> {
    End::new(&1, |_| String::new())
}
