//! `taxi logs`: the embedded server's log.

use std::time::Duration;

use crate::cli::LogsArgs;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::provision::Provisioner;
use crate::report::output::CommandOutput;

/// How often the log is read again.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Prints the last lines of the log. With `--follow`, prints what follows until a signal arrives, which is how the
/// command is meant to end: it then succeeds.
pub(crate) async fn run(
    args: &LogsArgs,
    provisioner: &Provisioner,
    interrupt: &Interrupt,
) -> Result<CommandOutput> {
    let mut log = provisioner.open_log(args.lines)?;
    let mut out = std::io::stdout();
    while log.copy_new(&mut out)? && args.follow {
        if interrupt.sleep(POLL_INTERVAL).await.is_err() {
            break;
        }
    }
    Ok(CommandOutput::of_text(b""))
}
