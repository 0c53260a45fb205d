//! What changes in the variables of the firmware. Pure.

use std::collections::BTreeMap;

use osmith_formats::efi_boot::LoadOption;
use osmith_formats::gpt::Guid;

use super::{BootOrder, FirmwareError};

/// What the firmware remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BootVariables {
    /// All entries; of those that osmith could have made, what they say.
    pub(super) entries: BTreeMap<u16, Option<LoadOption>>,
    /// The order in which they are tried. Numbers without an entry may be in it.
    pub(super) order: Vec<u16>,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changes {
    /// The number of the entry of the new system.
    pub(super) number: u16,
    /// The new order.
    pub(super) order: Vec<u16>,
    /// The entry of the next start, if that is not by the order.
    pub(super) next: Option<u16>,
    /// The entries that go.
    pub(super) removed: Vec<u16>,
}

impl Changes {
    /// Plans the changes for an entry.
    pub(super) fn plan(
        before: &BootVariables,
        wanted: &LoadOption,
        order: BootOrder,
        others: &[Guid],
    ) -> Result<Self, FirmwareError> {
        let made = |is_meant: &dyn Fn(&LoadOption) -> bool| -> Vec<u16> {
            let entries = before.entries.iter().filter_map(|(number, entry)| {
                let entry = entry.as_ref().filter(|entry| entry.starts(&wanted.file))?;
                is_meant(entry).then_some(*number)
            });
            entries.collect()
        };
        let guid = wanted.partition.guid;
        let same = made(&|entry| entry.partition.guid == guid);
        let mut stale = made(&|entry| {
            let is_there = entry.partition.guid == guid || others.contains(&entry.partition.guid);
            entry.description == wanted.description && !is_there
        });
        let number = match same.first().or(stale.first()) {
            Some(number) => *number,
            None => before.free_number().ok_or(FirmwareError::Full)?,
        };
        stale.retain(|other| *other != number);
        let is_in_order = before.order.contains(&number);
        let stays = |other: &u16| match order {
            BootOrder::First => *other != number && !stale.contains(other),
            BootOrder::NextStart => !stale.contains(other),
        };
        let kept = before.order.iter().copied().filter(stays);
        let new_order = match order {
            BootOrder::First => std::iter::once(number).chain(kept).collect(),
            BootOrder::NextStart => kept.chain((!is_in_order).then_some(number)).collect(),
        };
        Ok(Changes {
            number,
            order: new_order,
            next: (order == BootOrder::NextStart).then_some(number),
            removed: stale,
        })
    }
}

impl BootVariables {
    /// The first number that neither an entry nor the order has.
    fn free_number(&self) -> Option<u16> {
        (0..=u16::MAX).find(|number| !self.entries.contains_key(number) && !self.order.contains(number))
    }
}

#[cfg(test)]
mod tests {
    use osmith_formats::efi_boot::HardDrive;
    use proptest::prelude::*;

    use super::*;

    fn guid(last: u8) -> Guid {
        Guid::from_bytes([last; 16])
    }

    fn entry(title: &str, partition: u8, file: &str) -> LoadOption {
        let partition = HardDrive {
            number: 1,
            first_lba: 2048,
            sectors: 4096,
            guid: guid(partition),
        };
        LoadOption::new(title, partition, file)
    }

    fn wanted() -> LoadOption {
        entry("Debian", 1, r"\loader.efi")
    }

    fn plan(
        entries: impl IntoIterator<Item = (u16, Option<LoadOption>)>,
        order: &[u16],
        change: BootOrder,
    ) -> Changes {
        let before = BootVariables {
            entries: entries.into_iter().collect(),
            order: order.to_vec(),
        };
        Changes::plan(&before, &wanted(), change, &[guid(9)]).unwrap()
    }

    fn changes(number: u16, order: &[u16], next: Option<u16>, removed: &[u16]) -> Changes {
        Changes {
            number,
            order: order.to_vec(),
            next,
            removed: removed.to_vec(),
        }
    }

    #[test]
    fn a_new_entry_takes_a_free_number() {
        let found = plan([(0, None), (1, None)], &[1, 0, 2], BootOrder::First);
        assert_eq!(found, changes(3, &[3, 1, 0, 2], None, &[]));
        let found = plan([(0, None), (1, None)], &[1, 0, 2], BootOrder::NextStart);
        assert_eq!(found, changes(3, &[1, 0, 2, 3], Some(3), &[]));
    }

    #[test]
    fn an_entry_of_the_partition_stays_where_it_may() {
        let entries = [(0, None), (4, Some(entry("Old", 1, r"\LOADER.efi")))];
        let found = plan(entries.clone(), &[0, 4], BootOrder::First);
        assert_eq!(found, changes(4, &[4, 0], None, &[]));
        let found = plan(entries, &[4, 0], BootOrder::NextStart);
        assert_eq!(found, changes(4, &[4, 0], Some(4), &[]));
    }

    #[test]
    fn entries_of_lost_partitions_are_used_again_or_go() {
        let entries = [
            (3, Some(entry("Debian", 2, r"\loader.efi"))),
            (5, Some(entry("Debian", 3, r"\loader.efi"))),
        ];
        let found = plan(entries.clone(), &[7, 5, 3], BootOrder::First);
        assert_eq!(found, changes(3, &[3, 7], None, &[5]));
        let found = plan(entries.clone(), &[7, 5, 3], BootOrder::NextStart);
        assert_eq!(found, changes(3, &[7, 3], Some(3), &[5]));
        let with_own = entries.into_iter().chain([(8, Some(wanted()))]);
        let found = plan(with_own, &[], BootOrder::First);
        assert_eq!(found, changes(8, &[8], None, &[3, 5]));
    }

    #[test]
    fn what_others_made_stays() {
        let entries = [
            (0, Some(entry("Debian", 9, r"\loader.efi"))),
            (1, Some(entry("Debian", 2, r"\EFI\debian\shimx64.efi"))),
            (2, Some(entry("Fedora", 2, r"\loader.efi"))),
        ];
        let found = plan(entries, &[0, 1, 2], BootOrder::First);
        assert_eq!(found, changes(3, &[3, 0, 1, 2], None, &[]));
    }

    #[test]
    fn firmware_can_be_full() {
        let before = BootVariables {
            entries: (0..=u16::MAX).map(|number| (number, None)).collect(),
            order: Vec::new(),
        };
        let full = Changes::plan(&before, &wanted(), BootOrder::First, &[]);
        assert!(matches!(full, Err(FirmwareError::Full)));
    }

    fn any_variables() -> impl Strategy<Value = BootVariables> {
        let file = prop_oneof![Just(r"\loader.efi"), Just(r"\other.efi")];
        let title = prop_oneof![Just("Debian"), Just("Fedora")];
        let entry = (title, 0_u8..4, file).prop_map(|(title, guid, file)| entry(title, guid, file));
        let entries = proptest::collection::btree_map(0_u16..12, proptest::option::of(entry), 0..8);
        let order = proptest::collection::btree_set(0_u16..14, 0..10);
        let order = order
            .prop_map(|numbers| numbers.into_iter().collect())
            .prop_shuffle();
        (entries, order).prop_map(|(entries, order): (_, Vec<u16>)| BootVariables { entries, order })
    }

    fn after(before: &BootVariables, changes: &Changes) -> BootVariables {
        let mut after = before.clone();
        after.entries.insert(changes.number, Some(wanted()));
        after
            .entries
            .retain(|number, _| !changes.removed.contains(number));
        after.order.clone_from(&changes.order);
        after
    }

    proptest! {
        #[test]
        fn only_what_is_lost_goes(before in any_variables(), first: bool, others in proptest::collection::vec(0_u8..4, 0..3)) {
            let order = if first { BootOrder::First } else { BootOrder::NextStart };
            let others: Vec<Guid> = others.into_iter().map(guid).collect();
            let found = Changes::plan(&before, &wanted(), order, &others).unwrap();
            let after = after(&before, &found);
            prop_assert_eq!(after.order.iter().filter(|number| **number == found.number).count(), 1);
            let rest = |order: &[u16]| -> Vec<u16> {
                let stays = |number: &u16| *number != found.number && !found.removed.contains(number);
                order.iter().copied().filter(stays).collect()
            };
            prop_assert_eq!(rest(&after.order), rest(&before.order));
            match order {
                BootOrder::First => prop_assert_eq!(after.order.first(), Some(&found.number)),
                BootOrder::NextStart => prop_assert_eq!(found.next, Some(found.number)),
            }
            for (number, entry) in &before.entries {
                if after.entries.get(number) != Some(entry) {
                    let entry = entry.as_ref().unwrap();
                    prop_assert!(entry.starts(r"\loader.efi"));
                    prop_assert!(!others.contains(&entry.partition.guid) || *number == found.number);
                }
            }
            let again = Changes::plan(&after, &wanted(), order, &others).unwrap();
            prop_assert_eq!(&again, &Changes { removed: Vec::new(), ..found });
        }
    }
}
