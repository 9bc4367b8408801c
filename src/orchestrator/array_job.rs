//! Array jobs: a scheduler starts the same command several times, and numbers these tasks in an environment
//! variable. Each task loads the month with its number.

use crate::error::{Error, Kind, Result};

/// The variables that hold the number of the task: of Kubernetes, Slurm, AWS Batch and Google Cloud Run.
const VARIABLES: [&str; 4] =
    ["JOB_COMPLETION_INDEX", "SLURM_ARRAY_TASK_ID", "AWS_BATCH_JOB_ARRAY_INDEX", CLOUD_RUN_INDEX];
const CLOUD_RUN_INDEX: &str = "CLOUD_RUN_TASK_INDEX";
/// Cloud Run numbers the task of every job, also if it is the only one.
const CLOUD_RUN_COUNT: &str = "CLOUD_RUN_TASK_COUNT";

/// Returns the number of the task: of `--index`, else of the scheduler's variable. `None` means the whole range.
pub(crate) fn index(option: Option<usize>) -> Result<Option<usize>> {
    match option {
        Some(index) => Ok(Some(index)),
        None => of_variables(|name| std::env::var(name).ok()),
    }
}

fn of_variables(read: impl Fn(&str) -> Option<String>) -> Result<Option<usize>> {
    let is_only_task = read(CLOUD_RUN_COUNT).is_some_and(|count| count.trim() == "1");
    let counts = |name: &&str| *name != CLOUD_RUN_INDEX || !is_only_task;
    let value = |name| read(name).filter(|value| !value.is_empty()).map(|value| (name, value));
    let found: Vec<(&str, String)> = VARIABLES.into_iter().filter(counts).filter_map(value).collect();
    match &found[..] {
        [] => Ok(None),
        [(name, value)] => value.trim().parse().map(Some).map_err(|_| {
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
