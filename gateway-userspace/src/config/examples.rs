//! An example of each code: a piece of a file as it is wrong and as it is right, or commands that find out more.

use super::Code;

/// See its first lines.
const TEXT: &str = include_str!("examples.txt");

/// What `gateway help CODE` shows of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example(&'static str);

impl Code {
    /// Its example.
    pub fn example(self) -> Option<Example> {
        let (_, rest) = TEXT.split_once(&format!("\n\n{self}\n"))?;
        Some(Example(rest.split_once("\n\n").map_or(rest, |(example, _)| example).trim_end()))
    }

    /// From `C012`, `c12` or `12`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['C', 'c']).unwrap_or(text);
        let number: u16 =
            Some(digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        Self::ALL.iter().find(|code| **code as u16 == number).copied()
    }
}

impl Example {
    /// Its lines, as they are shown.
    pub fn lines(self) -> impl Iterator<Item = &'static str> {
        self.0.lines()
    }

    /// Whether it is of commands.
    pub fn is_commands(self) -> bool {
        self.0.starts_with('$')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Report, Severity, examine, fault::Source};

    /// The tables of the smallest file, by their headings.
    const TABLES: [(&str, &str); 6] = [
        ("[service]", "name = \"contoso\""),
        ("[network]", "subnet = [\"10.0.0.0/24\"]"),
        ("[vip]", "private = [\"10.0.0.5\"]"),
        ("[balancer]", "interface = \"eth0\""),
        ("[[instance]]", "name = \"gw-1\"\ndip = [\"10.0.0.11\"]"),
        (
            "[[endpoint]]",
            "role = \"gateway\"\ncertificate = { chain = \"c\", key = \"k\" }\n\
             routes = [{ path = \"/\", upstream = [\"http://10.0.1.20:8080\"] }]",
        ),
    ];

    /// The codes found in the lines that begin with a blank or with `sign`, and in the tables that they do not speak of.
    fn found(example: Example, sign: char) -> Vec<String> {
        let lines = example.lines().filter(|line| line.starts_with([' ', sign]));
        let mut text = lines.map(|line| format!("{}\n", &line[2..])).collect::<String>();
        for (heading, keys) in TABLES {
            if !text.contains(heading) {
                text += &format!("{heading}\n{keys}\n");
            }
        }
        let (_, faults) = examine(&text, std::path::Path::new(""));
        let report = Report::new(Source { path: "gateway.toml".into(), text }, faults);
        report.all().map(|fault| fault.code().to_string()).collect()
    }

    #[test]
    fn every_code_has_an_example_that_is_wrong_in_this_way_and_right_once_mended() {
        for code in Code::ALL {
            let example = code.example().unwrap_or_else(|| panic!("{code} has none in examples.txt"));
            if example.is_commands() {
                assert!(example.lines().all(|line| line.starts_with("$ ")), "{code}");
                continue;
            }
            assert!(example.lines().all(|line| ["  ", "- ", "+ "].contains(&&line[..2])), "{code}");
            assert!(found(example, '-').contains(&code.to_string()), "{code}: {:?}", found(example, '-'));
            assert_eq!(found(example, '+'), Vec::<String>::new(), "{code}, mended");
        }
    }

    #[test]
    fn a_code_is_found_however_it_is_written() {
        for text in ["C018", "c018", "18", "C18"] {
            assert_eq!(Code::parse(text), Some(Code::DipOutsideSubnet), "{text}");
        }
        for text in ["", "C", "C999", "check", "+18"] {
            assert_eq!(Code::parse(text), None, "{text}");
        }
        assert_eq!(Code::parse("63").map(Code::severity), Some(Severity::Warning));
    }
}
