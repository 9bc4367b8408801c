//! Array jobs: a scheduler starts the same command several times, and numbers these tasks in an environment
//! variable. Each task loads the month with its number.

use crate::error::{Error, Kind, Result};
use crate::report::Report;

/// The variables that hold the number of the task: of Kubernetes, Slurm, AWS Batch and Google Cloud Run.
const VARIABLES: [&str; 4] =
    ["JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID", "AWS_BATCH_JOB_ARRAY_INDEX", CLOUD_RUN_INDEX];
const CLOUD_RUN_INDEX: &str = "CLOUD_RUN_TASK_INDEX";
/// Cloud Run numbers the task of every job, also if it is the only one.
const CLOUD_RUN_COUNT: &str = "CLOUD_RUN_TASK_COUNT";

/// Selects the item of this task: the one with the number of `--index`, else of the scheduler's variable, which the
/// `report` then names. Without a number, returns all `items`. They are `what`: months or dates.
pub(crate) fn select<T>(
    option: Option<usize>,
    mut items: Vec<T>,
    what: &str,
    report: &dyn Report,
) -> Result<Vec<T>> {
    let (index, variable) = match option {
        Some(index) => (index, None),
        None => match of_variables(|name| std::env::var(name).ok())? {
            Some((index, name)) => (index, Some(name)),
            None => return Ok(items),
        },
    };
    let count = items.len();
    if index >= count {
        let text = format!("no {what} with the index {index}: the range has {count} {what}s");
        return Err(Error::new(Kind::Usage, text));
    }
    if let Some(name) = variable {
        report.notice(&format!("{name}={index} selects 1 of {count} {what}s, counted from 0"));
    }
    Ok(vec![items.swap_remove(index)])
}

/// The number of the task, and the variable that holds it.
fn of_variables(read: impl Fn(&str) -> Option<String>) -> Result<Option<(usize, &'static str)>> {
    let is_only_task = read(CLOUD_RUN_COUNT).is_some_and(|count| count.trim() == "1");
    let counts = |name: &&str| *name != CLOUD_RUN_INDEX || !is_only_task;
    let value = |name: &'static str| read(name).filter(|value| !value.is_empty()).map(|value| (name, value));
    let found: Vec<(&'static str, String)> = VARIABLES.into_iter().filter(counts).filter_map(value).collect();
    match &found[..] {
        [] => Ok(None),
        [(name, value)] => value.trim().parse().map(|index| Some((index, *name))).map_err(|_| {
            let reason =
                format!("invalid value {value:?} of {name}: expected a whole number, counted from 0");
            Error::new(Kind::Usage, reason)
        }),
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            let text = format!("{} are set, and each selects a month or date", names.join(" and "));
            Err(Error::new(Kind::Usage, text).hint("unset all but one of them, or use --index"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<usize>> {
        of_variables(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
        .map(|found| found.map(|(index, _)| index))
    }

    #[test]
    fn one_variable_numbers_the_task() {
        for name in VARIABLES {
            assert_eq!(of(&[(name, "3")]).unwrap(), Some(3), "{name}");
            let error = of(&[(name, "-1")]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("\"-1\""), "{error}");
        }
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[("SLURM_ARRAY_TASK_ID", ""), ("JOB_COMPLETION_INDEX", "1")]).unwrap(), Some(1));
    }

    #[test]
    fn the_only_task_of_a_cloud_run_job_takes_the_whole_range() {
        let tasks = |count| of(&[("CLOUD_RUN_TASK_INDEX", "0"), ("CLOUD_RUN_TASK_COUNT", count)]).unwrap();
        assert_eq!((tasks("1"), tasks("12")), (None, Some(0)));
    }
}
