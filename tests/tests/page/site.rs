//! A lab whose balancer has tokens, and somebody who looks at its page by curl.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use lab::{
    config::Config,
    curl::{Answer, Curl},
    gateway::{Gateway, binary, gateway},
    host::Host,
    lab::{Lab, Running},
    process::Output,
};

/// Where the page is.
pub(crate) const AT: &str = "10.0.0.2:9180";

/// A running lab.
pub(crate) struct Site {
    // In this order, in which they are dropped.
    pub(crate) running: Running,
    pub(crate) lab: Lab,
    pub(crate) read: String,
    pub(crate) write: String,
}

/// A browser without a screen: it keeps cookies, and says where its forms come from.
pub(crate) struct Visitor<'s> {
    site: &'s Site,
    host: &'s Host,
    at: String,
    jar: PathBuf,
    pub(crate) origin: String,
}

impl Site {
    /// With proxies on two instances, as the file is changed by `change`.
    pub(crate) fn up(change: impl FnOnce(&mut Config)) -> Self {
        let (lab, mut config, [read, write]) = prepared(2);
        change(&mut config);
        let running = lab.start(&config).unwrap();
        Self { running, lab, read, write }
    }

    /// With balancer and instance on one host.
    pub(crate) fn on_one_host() -> Self {
        let (lab, mut config, [read, write]) = prepared(1);
        config.instance[0].dip = std::mem::take(&mut config.balancer.address);
        let mut command = gateway("run").unwrap();
        command.arg("--config").arg(lab.write(&config).unwrap());
        let balancer = Gateway::start(&lab.hosts.balancer, command, lab.folder()).unwrap();
        Self { running: Running { balancer, proxies: BTreeMap::new() }, lab, read, write }
    }

    /// A line as somebody pastes it into a shell on the balancer.
    pub(crate) fn by_shell(&self, line: &str) -> Output {
        let folder = binary().unwrap().parent().unwrap().to_owned();
        let path = std::env::join_paths(
            std::iter::once(folder).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).env("PATH", path.unwrap());
        self.lab.hosts.balancer.run_command(shell).unwrap()
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.lab.folder().join("tokens")
    }

    /// Somebody at the client host.
    pub(crate) fn visitor(&self) -> Visitor<'_> {
        let jar = tempfile::Builder::new().prefix("jar-").tempfile_in(self.lab.folder()).unwrap();
        let (_, jar) = jar.keep().unwrap();
        let (host, at) = (&self.lab.hosts.client, AT.to_owned());
        Visitor { site: self, host, origin: format!("http://{at}"), at, jar }
    }

    /// The status as JSON, for programs.
    pub(crate) fn status(&self) -> serde_json::Value {
        let url = format!("http://{AT}/v1/status");
        let header = format!("Authorization: Bearer {}", self.read);
        let answer = Curl::url(&self.lab, &url).with(["--header".to_owned(), header]);
        serde_json::from_slice(&answer.send(&self.lab.hosts.client).unwrap().body).unwrap()
    }
}

impl Visitor<'_> {
    fn send(&self, path: &str, options: &[String]) -> Answer {
        let jar = self.jar.display().to_string();
        let curl = Curl::url(&self.site.lab, &format!("http://{}{path}", self.at));
        curl.with(["--cookie", &jar, "--cookie-jar", &jar]).with(options).send(self.host).unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(path, &[])
    }

    /// A form, as a browser sends it.
    pub(crate) fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let pair = |(name, value): &(&str, &str)| ["--data-urlencode".to_owned(), format!("{name}={value}")];
        let mut options: Vec<_> = fields.iter().flat_map(pair).collect();
        options.extend(["--header".to_owned(), format!("Origin: {}", self.origin)]);
        if fields.is_empty() {
            options.extend(["--data", ""].map(str::to_owned));
        }
        self.send(path, &options)
    }

    /// A form whose field is a file's text, which may be longer than an argument of a command.
    pub(crate) fn post_file(&self, path: &str, name: &str, file: &Path) -> Answer {
        let field = format!("{name}@{}", file.display());
        let origin = format!("Origin: {}", self.origin);
        self.send(path, &["--data-urlencode".to_owned(), field, "--header".to_owned(), origin])
    }

    pub(crate) fn log_in(&self, token: &str) -> Answer {
        self.post("/login", &[("token", token)])
    }

    /// What its jar has.
    pub(crate) fn cookie(&self) -> String {
        let text = fs::read_to_string(&self.jar).unwrap();
        let line = text.lines().find(|line| line.contains("\tgateway\t")).unwrap();
        format!("gateway={}", line.rsplit('\t').next().unwrap())
    }

    /// The session's secret, out of a form of the page.
    pub(crate) fn csrf(&self) -> String {
        let text = self.get("/").text();
        let (_, rest) = text.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("{text}"));
        rest.split('"').next().unwrap().to_owned()
    }
}

/// A lab, its file with tokens, and these: for looking, and for changing.
fn prepared(instances: u8) -> (Lab, Config, [String; 2]) {
    let lab = Lab::raise(instances).unwrap();
    let ((read, first), (write, second)) = (token(&lab, "graphs", "read"), token(&lab, "deploy", "write"));
    let tokens = lab.folder().join("tokens");
    fs::write(&tokens, format!("{first}\n{second}\n")).unwrap();
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).unwrap();
    let mut config = lab.config().probed();
    config.balancer.admin = Some(AT.to_owned());
    config.balancer.tokens = Some("tokens".into());
    (lab, config, [read, write])
}

/// A new token, and its line.
fn token(lab: &Lab, name: &str, role: &str) -> (String, String) {
    let mut command = gateway("token").unwrap();
    command.args([name, "--role", role]);
    let text = lab.hosts.balancer.run_command(command).unwrap().text();
    let word = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
    (word("token"), word("line"))
}

/// A file without the lines that have this in them.
pub(crate) fn without(path: &Path, piece: &str) {
    let text = fs::read_to_string(path).unwrap();
    let kept: Vec<_> = text.lines().filter(|line| !line.contains(piece)).collect();
    fs::write(path, kept.join("\n")).unwrap();
}
