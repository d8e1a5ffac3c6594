//! A real browser, Chromium without a screen, driven by WebDriver (W3C, and for what that lacks Chromium's own protocol).

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{host::Host, process::Process, wait};

/// For the driver, and then the browser, to start.
const START: Duration = Duration::from_secs(60);
/// For one command.
const COMMAND: Duration = Duration::from_secs(60);
/// For what a page does by itself.
const SOON: Duration = Duration::from_secs(20);
/// How the standard names an element's reference.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window. Dropping it ends it.
pub struct Browser<'h> {
    host: &'h Host,
    port: u16,
    session: String,
    // Ends the browser with it.
    _driver: Process,
}

/// What a person has set up their system for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl<'h> Browser<'h> {
    /// Starts it on a host; `folder` is where it may leave files.
    ///
    /// # Errors
    /// It is not installed (`cargo xtask setup` brings it), or does not start.
    pub fn start(host: &'h Host, folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        let driver = host.spawn(command).context("`cargo xtask setup` brings it")?.ending_by(Signal::SIGTERM);
        let port = wait::until(START, || port(&driver.stdout()));
        let port = port.with_context(|| format!("chromedriver does not start: {}", driver.stderr()))?;
        let profile = tempfile::Builder::new().prefix("browser-").tempdir_in(folder)?.keep();
        let arguments = [
            "--headless=new",
            // Its sandbox is none for root.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let mut browser = Self { host, port, session: String::new(), _driver: driver };
        let session = browser.ask("POST", "/session", &wanted)?;
        let id = session["sessionId"].as_str().context("a session without a name")?;
        browser.session = id.to_owned();
        Ok(browser)
    }

    /// Opens a URL and waits until it is loaded.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn open(&self, url: &str) -> anyhow::Result<()> {
        self.command("POST", "url", &json!({ "url": url })).map(drop)
    }

    /// Runs a script, the body of a function; what it returns, or what a promise that it returns comes to.
    ///
    /// # Errors
    /// It throws.
    pub fn run(&self, script: &str) -> anyhow::Result<Value> {
        self.command("POST", "execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of the first element that a selector finds, as it is shown.
    ///
    /// # Errors
    /// There is none.
    pub fn text(&self, selector: &str) -> anyhow::Result<String> {
        let element = self.find(selector)?;
        let text = self.command("GET", &format!("element/{element}/text"), &Value::Null)?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks on it, as a person does.
    ///
    /// # Errors
    /// It is not there, or covered.
    pub fn click(&self, selector: &str) -> anyhow::Result<()> {
        let element = self.find(selector)?;
        self.command("POST", &format!("element/{element}/click"), &json!({})).map(drop)
    }

    /// Types into it.
    ///
    /// # Errors
    /// It is not there, or takes no text.
    pub fn enter(&self, selector: &str, text: &str) -> anyhow::Result<()> {
        let element = self.find(selector)?;
        self.command("POST", &format!("element/{element}/clear"), &json!({}))?;
        self.command("POST", &format!("element/{element}/value"), &json!({ "text": text })).map(drop)
    }

    /// Presses a key, wherever the focus is: a character, or one of the standard's, as `\u{e004}` for the tabulator.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn press(&self, key: &str) -> anyhow::Result<()> {
        let strokes = ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key }));
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.command("POST", "actions", &actions).map(drop)
    }

    /// Waits until an element's text has this in it.
    ///
    /// # Errors
    /// It never does.
    pub fn shows(&self, selector: &str, piece: &str) -> anyhow::Result<()> {
        if wait::eventually(SOON, || self.text(selector).is_ok_and(|text| text.contains(piece))) {
            return Ok(());
        }
        bail!("no `{piece}` in {selector}: {:?}", self.text(selector))
    }

    /// The size of what is seen of a page, in the pixels that pages count.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn size(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.chromium("Emulation.setDeviceMetricsOverride", &metrics).map(drop)
    }

    /// Whether pages are asked for a light or a dark look.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn prefer(&self, scheme: Scheme) -> anyhow::Result<()> {
        let value = if scheme == Scheme::Light { "light" } else { "dark" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.chromium("Emulation.setEmulatedMedia", &features).map(drop)
    }

    /// Has pages run no script from now on.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn without_script(&self) -> anyhow::Result<()> {
        self.chromium("Emulation.setScriptExecutionDisabled", &json!({ "value": true })).map(drop)
    }

    /// The whole page as a PNG file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn picture(&self, file: &Path) -> anyhow::Result<()> {
        let wanted = json!({ "format": "png", "captureBeyondViewport": true });
        let shot = self.chromium("Page.captureScreenshot", &wanted)?;
        let text = shot["data"].as_str().context("no picture")?;
        let bytes = decoded(text).context("a picture that is not base64")?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
    }

    /// What the page's console has said since it was last asked: refused scripts and styles, errors.
    ///
    /// # Errors
    /// The browser is gone.
    pub fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let entries = self.command("POST", "se/log", &json!({ "type": "browser" }))?;
        let entries = entries.as_array().cloned().unwrap_or_default();
        Ok(entries.iter().map(|one| one["message"].as_str().unwrap_or_default().to_owned()).collect())
    }

    fn find(&self, selector: &str) -> anyhow::Result<String> {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.command("POST", "element", &wanted)?;
        Ok(found[ELEMENT].as_str().context("an element without a name")?.to_owned())
    }

    fn chromium(&self, command: &str, parameters: &Value) -> anyhow::Result<Value> {
        self.command("POST", "goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(method, &format!("/session/{}/{path}", self.session), body)
    }

    /// One request of the protocol, on a connection of its own.
    fn ask(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let answer = self.host.enter(|| -> anyhow::Result<Vec<u8>> {
            let mut stream = TcpStream::connect(at)?;
            stream.set_read_timeout(Some(COMMAND))?;
            stream.write_all(request.as_bytes())?;
            // The driver keeps the connection whatever it is asked for, so its end tells nothing.
            let mut answer = BufReader::new(stream);
            let (mut length, mut line) = (0, String::new());
            while answer.read_line(&mut line)? > 2 {
                let field =
                    line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
                if let Some((_, value)) = field {
                    length = value.trim().parse()?;
                }
                line.clear();
            }
            let mut body = vec![0; length];
            answer.read_exact(&mut body)?;
            Ok(body)
        });
        let answer = answer.with_context(|| format!("{method} {path}"))?;
        let mut answer: Value = serde_json::from_slice(&answer).context("no JSON")?;
        let value = answer["value"].take();
        match value["error"].as_str() {
            Some(error) => bail!("{path}: {error}: {}", value["message"].as_str().unwrap_or_default()),
            None => Ok(value),
        }
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        // The driver ends the browser; where it does not answer any more, it is killed with all that it has started.
        let _ = self.ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
    }
}

/// `ChromeDriver was started successfully on port 34567.`
fn port(said: &[u8]) -> Option<u16> {
    let said = String::from_utf8_lossy(said);
    let (_, rest) = said.split_once("successfully on port ")?;
    rest.split('.').next()?.parse().ok()
}

/// RFC 4648, 4.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for character in text.bytes().filter(|character| *character != b'=') {
        let six = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, held) = (bits << 6 | u32::from(six), held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        for (text, expected) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9vYmE=", "fooba"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(decoded(text).unwrap(), expected.as_bytes());
        }
        assert_eq!(decoded("Zg*="), None);
    }
}
