//! What was seen of one feature, compared with what should be.

use serde_json::json;

/// One cell of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    hook: String,
    feature: String,
    seen: String,
    /// What should have been seen, or what went wrong.
    wrong: Option<String>,
}

/// Those so far.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    wrong: usize,
}

impl Facts {
    /// Prints a fact at once: a guest may not get to the next one.
    pub(crate) fn say(&mut self, fact: Fact) {
        self.wrong += usize::from(fact.wrong.is_some());
        println!("{}", fact.line());
    }

    pub(crate) fn are_wrong(&self) -> bool {
        self.wrong > 0
    }
}

impl Fact {
    pub(crate) fn right(hook: &str, feature: &str, seen: impl Into<String>) -> Self {
        Self { hook: hook.to_owned(), feature: feature.to_owned(), seen: seen.into(), wrong: None }
    }

    pub(crate) fn wrong(hook: &str, feature: &str, why: impl Into<String>) -> Self {
        Self { wrong: Some(why.into()), ..Self::right(hook, feature, "no") }
    }

    /// Something that is there or not, as it should be or not; `detail` is what was looked at.
    pub(crate) fn is(
        hook: &str,
        feature: &str,
        seen: bool,
        expected: bool,
        detail: impl Into<String>,
    ) -> Self {
        let word = |is| if is { "yes" } else { "no" };
        let fact = Self::right(hook, feature, word(seen));
        let detail = detail.into();
        let why = || format!("{} was expected: {detail}", word(expected));
        Self { wrong: (seen != expected).then(why), ..fact }
    }

    /// Something that has a name.
    pub(crate) fn same(hook: &str, feature: &str, seen: Option<&str>, expected: Option<&str>) -> Self {
        let fact = Self::right(hook, feature, seen.unwrap_or("none"));
        let why = || format!("{} was expected", expected.unwrap_or("none"));
        Self { wrong: (seen != expected).then(why), ..fact }
    }

    fn line(&self) -> String {
        let Self { hook, feature, seen, wrong } = self;
        json!({ "hook": hook, "feature": feature, "seen": seen, "wrong": wrong }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_as_expected_is_wrong() {
        assert_eq!(Fact::is("h", "f", true, true, "x"), Fact::right("h", "f", "yes"));
        assert_eq!(Fact::is("h", "f", false, false, "x"), Fact::right("h", "f", "no"));
        assert!(Fact::is("h", "f", true, false, "x").wrong.is_some(), "more than expected is wrong, too");
        assert_eq!(Fact::is("h", "f", false, true, "x").wrong.as_deref(), Some("yes was expected: x"));
        assert_eq!(Fact::same("h", "f", Some("a"), Some("a")).wrong, None);
        assert!(Fact::same("h", "f", None, Some("a")).wrong.is_some());
    }

    #[test]
    fn lines_are_objects() {
        let line = r#"{"feature":"f","hook":"h","seen":"no","wrong":"why"}"#;
        let parsed: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&Fact::wrong("h", "f", "why").line()).unwrap(),
            parsed
        );
    }
}
