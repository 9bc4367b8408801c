//! Task types that taxi does not run, and why: each needs a service or a program that one machine does not have.

use super::task::TaskType;
use crate::flow::yaml::hints;

/// Prefixes of types, and what the types need. A longer prefix comes before its own prefixes.
pub(crate) const SERVICES: &[(&str, &str)] = &[
    ("io.kestra.plugin.ai", "an AI provider (plugin ai)"),
    ("io.kestra.plugin.airbyte", "Airbyte (plugin airbyte)"),
    ("io.kestra.plugin.airflow", "Airflow (plugin airflow)"),
    ("io.kestra.plugin.amqp", "an AMQP broker (plugin amqp)"),
    ("io.kestra.plugin.ansible", "Ansible (plugin ansible)"),
    ("io.kestra.plugin.aws", "Amazon Web Services (plugin aws)"),
    ("io.kestra.plugin.azure", "Microsoft Azure (plugin azure)"),
    ("io.kestra.plugin.cassandra", "Cassandra (plugin cassandra)"),
    ("io.kestra.plugin.cloudquery", "CloudQuery (plugin cloudquery)"),
    (
        "io.kestra.plugin.compress",
        "another compression than that of taxi's loads (plugin compress); use gunzip or unzip in a shell task",
    ),
    ("io.kestra.plugin.core.dashboard", "the dashboards of a Kestra server"),
    ("io.kestra.plugin.core.execution.Purge", "the executions of a Kestra server; use 'taxi runs prune'"),
    (
        "io.kestra.plugin.core.execution.PurgeExecutions",
        "the executions of a Kestra server; use 'taxi runs prune'",
    ),
    ("io.kestra.plugin.core.log.Fetch", "the logs of a Kestra server; use 'taxi runs show'"),
    ("io.kestra.plugin.core.log.PurgeLogs", "the logs of a Kestra server; use 'taxi runs prune'"),
    ("io.kestra.plugin.core.namespace", "the namespace files of a Kestra server"),
    ("io.kestra.plugin.core.trigger.Toggle", "the scheduler of a Kestra server"),
    ("io.kestra.plugin.couchbase", "Couchbase (plugin couchbase)"),
    ("io.kestra.plugin.databricks", "Databricks (plugin databricks)"),
    ("io.kestra.plugin.dbt.cloud", "dbt Cloud (plugin dbt); use io.kestra.plugin.dbt.cli.DbtCLI"),
    ("io.kestra.plugin.deepseek", "an AI provider (plugin deepseek)"),
    ("io.kestra.plugin.docker", "a container engine (plugin docker); use io.kestra.plugin.scripts"),
    ("io.kestra.plugin.ee", "the Enterprise Edition of Kestra"),
    ("io.kestra.plugin.elasticsearch", "Elasticsearch (plugin elasticsearch)"),
    ("io.kestra.plugin.email", "a mail server (plugin email)"),
    ("io.kestra.plugin.fivetran", "Fivetran (plugin fivetran)"),
    ("io.kestra.plugin.fs.ftp", "an FTP server (plugin fs)"),
    ("io.kestra.plugin.fs.sftp", "an SFTP server (plugin fs)"),
    ("io.kestra.plugin.gcp", "Google Cloud (plugin gcp)"),
    ("io.kestra.plugin.gemini", "an AI provider (plugin gemini)"),
    ("io.kestra.plugin.git.NamespaceSync", "the flows of a Kestra server (plugin git)"),
    ("io.kestra.plugin.git.PushFlows", "the flows of a Kestra server (plugin git)"),
    ("io.kestra.plugin.git.PushNamespaceFiles", "the namespace files of a Kestra server (plugin git)"),
    ("io.kestra.plugin.git.SyncFlow", "the flows of a Kestra server (plugin git)"),
    ("io.kestra.plugin.git.SyncFlows", "the flows of a Kestra server (plugin git)"),
    ("io.kestra.plugin.git.TenantSync", "the flows of a Kestra server (plugin git)"),
    ("io.kestra.plugin.github", "GitHub's API (plugin github)"),
    ("io.kestra.plugin.googleworkspace", "Google Workspace (plugin googleworkspace)"),
    ("io.kestra.plugin.hubspot", "HubSpot (plugin hubspot)"),
    ("io.kestra.plugin.jdbc.bigquery", "Google Cloud (plugin jdbc-bigquery)"),
    (
        "io.kestra.plugin.jdbc.duckdb",
        "DuckDB (plugin jdbc-duckdb); run SQL on PostgreSQL, or duckdb in a script",
    ),
    (
        "io.kestra.plugin.jdbc.sqlite",
        "SQLite (plugin jdbc-sqlite); run SQL on PostgreSQL, or sqlite3 in a script",
    ),
    ("io.kestra.plugin.jdbc", "another database than PostgreSQL (plugin jdbc)"),
    ("io.kestra.plugin.jira", "Jira (plugin jira)"),
    ("io.kestra.plugin.kafka", "Kafka (plugin kafka)"),
    ("io.kestra.plugin.kestra", "the API of a Kestra server (plugin kestra)"),
    ("io.kestra.plugin.kubernetes", "a Kubernetes cluster (plugin kubernetes)"),
    ("io.kestra.plugin.langchain4j", "an AI provider (plugin langchain4j)"),
    ("io.kestra.plugin.minio", "an object store (plugin minio)"),
    ("io.kestra.plugin.modal", "Modal (plugin modal)"),
    ("io.kestra.plugin.mongodb", "MongoDB (plugin mongodb)"),
    ("io.kestra.plugin.mqtt", "an MQTT broker (plugin mqtt)"),
    ("io.kestra.plugin.nats", "NATS (plugin nats)"),
    ("io.kestra.plugin.neo4j", "Neo4j (plugin neo4j)"),
    ("io.kestra.plugin.notifications.mail", "a mail server (plugin notifications)"),
    ("io.kestra.plugin.notifications.slack", "Slack (plugin notifications)"),
    ("io.kestra.plugin.notifications", "a messaging service (plugin notifications)"),
    ("io.kestra.plugin.notion", "Notion (plugin notion)"),
    ("io.kestra.plugin.openai", "an AI provider (plugin openai)"),
    ("io.kestra.plugin.pulsar", "Pulsar (plugin pulsar)"),
    ("io.kestra.plugin.redis", "Redis (plugin redis)"),
    ("io.kestra.plugin.salesforce", "Salesforce (plugin salesforce)"),
    ("io.kestra.plugin.scripts", "another interpreter (plugin scripts)"),
    ("io.kestra.plugin.serdes", "another format than CSV and JSON (plugin serdes)"),
    ("io.kestra.plugin.servicenow", "ServiceNow (plugin servicenow)"),
    ("io.kestra.plugin.singer", "Singer (plugin singer)"),
    ("io.kestra.plugin.slack", "Slack (plugin slack)"),
    ("io.kestra.plugin.soda", "Soda (plugin soda)"),
    ("io.kestra.plugin.spark", "Spark (plugin spark)"),
    ("io.kestra.plugin.surrealdb", "SurrealDB (plugin surrealdb)"),
    ("io.kestra.plugin.terraform", "Terraform (plugin terraform)"),
    ("io.kestra.plugin.tika", "Apache Tika (plugin tika)"),
    ("io.kestra.plugin.transform", "another program than taxi (plugin transform)"),
    ("io.kestra.plugin.weaviate", "Weaviate (plugin weaviate)"),
    ("io.kestra.plugin.zendesk", "Zendesk (plugin zendesk)"),
];

/// The prefix that the type has, and what the type needs, if it is the type of a plugin that is known here.
fn service(name: &str) -> Option<(&'static str, &'static str)> {
    let is_below =
        |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.') || rest.is_empty());
    SERVICES.iter().find(|(prefix, _)| is_below(prefix)).copied()
}

/// The one fault of a task whose type taxi does not run.
pub(crate) fn unsupported(name: &str) -> String {
    let package = package(name);
    let is_known_package = TaskType::NAMES.iter().any(|other| self::package(other) == package);
    // in a package that taxi has, the name is probably misspelt
    if let Some((_, needed)) = service(name).filter(|(at, _)| !is_known_package || at.len() > package.len()) {
        return format!("unsupported task type {name:?}: it needs {needed}");
    }
    let nearest = nearest(name).map(|nearest| format!("did you mean {nearest}?"));
    let nearest = nearest.unwrap_or_else(|| "'taxi schema' lists the supported types".to_owned());
    format!("unsupported task type {name:?}; {nearest}")
}

/// The type of the same plugin that `name` probably means.
fn nearest(name: &str) -> Option<&'static str> {
    let is_same_plugin = |other: &str| match (plugin(name), plugin(other)) {
        (Some(own), Some(other)) => hints::by_letters(own, &[other]).is_some(),
        _ => true,
    };
    let types = || TaskType::NAMES.iter().copied().filter(|other| is_same_plugin(other));
    // the packages of all types begin with the same words
    let ends: Vec<&str> = types().map(end).collect();
    let by_letters = hints::by_letters(end(name), &ends);
    let found = by_letters.and_then(|nearest| types().find(|other| end(other) == nearest));
    let last = |name: &'static str| name.rsplit('.').next().unwrap_or_default();
    let is_part = |other: &&'static str| package(other) == package(name) && name.ends_with(last(other));
    found.or_else(|| types().find(is_part))
}

/// The type's name without its last word.
fn package(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(package, _)| package)
}

/// The name of the plugin, such as `jdbc`.
fn plugin(name: &str) -> Option<&str> {
    name.strip_prefix("io.kestra.plugin.")?.split('.').next()
}

/// The last two words of a type, such as `log.Log`.
fn end(name: &str) -> &str {
    name.rsplitn(3, '.').nth(2).map_or(name, |start| &name[start.len() + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsupported_type_names_its_plugin_or_the_nearest_type() {
        for (name, end) in [
            ("io.kestra.plugin.gcp.gcs.Upload", ": it needs Google Cloud (plugin gcp)"),
            (
                "io.kestra.plugin.jdbc.mysql.Query",
                ": it needs another database than PostgreSQL (plugin jdbc)",
            ),
            ("io.kestra.plugin.core.log.Logs", "; did you mean io.kestra.plugin.core.log.Log?"),
            ("io.kestra.plugin.core.state.Toggle", "; 'taxi schema' lists the supported types"),
            ("com.example.Task", "; 'taxi schema' lists the supported types"),
            (
                "io.kestra.plugin.scripts.shell.BashScript",
                "; did you mean io.kestra.plugin.scripts.shell.Script?",
            ),
            ("io.kestra.plugin.scripts.ruby.Script", ": it needs another interpreter (plugin scripts)"),
            ("io.kestra.plugin.core.log.PurgeLogs", "of a Kestra server; use 'taxi runs prune'"),
            ("io.kestra.plugin.proxmox.vm.Delete", "; 'taxi schema' lists the supported types"),
            ("io.kestra.plugin.compress.FileDecompress", "; use gunzip or unzip in a shell task"),
        ] {
            assert!(unsupported(name).ends_with(end), "{}", unsupported(name));
        }
    }

    #[test]
    fn no_prefix_hides_another() {
        for (prefix, needed) in SERVICES {
            assert_eq!(service(prefix), Some((*prefix, *needed)));
        }
    }
}
