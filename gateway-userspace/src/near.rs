//! The word that was probably meant, among those that there are.

/// Words that are listed; of more, the number is told.
const LISTED: usize = 10;

/// The nearest known word: a slip of the pen is a few letters, not half the word.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    let distance = |word: &str| strsim::damerau_levenshtein(&text, &word.to_lowercase());
    known
        .into_iter()
        .map(|word| (distance(word), word))
        .filter(|(d, word)| *d <= word.len().div_ceil(3))
        .min()
        .map(|(_, word)| word)
}

/// `there is no instance gw-11; did you mean gw-1? The file has gw-1, gw-2`
pub(crate) fn none_such(what: &str, name: &str, known: &[&str]) -> String {
    // What was typed may be anything.
    let name = name.escape_debug();
    let mut list = known.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    if known.len() > LISTED {
        list += &format!(" and {} more", known.len() - LISTED);
    }
    match nearest(&name.to_string(), known.iter().copied()) {
        _ if known.is_empty() => format!("there is no {what} {name}; the file has none"),
        Some(near) => format!("there is no {what} {name}; did you mean {near}? The file has {list}"),
        None => format!("there is no {what} {name}; the file has {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_near_and_another_word_is_not() {
        assert_eq!(nearest("managment", ["gateway", "management"]), Some("management"));
        assert_eq!(nearest("GW-11", ["gw-1", "gw-2"]), Some("gw-1"));
        assert_eq!(nearest("gateway", ["portal", "scm"]), None);
    }

    #[test]
    fn long_lists_are_cut_and_control_characters_shown() {
        let names: Vec<_> = (0..12).map(|n| format!("host-{n}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert!(none_such("instance", "x", &names).ends_with("host-9 and 2 more"));
        assert_eq!(none_such("instance", "\x1b", &[]), "there is no instance \\u{1b}; the file has none");
    }
}
