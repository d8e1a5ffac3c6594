//! Header fields that a route changes.

use std::collections::HashMap;

use http::HeaderName;
use toml::Spanned;

use crate::{
    config::{
        fault::{Fault, Span},
        file,
        resolve::given_twice,
    },
    model::FieldChanges,
};

/// A field is set or removed, once.
pub(super) fn resolve(written: Option<&file::Fields>, faults: &mut Vec<Fault>) -> FieldChanges {
    let Some(written) = written else { return FieldChanges::default() };
    let mut known = HashMap::new();
    let set = written.set.value().into_iter().flatten();
    let set = set.filter(|(name, _)| is_new(name, &mut known, faults));
    let set = set.map(|(name, value)| (name.get_ref().clone(), value.get_ref().clone())).collect();
    let remove = written.remove.value().into_iter().flatten();
    let remove = remove.filter(|name| is_new(name, &mut known, faults));
    FieldChanges { set, remove: remove.map(|name| name.get_ref().clone()).collect() }
}

fn is_new<'f>(
    name: &'f Spanned<HeaderName>,
    known: &mut HashMap<&'f HeaderName, Span>,
    faults: &mut Vec<Fault>,
) -> bool {
    if let Some(first) = known.get(name.get_ref()) {
        faults.push(given_twice(&format!("the field `{}`", name.get_ref()), first, &name.span()));
        return false;
    }
    known.insert(name.get_ref(), name.span());
    true
}
