/// What one look at a machine, a network or a cluster found; `convoke doctor` prints them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, in a word or two: `cgroup`, `mesos master`.
    pub what: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, with its numbers.
    pub seen: String,
    /// What to do about it; there is something to do wherever the verdict isn't [`Verdict::Well`].
    pub advice: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Well,
    /// It works, but less than it could.
    Weak,
    /// Applications won't run so.
    Wrong,
}

impl Verdict {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Well => "well",
            Verdict::Weak => "weak",
            Verdict::Wrong => "wrong",
        }
    }
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn well(what: impl Into<String>, seen: impl Into<String>) -> Finding {
        Finding { what: what.into(), verdict: Verdict::Well, seen: seen.into(), advice: None }
    }

    /// It works, but could be better, and how.
    #[must_use]
    pub fn weak(what: impl Into<String>, seen: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { advice: Some(advice.into()), verdict: Verdict::Weak, ..Finding::well(what, seen) }
    }

    /// It won't work, and what to do about it.
    #[must_use]
    pub fn wrong(what: impl Into<String>, seen: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { advice: Some(advice.into()), verdict: Verdict::Wrong, ..Finding::well(what, seen) }
    }

    /// An error, with its own advice where it has some.
    #[must_use]
    pub fn error(what: impl Into<String>, error: &crate::Error) -> Finding {
        let mut seen = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            seen.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        let advice = error.advice().unwrap_or("see what it says; CONVOKE_LOG=debug tells more");
        Finding::wrong(what, seen, advice)
    }
}
