//! `taxi runs`
use crate::cli::VerifyArgs;
use crate::error::Result;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::output::End;
pub async fn run(_args: VerifyArgs, _p: &Provisioner, _r: &dyn Report) -> Result<End> {
    End::new(&1, |_| String::new())
}
