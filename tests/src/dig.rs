//! Questions of the DNS by real dig.

use std::net::IpAddr;

use anyhow::Context;

use crate::host::Host;

/// What dig was told.
#[derive(Debug, Clone, Default)]
pub struct Dig {
    /// `NOERROR` and so on; empty where nobody answered.
    pub status: String,
    /// `qr`, `aa` and so on.
    pub flags: Vec<String>,
    /// Records that answer, with one space between fields: `contoso.azure-api.net. 60 IN A 10.0.0.5`.
    pub answer: Vec<String>,
    /// Records about who is the authority.
    pub authority: Vec<String>,
    /// The line about EDNS, if there was some.
    pub edns: Option<String>,
    /// All that it printed.
    pub text: String,
}

/// Asks `server` from a host, with words such as `contoso.azure-api.net AAAA +tcp`.
///
/// # Errors
/// There is no dig. That nobody answers is no error.
pub fn dig(from: &Host, server: IpAddr, words: &str) -> anyhow::Result<Dig> {
    dig_with(from, &format!("@{server} +tries=1 +time=3 {words}"))
}

/// The same with nothing but these words: whom to ask, dig reads in /etc/resolv.conf.
///
/// # Errors
/// As [`dig`].
pub fn dig_with(from: &Host, words: &str) -> anyhow::Result<Dig> {
    Ok(read(&from.run(&format!("dig {words}"))?.text()))
}

fn read(text: &str) -> Dig {
    let mut found = Dig { text: text.to_owned(), ..Dig::default() };
    let mut section = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix(";; ->>HEADER<<-") {
            let status = rest.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
            status.unwrap_or_default().clone_into(&mut found.status);
        } else if let Some(rest) = line.strip_prefix(";; flags: ") {
            let flags = rest.split(';').next().unwrap_or_default();
            found.flags = flags.split_whitespace().map(str::to_owned).collect();
        } else if line.starts_with("; EDNS:") {
            found.edns = Some(line.to_owned());
        } else if let Some(name) = line.strip_prefix(";; ").and_then(|line| line.strip_suffix(" SECTION:")) {
            section = name;
        } else if !line.starts_with(';') && !line.is_empty() {
            let record = line.split_whitespace().collect::<Vec<_>>().join(" ");
            match section {
                "ANSWER" => found.answer.push(record),
                "AUTHORITY" => found.authority.push(record),
                _ => {}
            }
        }
    }
    found
}

impl Dig {
    /// The data of the records that answer, in order of the alphabet.
    pub fn data(&self) -> Vec<&str> {
        let mut data: Vec<_> = self.answer.iter().filter_map(|line| line.splitn(5, ' ').nth(4)).collect();
        data.sort_unstable();
        data
    }

    /// The number in the record of authority that came instead of an answer.
    ///
    /// # Errors
    /// None came.
    pub fn serial(&self) -> anyhow::Result<u32> {
        let soa = self.authority.iter().chain(&self.answer).find(|line| line.contains(" SOA "));
        let serial = soa.and_then(|line| line.split(' ').nth(6)).context(self.text.clone())?;
        Ok(serial.parse()?)
    }
}
