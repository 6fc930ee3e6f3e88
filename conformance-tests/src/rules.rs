//! The contract as data: one file for each of its areas.

mod allocation;
mod cluster_mode;
mod driver;
mod faults;
mod finds;
mod life;
mod registration;
mod runtime;
mod scale;
mod the_end;

use crate::rule::Rule;

pub(crate) use registration::{nothing_at_the_manager, nothing_at_the_manager_but};

/// Every rule of the contract, in its order.
pub fn all() -> impl Iterator<Item = &'static Rule> + Clone {
    [
        registration::RULES,
        allocation::RULES,
        life::RULES,
        finds::RULES,
        the_end::RULES,
        faults::RULES,
        scale::RULES,
        driver::RULES,
        cluster_mode::RULES,
    ]
    .into_iter()
    .flatten()
}

/// The rule of this id, in any case of letters.
#[must_use]
pub fn find(id: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Profile;

    #[test]
    fn ids_are_unique_and_their_areas_are_whole() {
        let mut seen = std::collections::BTreeSet::new();
        for rule in all() {
            assert!(seen.insert(rule.id), "{} stands twice", rule.id);
        }
        for (area, count) in
            [("R", 7), ("A", 12), ("L", 7), ("E", 4), ("T", 4), ("F", 8), ("S", 2), ("D", 14), ("C", 4)]
        {
            for number in 1..=count {
                assert!(seen.contains(format!("{area}{number}").as_str()), "{area}{number} is missing");
            }
        }
        assert_eq!(seen.len(), 62);
    }

    #[test]
    fn the_runtime_answers_for_d_and_two_faults() {
        let runtime: Vec<_> = all().filter(|rule| rule.profile == Profile::Runtime).map(|r| r.id).collect();
        assert_eq!(runtime.len(), 16);
        assert!(runtime.contains(&"F5") && runtime.contains(&"F6"));
    }
}
