//! Where instances are in their list.

use std::{collections::HashMap, fmt, sync::OnceLock};

use super::Instance;

/// By name, found when first asked for: whoever asks for each of a thousand instances would look through the list a thousand times.
/// Where the list has changed since, it is looked through.
#[derive(Clone, Default)]
pub struct Places(OnceLock<HashMap<String, usize>>);

impl Places {
    pub(super) fn find<'i>(&self, instances: &'i [Instance], name: &str) -> Option<&'i Instance> {
        let places = self.0.get_or_init(|| instances.iter().map(|one| one.name.0.clone()).zip(0..).collect());
        let there = places.get(name).and_then(|place| instances.get(*place));
        there.filter(|one| one.name.0 == name).or_else(|| instances.iter().find(|one| one.name.0 == name))
    }
}

/// They follow from the list, so they make no difference.
impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

/// Nor here: by a model's text the next process tells whether the file is another one.
impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Places")
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::model;

    #[test]
    fn instances_are_found_also_once_the_list_has_changed() {
        let mut model = model(&["gw-1", "gw-2", "gw-3"]);
        let found =
            |model: &crate::model::Model, name: &str| model.instance(name).map(|one| one.name.0.clone());
        let text = format!("{model:?}");
        assert_eq!(found(&model, "gw-2").as_deref(), Some("gw-2"));
        assert_eq!(format!("{model:?}"), text, "it is the same model");
        let before = model.clone();
        model.instances.remove(0);
        model.instances[1].name.0 = "gw-9".into();
        for name in ["gw-2", "gw-9"] {
            assert_eq!(found(&model, name).as_deref(), Some(name));
        }
        assert_eq!((found(&model, "gw-1"), found(&model, "gw-3")), (None, None));
        assert_eq!(found(&before, "gw-3").as_deref(), Some("gw-3"));
        assert_ne!(model, before);
    }
}
