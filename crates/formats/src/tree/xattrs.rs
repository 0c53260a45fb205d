//! Sets of extended attributes. A tree of 300,000 labelled files has a hundred different ones: a set is a reference to
//! memory that all its copies share.

use std::collections::HashSet;
use std::sync::Arc;

type Pair = (Box<[u8]>, Box<[u8]>);

/// Extended attributes by full name (`security.capability`), in byte order. Copies share their memory until one is
/// changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Xattrs(
    /// Sorted by name; `None` if there are none.
    Option<Arc<Vec<Pair>>>,
);

impl Xattrs {
    /// No attributes.
    pub const fn new() -> Self {
        Xattrs(None)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pairs().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The value of an attribute.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let position = self.position(name).ok()?;
        self.pairs().get(position).map(|(_, value)| &**value)
    }

    /// Names and values, in the order of the names.
    pub fn iter(&self) -> <&Self as IntoIterator>::IntoIter {
        self.into_iter()
    }

    /// Sets an attribute, whether it is there or not.
    pub fn insert(&mut self, name: Box<[u8]>, value: Box<[u8]>) {
        let position = self.position(&name);
        let pairs = Arc::make_mut(self.0.get_or_insert_default());
        match position {
            Ok(position) => pairs[position].1 = value,
            Err(position) => pairs.insert(position, (name, value)),
        }
    }

    /// Keeps the attributes that fulfil the condition.
    pub fn retain(&mut self, is_kept: impl Fn(&[u8], &[u8]) -> bool) {
        if !self.iter().all(|(name, value)| is_kept(name, value)) {
            let kept = self.iter().filter(|(name, value)| is_kept(name, value));
            *self = kept.collect();
        }
    }

    /// The same attributes, in the memory of an equal set that was shared before, if there was one.
    pub fn shared(self, sets: &mut XattrSets) -> Self {
        if self.is_empty() {
            return self;
        }
        match sets.0.get(&self) {
            Some(known) => known.clone(),
            None => {
                sets.0.insert(self.clone());
                self
            }
        }
    }

    fn pairs(&self) -> &[Pair] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    fn position(&self, name: &[u8]) -> Result<usize, usize> {
        self.pairs().binary_search_by(|(other, _)| (**other).cmp(name))
    }
}

/// The different sets that [`Xattrs::shared`] has met.
#[derive(Debug, Default)]
pub struct XattrSets(HashSet<Xattrs>);

impl<N: Into<Box<[u8]>>, V: Into<Box<[u8]>>> FromIterator<(N, V)> for Xattrs {
    /// Of several with one name, the last counts.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        let mut pairs: Vec<Pair> = pairs.collect();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs.dedup_by(|next, before| {
            let is_same = next.0 == before.0;
            if is_same {
                std::mem::swap(next, before);
            }
            is_same
        });
        pairs.shrink_to_fit();
        Xattrs((!pairs.is_empty()).then(|| Arc::new(pairs)))
    }
}

impl<'a> IntoIterator for &'a Xattrs {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, Pair>, fn(&'a Pair) -> (&'a [u8], &'a [u8])>;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs().iter().map(|(name, value)| (&**name, &**value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Xattrs {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        pairs.collect()
    }

    #[test]
    fn a_copy_that_is_changed_leaves_the_other_alone() {
        let before = set(&[("b", "1"), ("a", "2")]);
        let mut after = before.clone();
        after.insert(b"b"[..].into(), b"3"[..].into());
        after.insert(b"aa"[..].into(), b"4"[..].into());
        assert_eq!(before, set(&[("a", "2"), ("b", "1")]));
        assert_eq!(after, set(&[("a", "2"), ("aa", "4"), ("b", "3")]));
        after.retain(|name, _| name == b"c");
        assert_eq!(after, Xattrs::new());
    }

    #[test]
    fn equal_sets_are_one_in_memory() {
        let mut sets = XattrSets::default();
        let [one, other] = [(); 2].map(|()| set(&[("a", "1")]).shared(&mut sets));
        assert!(Arc::ptr_eq(&one.0.unwrap(), &other.0.unwrap()));
        assert!(Xattrs::new().shared(&mut sets).is_empty());
    }

    proptest! {
        #[test]
        fn a_set_is_a_map_of_the_last_values(pairs in proptest::collection::vec(("[a-d]{0,2}", "[a-z]{0,3}"), 0..12)) {
            let bytes = |text: &String| text.clone().into_bytes();
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
            let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
            let mut inserted = Xattrs::new();
            pairs.iter().for_each(|(name, value)| inserted.insert(name[..].into(), value[..].into()));
            let collected: Xattrs = pairs.into_iter().collect();
            prop_assert!(collected.iter().eq(map.iter().map(|(name, value)| (&name[..], &value[..]))));
            prop_assert!(map.iter().all(|(name, value)| collected.get(name) == Some(&value[..])));
            prop_assert_eq!(collected.len(), map.len());
            prop_assert_eq!(collected, inserted);
        }
    }
}
