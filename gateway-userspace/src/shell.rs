//! Commands that are shown to be copied.

/// As one word of a shell's, whatever it is.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/.-_~%+,@=".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_sees_one_word_and_what_needs_no_quotes_has_none() {
        for plain in ["https://api.contoso.com/a-b", "contoso.azure-api.net:443:10.0.0.5"] {
            assert_eq!(quoted(plain), plain);
        }
        for odd in ["", "http://a/?x=1&y='2'", "/a?b=$(c)", "[fd00::5]:443", "a b\n\"c\" \\ *"] {
            let line = format!("printf %s {}x", quoted(odd));
            let output = Command::new("sh").args(["-c", &line]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{odd}x"), "{line}");
        }
    }
}
