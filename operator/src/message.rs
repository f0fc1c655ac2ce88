//! What the command says to people, in French or English.
//!
//! A [`Message`] is a key of `locales/*.ftl` and its arguments; it becomes text only where it is printed,
//! so no code below the command line knows a language. Machine output is never translated.

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

use crate::output::printable;

/// The languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lang {
    /// Français.
    Fr,
    /// English.
    En,
}

impl Lang {
    /// The language of the environment: `LC_ALL`, then `LC_MESSAGES`, then `LANG`; English otherwise.
    pub(crate) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(|name| {
            let value = variable(name)?;
            (!value.is_empty()).then_some(value)
        });
        if set.is_some_and(|value| value.to_ascii_lowercase().starts_with("fr")) {
            Self::Fr
        } else {
            Self::En
        }
    }

    const fn source(self) -> &'static str {
        match self {
            Self::Fr => include_str!("locales/fr.ftl"),
            Self::En => include_str!("locales/en.ftl"),
        }
    }

    /// The colon with the space that the language puts before it.
    pub(crate) const fn colon(self) -> &'static str {
        match self {
            Self::Fr => " :",
            Self::En => ":",
        }
    }

    /// The language's tag, as in `lang=`.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::Fr => "fr",
            Self::En => "en",
        }
    }
}

/// An argument of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arg {
    /// A text, printed as it is.
    Text(String),
    /// A number, which also selects the plural.
    Number(u32),
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}
impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}
impl From<&String> for Arg {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}
impl From<usize> for Arg {
    fn from(value: usize) -> Self {
        u32::try_from(value).map_or_else(|_| Self::Text(value.to_string()), Self::Number)
    }
}
impl From<u64> for Arg {
    fn from(value: u64) -> Self {
        u32::try_from(value).map_or_else(|_| Self::Text(value.to_string()), Self::Number)
    }
}

/// A key and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    key: &'static str,
    args: Vec<(&'static str, Arg)>,
}

impl Message {
    /// See [`msg!`].
    pub(crate) const fn new(key: &'static str, args: Vec<(&'static str, Arg)>) -> Self {
        Self { key, args }
    }
}

/// Makes a [`Message`]: `msg!("hosts-added", count = 3)`.
macro_rules! msg {
    ($key:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::message::Message::new($key, vec![$((stringify!($name), $crate::message::Arg::from($value))),*])
    };
}
pub(crate) use msg;

/// Turns messages into text of one language.
pub(crate) struct Speaker {
    lang: Lang,
    bundle: FluentBundle<FluentResource>,
}

impl Speaker {
    /// A speaker of `lang`.
    pub(crate) fn new(lang: Lang) -> Self {
        let id = lang.tag().parse().unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![id]);
        bundle.set_use_isolating(false);
        // A text that does not parse is found by the tests below; at run time the rest of it still serves.
        let resource =
            FluentResource::try_new(lang.source().to_owned()).unwrap_or_else(|(partial, _)| partial);
        bundle.add_resource_overriding(resource);
        Self { lang, bundle }
    }

    /// The language spoken.
    pub(crate) const fn lang(&self) -> Lang {
        self.lang
    }

    /// The text of a message; its key if there is none.
    pub(crate) fn say(&self, message: &Message) -> String {
        let Some(pattern) = self.bundle.get_message(message.key).and_then(|m| m.value()) else {
            return message.key.to_owned();
        };
        let mut args = FluentArgs::new();
        for (name, arg) in &message.args {
            match arg {
                // What is filled in is data, from the controller or a host as likely as not.
                Arg::Text(text) => args.set(*name, printable(text)),
                Arg::Number(number) => args.set(*name, FluentValue::from(*number)),
            }
        }
        self.bundle.format_pattern(pattern, Some(&args), &mut Vec::new()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    /// The keys of a language and the variables that each uses.
    fn keys(lang: Lang) -> BTreeMap<String, Vec<String>> {
        FluentResource::try_new(lang.source().to_owned()).expect("the text parses");
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut current = String::new();
        for line in lang.source().lines() {
            if let Some((key, _)) =
                line.split_once(" =").filter(|_| line.starts_with(|c: char| c.is_ascii_lowercase()))
            {
                assert!(found.insert(key.to_owned(), Vec::new()).is_none(), "{key} stands twice in {lang:?}");
                key.clone_into(&mut current);
            }
            for variable in line.split('$').skip(1) {
                let name: String =
                    variable.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                found.entry(current.clone()).or_default().push(name);
            }
        }
        for names in found.values_mut() {
            names.sort();
            names.dedup();
        }
        found
    }

    fn sources(dir: &Path) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(dir).expect("the source folder is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                text.push_str(&sources(&path));
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("message.rs") {
                text.push_str(&std::fs::read_to_string(&path).expect("a source file"));
            }
        }
        text
    }

    #[test]
    fn both_languages_have_the_same_keys_with_the_same_variables() {
        let (fr, en) = (keys(Lang::Fr), keys(Lang::En));
        for (key, variables) in &en {
            assert_eq!(fr.get(key), Some(variables), "{key} in French");
        }
        assert_eq!(fr.keys().collect::<Vec<_>>(), en.keys().collect::<Vec<_>>());
    }

    #[test]
    fn every_key_that_the_code_says_exists_and_every_key_that_exists_is_said() {
        let code = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        let mut said: Vec<&str> = code
            .split("msg!(")
            .skip(1)
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split_once('"').map(|(key, _)| key))
            .collect();
        said.sort_unstable();
        said.dedup();
        let known = keys(Lang::En);
        let unknown: Vec<_> = said.iter().filter(|key| !known.contains_key(**key)).collect();
        assert!(unknown.is_empty(), "no text for {unknown:?}");
        let unused: Vec<_> = known.keys().filter(|key| !said.contains(&key.as_str())).collect();
        assert!(unused.is_empty(), "nothing says {unused:?}");
        assert!(said.len() > 100, "the sources were not found");
    }

    #[test]
    fn plurals_follow_the_language() {
        let french = Speaker::new(Lang::Fr);
        let english = Speaker::new(Lang::En);
        assert_eq!(french.say(&msg!("count-servers", count = 0usize)), "0 serveur");
        assert_eq!(english.say(&msg!("count-servers", count = 0usize)), "0 servers");
        assert_eq!(french.say(&msg!("count-servers", count = 2usize)), "2 serveurs");
        assert_eq!(english.say(&msg!("count-servers", count = 1usize)), "1 server");
    }

    #[test]
    fn the_language_of_the_environment_is_that_of_the_first_variable_set() {
        let of = |set: &'static [(&str, &str)]| {
            Lang::from_environment(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(of(&[("LANG", "fr_FR.UTF-8")]), Lang::Fr);
        assert_eq!(of(&[("LC_ALL", "C"), ("LANG", "fr_FR.UTF-8")]), Lang::En);
        assert_eq!(of(&[("LC_ALL", ""), ("LC_MESSAGES", "fr")]), Lang::Fr);
        assert_eq!(of(&[]), Lang::En);
    }
}
