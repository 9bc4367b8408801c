//! The runs of a trigger's dates, in order, as many at a time as may be.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use super::databases::Databases;
use super::task_run::State;
use super::{Execution, Request, Summary};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::report::{Event, Report};

/// Runs the requests, at most `limit` at a time, each begun in its turn; what came of them is in their order.
///
/// With `fail_fast` none is begun any more once one has failed, and none after a signal.
pub async fn run(
    requests: Vec<Request>,
    limit: usize,
    fail_fast: bool,
    databases: &Arc<Databases>,
    interrupt: &Interrupt,
    report: &Arc<dyn Report>,
) -> Vec<(Summary, Option<Error>)> {
    report.emit(None, Event::RangeBegan(requests.len()));
    let failed = std::cell::Cell::new(false);
    let runs = requests.into_iter().map(|request| {
        let failed = &failed;
        async move {
            if interrupt.raised().is_some() || fail_fast && failed.get() {
                return (Summary::of(&request, None), None);
            }
            let label = request.trigger_date.as_ref().map(|date| date.date().to_string()).unwrap_or_default();
            let begun =
                Execution::begin(request.clone(), Arc::clone(databases), interrupt, Arc::clone(report)).await;
            let ended = match begun {
                Ok(execution) => execution.finish(interrupt).await,
                Err(error) => (Summary::of(&request, Some(&error)), Some(error)),
            };
            failed.set(failed.get() || ended.0.status == State::Failed);
            report.emit(Some(&label), Event::MonthEnded(ended.0.status.name()));
            ended
        }
    });
    stream::iter(runs).buffered(limit.max(1)).collect().await
}
