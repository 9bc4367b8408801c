//! Connections as libpq makes them: the TLS modes, against a real server with certificates created here, and
//! settings from all the sources that libpq reads.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;

use crate::support::backups::has_pg_dump;
use crate::support::{OwnServer, json, refusal, taxi};

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, common_name: &str, names: &[&str], last_year: i32) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        Signed { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// A separate server with TLS.
struct Secure {
    server: OwnServer,
    folder: tempfile::TempDir,
    port: u16,
    password: String,
}

impl Secure {
    /// Starts a server with this certificate. `rules` come first in its pg_hba.conf.
    fn start(signed: &Signed, client_ca: &str, rules: &str) -> Self {
        let server = OwnServer::created(None);
        let up = json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
        let url = url::Url::parse(up["database_url"].as_str().unwrap()).unwrap();
        json(&server.taxi(&["down", "--output", "json"]).output().unwrap());
        let data = server.path().join("data");
        let owner = fs::metadata(&data).unwrap();
        for (name, text) in
            [("server.crt", &*signed.certificate), ("server.key", &signed.key), ("root.crt", client_ca)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let path = data.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let append = |name: &str, before: &str, after: &str| {
            let path = data.join(name);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, format!("{before}{text}{after}")).unwrap();
        };
        append("postgresql.conf", "", "\nssl = on\nssl_ca_file = 'root.crt'\n");
        append("pg_hba.conf", rules, "");
        let up = json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
        let port = url::Url::parse(up["database_url"].as_str().unwrap()).unwrap().port().unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { server, folder, port, password: url.password().unwrap().to_owned() }
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Returns a command that runs a flow, whose result is whether its session is encrypted.
    fn ask(&self, home: &Path, parameters: &str) -> Command {
        let flow = self.file(
            "flow.yaml",
            "id: ssl\nnamespace: taxi.tests\ntasks:\n  - id: ask\n    type: io.kestra.plugin.jdbc.postgresql.Query\n    fetchType: FETCH_ONE\n    \
             sql: SELECT ssl, coalesce(version, '') AS version, current_user AS name FROM pg_stat_ssl WHERE pid = pg_backend_pid()\n",
            0o600,
        );
        let mut command = taxi(["run", "--output", "json"]);
        command.arg(flow).env("HOME", home);
        if !parameters.is_empty() {
            command.env("DATABASE_URL", format!("port={} dbname=ny_taxi {parameters}", self.port));
        }
        command
    }
}

fn answer(command: &mut Command) -> Value {
    json(&command.output().unwrap())["tasks"][0]["outputs"]["row"].clone()
}

#[test]
fn every_sslmode_works_as_in_libpq() {
    let (authority, other_authority) = (Authority::new("ours"), Authority::new("theirs"));
    let secure = Secure::start(
        &authority.sign("server", &["localhost"], 2099),
        &authority.pem,
        "hostnossl ny_taxi plain 127.0.0.1/32 scram-sha-256\nhostssl ny_taxi plain 127.0.0.1/32 reject\n\
         hostssl ny_taxi secret 127.0.0.1/32 scram-sha-256\nhostnossl ny_taxi secret 127.0.0.1/32 reject\n\
         hostssl ny_taxi certified 127.0.0.1/32 cert\n",
    );
    let roles = "CREATE ROLE plain LOGIN SUPERUSER PASSWORD 'pw'; CREATE ROLE secret LOGIN SUPERUSER PASSWORD 'pw'; \
                 CREATE ROLE certified LOGIN SUPERUSER";
    let created = secure.server.taxi(&["psql", "-q", "-c", roles]).output().unwrap();
    assert!(created.status.success(), "{created:?}");
    let home = tempfile::tempdir().unwrap();
    let trusted_ca = secure.file("ours.pem", &authority.pem, 0o644);
    let other_ca = secure.file("theirs.pem", &other_authority.pem, 0o644);
    let (trusted_ca, other_ca) = (trusted_ca.display(), other_ca.display());
    let as_secret = "user=secret password=pw";
    let as_plain = "user=plain password=pw";
    for (parameters, encrypted) in [
        (format!("host=localhost {as_secret}"), true),
        (format!("host=localhost {as_plain}"), false),
        (format!("host=localhost {as_secret} sslmode=allow"), true),
        (format!("host=localhost {as_plain} sslmode=allow"), false),
        (format!("host=localhost {as_plain} sslmode=disable"), false),
        (format!("host=localhost {as_secret} sslmode=require"), true),
        (format!("host=localhost {as_secret} sslmode=require channel_binding=require"), true),
        (format!("host=127.0.0.1 {as_secret} sslmode=verify-ca sslrootcert={trusted_ca}"), true),
        (format!("host=localhost {as_secret} sslmode=verify-full sslrootcert={trusted_ca}"), true),
    ] {
        let row = answer(&mut secure.ask(home.path(), &parameters));
        assert_eq!(row["ssl"], encrypted, "{parameters}: {row}");
        if encrypted {
            assert_eq!(row["version"], "TLSv1.3");
        }
    }
    for (parameters, code, expected) in [
        (format!("host=localhost {as_secret} sslmode=disable"), 77, "rejected the user or the password"),
        (format!("host=localhost {as_plain} sslmode=require"), 77, "rejected the user or the password"),
        (
            format!("host=127.0.0.1 {as_secret} sslmode=verify-full sslrootcert={trusted_ca}"),
            78,
            "a host name that the certificate contains",
        ),
        (
            format!("host=localhost {as_secret} sslmode=verify-ca sslrootcert={other_ca}"),
            78,
            "the file of the CA",
        ),
        // with a root certificate, require verifies like verify-ca
        (
            format!("host=localhost {as_secret} sslmode=require sslrootcert={other_ca}"),
            78,
            "the file of the CA",
        ),
        (format!("host=localhost {as_secret} sslmode=verify-full"), 78, "there is no root certificate"),
        (format!("host=localhost {as_secret} sslrootcert=system"), 78, "the file of the CA"),
        (format!("host=localhost {as_secret} sslmode=verify-ca sslrootcert=/nowhere"), 78, "/nowhere"),
        (format!("host=localhost {as_plain} channel_binding=require"), 77, "channel binding"),
    ] {
        let error = refusal(&secure.ask(home.path(), &parameters).output().unwrap(), code);
        assert!(error.contains(expected), "{parameters}: {error}");
        assert!(!error.contains("password=pw"), "{error}");
    }

    // a client certificate, from a parameter or from its default path
    let certified = authority.sign("certified", &[], 2099);
    let certificate = secure.file("me.crt", &certified.certificate, 0o644);
    let key = secure.file("me.key", &certified.key, 0o600);
    let named =
        format!("host=localhost user=certified sslcert={} sslkey={}", certificate.display(), key.display());
    assert_eq!(answer(&mut secure.ask(home.path(), &named))["name"], "certified");
    let own = home.path().join(".postgresql");
    fs::create_dir(&own).unwrap();
    fs::copy(&certificate, own.join("postgresql.crt")).unwrap();
    fs::copy(&key, own.join("postgresql.key")).unwrap();
    fs::write(own.join("root.crt"), &authority.pem).unwrap();
    let from_home = secure.ask(home.path(), "host=localhost user=certified sslmode=verify-full");
    assert_eq!(answer(&mut { from_home })["name"], "certified");
    programs_connect_with_the_same_settings(
        &secure,
        &[format!("host=localhost {as_secret} sslmode=verify-full sslrootcert={trusted_ca}"), named.clone()],
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let error = refusal(&secure.ask(home.path(), &named).output().unwrap(), 78);
    assert!(error.contains("other users can access the key") && error.contains("chmod 600"), "{error}");

    settings_come_from_the_sources_of_libpq(&secure);
}

/// Backs up with connections that work only with their TLS settings.
fn programs_connect_with_the_same_settings(secure: &Secure, connections: &[String]) {
    if !has_pg_dump() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for parameters in connections {
        let mut command = taxi(["backup", "--output", "json", "--to"]);
        command.arg(folder.path()).env("HOME", folder.path());
        command.env("DATABASE_URL", format!("port={} dbname=ny_taxi {parameters}", secure.port));
        assert_eq!(json(&command.output().unwrap())["status"], "backed_up", "{parameters}");
    }
}

fn settings_come_from_the_sources_of_libpq(secure: &Secure) {
    let home = tempfile::tempdir().unwrap();
    let port = secure.port.to_string();
    let ask = |variables: &[(&str, &str)]| {
        let mut command = secure.ask(home.path(), "");
        command.envs(variables.iter().copied());
        command
    };
    let base = [("PGHOST", "localhost"), ("PGPORT", &*port), ("PGUSER", "secret"), ("PGDATABASE", "ny_taxi")];
    let with = |more: &[(&'static str, &str)]| answer(&mut ask(&[&base[..], more].concat()));
    assert_eq!(with(&[("PGPASSWORD", "pw")])["name"], "secret");
    let mounted = secure.file("password", "pw\n", 0o600);
    assert_eq!(with(&[("PGPASSWORD_FILE", mounted.to_str().unwrap())])["name"], "secret");

    // a password file, which other users must not be able to read
    let line = format!("other:*:*:*:no\nlocalhost:{port}:ny_taxi:secret:pw\n");
    let passfile = secure.file("pgpass", &line, 0o600);
    assert_eq!(with(&[("PGPASSFILE", passfile.to_str().unwrap())])["name"], "secret");
    fs::copy(&passfile, home.path().join(".pgpass")).unwrap();
    assert_eq!(with(&[])["name"], "secret");
    fs::set_permissions(home.path().join(".pgpass"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = refusal(&ask(&base).output().unwrap(), 77);
    assert!(
        error.contains(".pgpass was ignored because other users can access it: run 'chmod 600"),
        "{error}"
    );

    // a service: its settings override those of the environment, and those of the URL override the service
    let service = format!(
        "[trips]\nhost=localhost\nport={port}\ndbname=ny_taxi\nuser=secret\npassword=pw\nsslmode=require\n"
    );
    let services = secure.file("services", &service, 0o600);
    let variables = [
        ("PGSERVICEFILE", services.to_str().unwrap()),
        ("PGSERVICE", "trips"),
        ("PGUSER", "nobody"),
        ("PGSSLMODE", "disable"),
    ];
    assert_eq!(answer(&mut ask(&variables))["ssl"], true);
    let mut overriding = ask(&variables);
    overriding.env("DATABASE_URL", "service=trips user=plain sslmode=disable");
    assert_eq!(answer(&mut overriding)["name"], "plain");
    let error = refusal(&ask(&[("PGSERVICE", "trip"), variables[0]]).output().unwrap(), 78);
    assert!(error.contains("cannot find the service \"trip\""), "{error}");

    // the first of several hosts that can be reached
    let mut several = secure.ask(home.path(), "user=plain password=pw application_name=mine sslmode=disable");
    several
        .env("PGHOST", "127.0.0.1,localhost")
        .env("DATABASE_URL", format!("port=1,{port} dbname=ny_taxi user=plain password=pw"));
    assert_eq!(answer(&mut several)["name"], "plain");
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new("ours");
    let secure = Secure::start(&authority.sign("server", &["localhost"], 2021), &authority.pem, "");
    let home = tempfile::tempdir().unwrap();
    let root = secure.file("root.pem", &authority.pem, 0o644);
    let parameters = format!(
        "host=localhost user=taxi password={} sslmode=verify-ca sslrootcert={}",
        secure.password,
        root.display()
    );
    let error = refusal(&secure.ask(home.path(), &parameters).output().unwrap(), 78);
    assert!(
        error.contains("the certificate of the database at localhost") && error.contains("xpired"),
        "{error}"
    );
    // a connection that does not verify the certificate succeeds
    let row = answer(
        &mut secure.ask(home.path(), &format!("host=localhost user=taxi password={}", secure.password)),
    );
    assert_eq!(row["ssl"], true);
}
