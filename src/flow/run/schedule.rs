//! Runs a flow for each date of a trigger, in order, with limited concurrency.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use crate::error::Error;
use crate::flow::context::databases::Databases;
use crate::flow::run::{Execution, FlowSummary, Request};
use crate::interrupt::Interrupt;
use crate::ledger::RunStatus;
use crate::report::{Event, Report};

/// Runs the requests in order, at most `limit` at a time. The summaries have the order of the requests.
///
/// No run starts after a signal. With `fail_fast`, no run starts after one has failed.
pub(crate) async fn run(
    requests: Vec<Request>,
    limit: usize,
    fail_fast: bool,
    databases: &Arc<Databases>,
    interrupt: &Interrupt,
    report: &Arc<dyn Report>,
) -> Vec<(FlowSummary, Option<Error>)> {
    report.emit(None, Event::RangeBegan(requests.len()));
    let failed = std::cell::Cell::new(false);
    let runs = requests.into_iter().map(|request| {
        let failed = &failed;
        async move {
            if interrupt.raised().is_some() || fail_fast && failed.get() {
                return (FlowSummary::of(&request, None), None);
            }
            let label = request.trigger_date.as_ref().map(|date| date.date().to_string()).unwrap_or_default();
            let execution =
                Execution::begin(request.clone(), Arc::clone(databases), interrupt, Arc::clone(report)).await;
            let result = match execution {
                Ok(mut execution) => execution.finish(interrupt).await,
                Err(error) => (FlowSummary::of(&request, Some(&error)), Some(error)),
            };
            failed.set(failed.get() || result.0.status == RunStatus::Failed);
            let event = match result.0.status {
                RunStatus::Cancelled => Event::MonthCancelled,
                status => Event::MonthEnded(status.name()),
            };
            report.emit(Some(&label), event);
            result
        }
    });
    stream::iter(runs).buffered(limit.max(1)).collect().await
}
