//! `taxi load`: one month through the built-in pipeline.

use std::time::Instant;

use crate::cli::LoadArgs;
use crate::config;
use crate::database::session;
use crate::database::settings::Settings;
use crate::error::Result;
use crate::load::job::Sessions;
use crate::pipeline::flow::Flow;
use crate::pipeline::plan::Plan;
use crate::pipeline::run::{self, Before};
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::phase::{Phase, Phases};
use crate::report::summary::Summary;

const PIPELINE: &str = "postgres_taxi";

/// Plans the load, connects, runs the plan, prints the summary.
pub async fn run(args: LoadArgs, provisioner: &Provisioner, report: &dyn Report) -> Result<()> {
    let began = Instant::now();
    let plan = Plan::new(&Flow::builtin(PIPELINE)?, &inputs(&args)?)?;
    let database = config::database(args.database_url.as_deref())?;

    let mut phases = Phases::default();
    let phase = report.begin(Phase::Connect, None);
    let mut sessions = connect(database, provisioner, report).await?;
    phases.end(phase, "done");

    let before = Before { began, phases, forced: args.force };
    let summary = run::run(plan, &mut sessions, before, report).await?;
    args.output.output.write(&summary, Summary::text)
}

fn inputs(args: &LoadArgs) -> Result<Vec<(String, String)>> {
    let mut inputs = vec![
        ("taxi".to_owned(), args.taxi.clone()),
        ("year".to_owned(), args.year.to_string()),
        ("month".to_owned(), format!("{:02}", args.month)),
    ];
    if let Some(base) = config::source_base(args.source.as_deref())? {
        inputs.push(("source".to_owned(), base));
    }
    Ok(inputs)
}

async fn connect(
    database: Option<Settings>,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<Sessions> {
    let settings = match database {
        Some(settings) => settings,
        None => {
            let up = provisioner.up(report).await?;
            if up.started {
                let address = format!("127.0.0.1:{}/{}", up.connection.port, up.connection.database);
                report.notice(&format!(
                    "started PostgreSQL at {address}, which stays up: connect with 'taxi psql', stop it with 'taxi down'"
                ));
            }
            Settings::parse(&up.connection.url())?
        }
    };
    Ok(Sessions { load: session::connect(&settings).await?, staging: session::connect(&settings).await? })
}
