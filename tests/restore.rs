//! `taxi restore`: all or nothing, never over data without `--force`, never under running loads.

use std::path::Path;

use crate::support::backups::{again, back_up, has_pg_dump, leftovers, manifest, on, restore};
use crate::support::http::{Reply, Server};
use crate::support::month::{gzip, yellow_csv};
use crate::support::targets::{contents, spawn};
use crate::support::{Database, json, refusal, testdata, wait_until};

/// A database with a loaded month, and a backup of it in `folder`.
fn loaded(name: &str, folder: &Path) -> (Database, std::path::PathBuf) {
    let database = Database::new(name);
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    let dir = back_up(&database, folder);
    (database, dir)
}

/// A session on the server that is not on the database.
fn admin(database: &Database) -> Database {
    let url = format!("{}/postgres", database.url.rsplit_once('/').unwrap().0);
    Database::connect(url, "postgres".to_owned())
}

#[test]
fn a_database_that_holds_tables_is_replaced_only_with_force() {
    if !has_pg_dump() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = loaded("replaced_by_force", folder.path());
    let admin = admin(&database);
    admin.sql(
        "ALTER DATABASE replaced_by_force SET work_mem = '7MB'; \
         ALTER DATABASE replaced_by_force SET search_path = \"$user\", public, extra; \
         DROP ROLE IF EXISTS restore_reader; CREATE ROLE restore_reader; \
         GRANT CREATE ON DATABASE replaced_by_force TO restore_reader",
    );
    database.sql("CREATE TABLE later (id int)");
    let error = refusal(&restore(&database, &dir, &[]).output().unwrap(), 78);
    assert!(error.contains("holds tables") && error.contains("use --force"), "{error}");
    assert_eq!(database.value("SELECT count(*) FROM later"), "0");
    assert!(leftovers(&admin, "replaced_by_force").is_empty());

    // the session of this test is one that --force ends
    let restored = json(&restore(&database, &dir, &["--force"]).output().unwrap());
    assert_eq!((&restored["status"], &restored["rows"].is_u64()), (&"restored".into(), &true));
    let database = again(&database);
    assert_eq!(database.value("SELECT to_regclass('later') IS NULL"), "t");
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "3001");
    assert!(leftovers(&admin, "replaced_by_force").is_empty());
    assert_eq!(database.value("SHOW work_mem"), "7MB");
    assert_eq!(database.value("SHOW search_path"), "\"$user\", public, extra");
    let privilege = "SELECT has_database_privilege('restore_reader', 'replaced_by_force', 'CREATE')";
    assert_eq!(database.value(privilege), "t");
    let analyzed = "SELECT reltuples FROM pg_class WHERE relname = 'yellow_tripdata_2021_01'";
    assert_eq!(database.value(analyzed), "3000");
}

#[test]
fn a_restore_goes_into_a_database_that_does_not_exist_yet() {
    if !has_pg_dump() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = loaded("restored_from", folder.path());
    admin(&database).sql("DROP DATABASE IF EXISTS restored_new WITH (FORCE)");
    let url = format!("{}/restored_new", database.url.rsplit_once('/').unwrap().0);
    let mut command = restore(&database, &dir, &[]);
    let restored = json(&command.env("DATABASE_URL", &url).output().unwrap());
    assert_eq!((&restored["database"], &restored["replaced"]), (&"restored_new".into(), &false.into()));
    assert_eq!(contents(&Database::connect(url, String::new())), contents(&database));
}

#[test]
fn a_restore_refuses_while_loads_run() {
    if !has_pg_dump() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = loaded("restored_loading", folder.path());
    let file = gzip(yellow_csv(20_000, "2021-02").as_bytes());
    let site = Server::new(move |_| Reply::ok(file.clone()).at_most(file.len() as u64 / 600));
    let mut load = spawn(&mut database.load("yellow", 2021, 2, &site.address));
    let running = "SELECT count(*) FROM taxi_etl.runs WHERE status = 'running'";
    wait_until("the load runs", || database.value(running) == "1");
    let error = refusal(&restore(&database, &dir, &["--force"]).output().unwrap(), 75);
    assert!(error.contains("yellow_tripdata_2021-02.csv (run "), "{error}");
    assert!(load.try_wait().unwrap().is_none(), "the load goes on");
    assert!(leftovers(&database, "restored_loading").is_empty());
    load.kill().unwrap();
    load.wait().unwrap();
    wait_until("the server has ended the load", || {
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'restored_loading' AND application_name = 'taxi-etl'";
        database.value(sessions) == "0"
    });
    json(&restore(&database, &dir, &["--force"]).output().unwrap());
}

#[test]
fn a_restore_that_differs_from_the_manifest_leaves_the_old_database() {
    if !has_pg_dump() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = loaded("restored_wrong", folder.path());
    database.sql("CREATE TABLE later (id int)");
    let mut edited = manifest(&dir);
    edited["targets"][0]["files"][0]["rows"] = 3002.into();
    std::fs::write(dir.join("manifest.json"), edited.to_string()).unwrap();
    let error = refusal(&restore(&database, &dir, &["--force"]).output().unwrap(), 67);
    assert!(error.contains("has 3001 rows") && error.contains("expected 3002 rows"), "{error}");
    assert_eq!(database.value("SELECT count(*) FROM later"), "0");
    assert!(leftovers(&database, "restored_wrong").is_empty());
}

#[test]
fn a_damaged_dump_leaves_the_old_database() {
    if !has_pg_dump() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = loaded("restored_damaged", folder.path());
    let dump = std::fs::read_dir(dir.join("dump")).unwrap().map(|entry| entry.unwrap().path());
    let largest = dump.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    let bytes = std::fs::read(&largest).unwrap();
    std::fs::write(&largest, &bytes[..bytes.len() / 2]).unwrap();
    let error = refusal(&restore(&database, &dir, &["--force"]).output().unwrap(), 78);
    assert!(error.contains("pg_restore failed"), "{error}");
    assert_eq!(database.value("SELECT count(*) FROM yellow_tripdata"), "3001");
    assert!(leftovers(&database, "restored_damaged").is_empty());
    let nothing = refusal(&restore(&database, folder.path(), &["--force"]).output().unwrap(), 78);
    assert!(nothing.contains("manifest.json") && nothing.contains("the directory of a backup"), "{nothing}");
}

#[test]
fn a_killed_restore_leaves_the_old_database_and_the_next_one_cleans_up() {
    if !has_pg_dump() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = loaded("restored_killed", folder.path());
    let before = contents(&database);
    let mut killed = spawn(&mut restore(&database, &dir, &["--force"]));
    wait_until("the new database exists", || !leftovers(&database, "restored_killed").is_empty());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(leftovers(&database, "restored_killed"), [["restored_killed_taxi_restore"]]);
    assert_eq!(contents(&database), before);
    // what is left of one that was killed after the swap
    let admin = admin(&database);
    admin.sql("CREATE DATABASE restored_killed_taxi_replaced");
    json(&restore(&database, &dir, &["--force"]).output().unwrap());
    assert!(leftovers(&admin, "restored_killed").is_empty());
    assert_eq!(contents(&again(&database)), before);
}

#[test]
fn a_missing_role_is_named_and_no_owner_leaves_it_out() {
    if !has_pg_dump() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let database = Database::new("restored_roles");
    database.sql(
        "DROP ROLE IF EXISTS restore_gone; CREATE ROLE restore_gone; CREATE TABLE theirs (id int); \
         ALTER TABLE theirs OWNER TO restore_gone",
    );
    let dir = back_up(&database, folder.path());
    assert_eq!(manifest(&dir)["roles"], serde_json::json!(["restore_gone"]));
    database.sql("DROP TABLE theirs; DROP ROLE restore_gone");
    let error = refusal(&restore(&database, &dir, &["--force"]).output().unwrap(), 78);
    assert!(error.contains("roles of the backup: restore_gone") && error.contains("--no-owner"), "{error}");
    json(&restore(&database, &dir, &["--force", "--no-owner"]).output().unwrap());
    let owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'theirs'";
    assert_eq!(again(&database).value(owner), "taxi");
}

#[test]
fn a_restore_needs_the_privilege_to_create_databases() {
    if !has_pg_dump() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (database, dir) = loaded("restored_unprivileged", folder.path());
    database.sql("DROP ROLE IF EXISTS restore_weak; CREATE ROLE restore_weak LOGIN PASSWORD 'weak'");
    let mut url = url::Url::parse(&database.url).unwrap();
    url.set_username("restore_weak").unwrap();
    url.set_password(Some("weak")).unwrap();
    let mut command = on(&database, &["restore", "--force", dir.to_str().unwrap()]);
    let error = refusal(&command.env("DATABASE_URL", url.as_str()).output().unwrap(), 77);
    assert!(error.contains("ALTER ROLE ... CREATEDB"), "{error}");
}
