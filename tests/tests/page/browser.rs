//! In a real browser: it logs in, is kept up to date, is found accessible by axe-core, and looks as the pictures in
//! `target/pictures` show.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lab::{
    address::{PRIVATE, PUBLIC},
    browser::{Browser, Scheme},
    curl::Curl,
};

use crate::site::{AT, Site};

/// Wide, as a desk has it, and narrow, as a telephone.
const WIDE: (u32, u32) = (1280, 900);
const NARROW: (u32, u32) = (390, 844);
/// Some samples of the counters, on a machine that has much else to do.
const SOON: Duration = Duration::from_secs(60);

fn pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pictures")
}

/// axe-core, out of the Python package that has it.
pub(crate) fn axe() -> String {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python/lib");
    let versions = fs::read_dir(&tools).into_iter().flatten().flatten();
    let mut files = versions.map(|entry| entry.path().join("site-packages/axe_playwright_python/axe.min.js"));
    let file = files.find(|file| file.exists());
    fs::read_to_string(file.expect("axe-core is not there: `cargo xtask setup` brings it")).unwrap()
}

pub(crate) fn logged_in<'s>(site: &'s Site, token: &str) -> Browser<'s> {
    let browser = Browser::start(&site.lab.hosts.client, site.lab.folder()).unwrap();
    browser.size(WIDE.0, WIDE.1).unwrap();
    browser.prefer(Scheme::Light).unwrap();
    browser.open(&format!("http://{AT}/")).unwrap();
    browser.enter("#token", token).unwrap();
    browser.click(".login button").unwrap();
    browser
}

/// Requests, and packets that are dropped, until the page shows both: for a picture with five minutes of them,
/// `GATEWAY_PICTURE_SECONDS=300`.
fn traffic(site: &Site, browser: &Browser<'_>) {
    let seconds = env::var("GATEWAY_PICTURE_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let late = Instant::now() + SOON;
    let shown = |class: &str| browser.text(&format!(".card.{class} .figure")).unwrap();
    let hosts = &site.lab.hosts;
    let mut seen = false;
    while !seen || Instant::now() < end {
        for role in ["gateway", "portal", "developer"] {
            let host = lab::config::default_host(role);
            Curl::https(&site.lab, &host, PRIVATE, "/").send(&hosts.client).unwrap();
        }
        hosts.outside.run(&format!("ping -q -c 3 -i 0.01 -W 0.1 {PUBLIC}")).unwrap();
        hosts.outside.run(&format!("curl -s --connect-timeout 0.05 http://{PUBLIC}:8443/")).unwrap();
        seen |= ["traffic", "dropped"]
            .iter()
            .all(|class| !shown(class).starts_with('–') && !shown(class).starts_with("0 "));
        assert!(seen || Instant::now() < late, "{} {}", shown("traffic"), shown("dropped"));
    }
}

/// What axe-core finds wrong with the page as it is now, best practices included.
fn findings(browser: &Browser<'_>, axe: &str) -> Vec<String> {
    browser.run(axe).unwrap();
    let found = browser
        .run(
            "return axe.run(document, { resultTypes: ['violations'] }).then((result) => result.violations.flatMap(
                 (rule) => rule.nodes.map((node) => `${rule.id}: ${node.target}: ${node.failureSummary}`)));",
        )
        .unwrap();
    found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// In both looks and both widths; a picture of each.
pub(crate) fn is_accessible(browser: &Browser<'_>, axe: &str, name: &str) {
    for (scheme, look) in [(Scheme::Light, "light"), (Scheme::Dark, "dark")] {
        browser.prefer(scheme).unwrap();
        for ((width, height), form) in [(WIDE, ""), (NARROW, "-narrow")] {
            browser.size(width, height).unwrap();
            let found = findings(browser, axe);
            browser.picture(&pictures().join(format!("{name}-{look}{form}.png"))).unwrap();
            assert!(found.is_empty(), "{name}, {look}{form}: {}", found.join("\n"));
            let spare = browser
                .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth;")
                .unwrap();
            assert_eq!(spare, 0, "{name}, {look}{form}: wider than the window");
        }
    }
    browser.prefer(Scheme::Light).unwrap();
    browser.size(WIDE.0, WIDE.1).unwrap();
}

#[test]
fn r60_the_overview_is_live_accessible_and_has_no_complaint_of_the_browser() {
    let site = Site::up(|_| {});
    let axe = axe();
    let browser = Browser::start(&site.lab.hosts.client, site.lab.folder()).unwrap();
    browser.open(&format!("http://{AT}/")).unwrap();
    is_accessible(&browser, &axe, "login");
    browser.enter("#token", &site.write).unwrap();
    browser.click(".login button").unwrap();
    browser.shows("h1", "contoso is serving").unwrap();
    browser.shows("#feed", "Live.").unwrap();
    traffic(&site, &browser);
    is_accessible(&browser, &axe, "overview");

    // What happens elsewhere is seen here without a reload, and what is open stays open.
    browser.run("window.here = true;").unwrap();
    browser.click("#change-gw-1 summary").unwrap();
    site.lab.instance("gw-2").unwrap().ip(["link set eth0 down"]).unwrap();
    browser.shows("h1", "contoso is degraded").unwrap();
    browser.shows(".trouble", "gw-2").unwrap();
    assert_eq!(
        browser.run("return window.here && document.querySelector('#change-gw-1').open;").unwrap(),
        true
    );
    is_accessible(&browser, &axe, "degraded");
    assert_eq!(browser.complaints().unwrap(), [""; 0]);
}

#[test]
fn r61_the_test_console_shows_each_step_and_is_accessible() {
    let site = Site::up(|_| {});
    let browser = logged_in(&site, &site.write);
    browser.click("nav a[href='/console']").unwrap();
    browser.shows("h1", "Test console").unwrap();
    browser.enter("#path", "/orders?from=browser").unwrap();
    browser.click(".send button").unwrap();
    browser.shows(".steps", "Body").unwrap();
    let steps = browser.text(".steps").unwrap();
    for piece in [
        "Resolve",
        "Instance",
        "the ring gives it",
        "TCP",
        "TLS",
        "TLSv1_3",
        "Request",
        "Answer",
        "200 OK",
        " ms",
    ] {
        assert!(steps.contains(piece), "{piece} in {steps}");
    }
    browser.shows("pre[aria-label=Body]", "/orders?from=browser").unwrap();
    is_accessible(&browser, &axe(), "console");

    // What is shown is run as it is.
    browser.enter("#path", "/orders?who='$(id)'").unwrap();
    browser.click(".send button").unwrap();
    let command = "pre[aria-label='gateway explain']";
    browser.shows(command, "$(id)").unwrap();
    let line = browser.text(command).unwrap();
    let told = site.by_shell(&line);
    for piece in ["10.0.0.99", "10.0.0.5:443", "contoso.developer.azure-api.net", "$(id)"] {
        assert!(told.ok() && told.text().contains(piece), "{piece}: {line}: {told:?}");
    }
    assert!(!told.text().contains("uid="), "{told:?}");
    assert_eq!(browser.complaints().unwrap(), [""; 0]);
}

#[test]
fn r90_without_script_and_by_keyboard_alone_the_page_does_all_of_it() {
    let site = Site::up(|_| {});
    let browser = logged_in(&site, &site.write);
    browser.without_script().unwrap();
    browser.open(&format!("http://{AT}/")).unwrap();
    browser.shows("h1", "contoso is serving").unwrap();
    browser.shows("section[aria-labelledby=instances]", "gw-1").unwrap();
    let focus = |name: &str| -> bool {
        // Far fewer than a page has of what can be reached.
        (0..100).any(|_| {
            browser.press("\u{e004}").unwrap();
            browser.text(":focus").is_ok_and(|text| text.starts_with(name))
        })
    };
    assert!(focus("Change"), "the keyboard leads to what is to be opened");
    browser.press("\u{e007}").unwrap();
    assert!(focus("down"), "and to what is in it");
    browser.press("\u{e007}").unwrap();
    browser.shows(".notice", "gw-1 is down now").unwrap();
}
