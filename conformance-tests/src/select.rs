use convoke_core::{Error, Result};

use crate::rule::{Profile, Rule};

/// Which rules are to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these profiles; all where empty.
    pub profiles: Vec<Profile>,
    /// Only these: ids (`A2`), areas (`A`), or parts of a statement, in any case of letters; all where empty.
    pub filters: Vec<String>,
    /// Filters are whole ids, as nextest asks for one test.
    pub exact: bool,
    /// All but these: ids or areas.
    pub skipped: Vec<String>,
}

impl Selection {
    /// Whether a rule is to be run.
    #[must_use]
    pub fn selects(&self, rule: &Rule) -> bool {
        (self.profiles.is_empty() || self.profiles.contains(&rule.profile))
            && (self.filters.is_empty() || self.filters.iter().any(|filter| self.matches(filter, rule)))
            && !self.skipped.iter().any(|filter| self.matches(filter, rule))
    }

    /// Whether all of the rules are.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.filters.is_empty() && self.skipped.is_empty()
    }

    fn matches(&self, filter: &str, rule: &Rule) -> bool {
        if filter.eq_ignore_ascii_case(rule.id) {
            return true;
        }
        if self.exact {
            return false;
        }
        match filter.len() {
            1 => rule.id.starts_with(&filter.to_ascii_uppercase()),
            // what looks like an id means that rule alone: `A1` is not `A10`
            _ if looks_like_an_id(filter) => false,
            _ => rule.statement.to_lowercase().contains(&filter.to_lowercase()),
        }
    }

    /// Refuses filters that select nothing.
    ///
    /// # Errors
    /// `InvalidRequest`, naming the filter.
    pub fn check<'a>(&self, mut rules: impl Iterator<Item = &'a Rule> + Clone) -> Result<()> {
        for filter in &self.filters {
            if !rules.clone().any(|rule| self.matches(filter, rule)) {
                return Err(Error::invalid("rule", "no rule is selected by this")
                    .with("filter", format!("{filter:?}"))
                    .help("give an id (A2), an area (A) or words of a statement; --list shows all"));
            }
        }
        if rules.any(|rule| self.selects(rule)) {
            return Ok(());
        }
        Err(Error::invalid("rule", "no rule is selected").help("--list shows all"))
    }
}

fn looks_like_an_id(filter: &str) -> bool {
    let mut letters = filter.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && filter.len() > 1
        && letters.all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    fn selected(filters: &[&str], exact: bool) -> Vec<&'static str> {
        let selection = Selection {
            filters: filters.iter().map(|f| (*f).to_owned()).collect(),
            exact,
            ..Selection::default()
        };
        rules::all().filter(|rule| selection.selects(rule)).map(|rule| rule.id).collect()
    }

    #[test]
    fn an_id_is_one_rule_and_an_area_all_of_its() {
        assert_eq!(selected(&["A1"], false), ["A1"]);
        assert_eq!(selected(&["a1"], true), ["A1"]);
        assert_eq!(selected(&["S"], false), ["S1", "S2"]);
        assert_eq!(selected(&["S"], true), [""; 0]);
        assert!(selected(&["crash loop"], false).contains(&"L5"));
    }

    #[test]
    fn what_selects_nothing_is_refused() {
        let selection = Selection { filters: vec!["A99".into()], ..Selection::default() };
        assert!(selection.check(rules::all()).is_err());
        assert!(Selection::default().check(rules::all()).is_ok());
    }
}
