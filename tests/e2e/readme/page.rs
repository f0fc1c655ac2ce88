//! The commands and links of a page in Markdown.
//!
//! Every fenced block is either `console`, whose commands are run, or `text`, which has none. Anything else
//! is refused, so that no command can stand in the documentation without being run.

/// A command as it stands on a page.
#[derive(Debug)]
pub(crate) struct Command {
    /// The line on which it begins, from 1.
    pub(crate) line: usize,
    /// `$`, `desk$`, `controller#` or `srv-001#`.
    pub(crate) place: String,
    /// What is typed, with its further lines.
    pub(crate) text: String,
    /// The exit code that its comment promises.
    pub(crate) ends_with: i32,
    /// Whether its comment says that what it looks for comes about by itself.
    pub(crate) within_seconds: bool,
}

/// What a page asks its reader to type and to open.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) commands: Vec<Command>,
    pub(crate) links: Vec<String>,
}

/// What may be typed on the reader's own machine.
const HERE: [&str; 4] = ["digue", "digue-lab", "export", "cd"];
/// What takes a machine of a laboratory.
const MACHINES: [&str; 3] = ["desk$", "controller#", "srv-001#"];
const FENCE: &str = "```";

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// Something on it that no test would run, and where.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        let mut block: Option<(usize, &str)> = None;
        for (line, content) in (1..).zip(text.lines()) {
            match (content.trim_start().strip_prefix(FENCE), block) {
                (Some(language), None) if ["console", "text"].contains(&language) => {
                    block = Some((line, language));
                }
                (Some(language), None) => {
                    return Err(format!(
                        "line {line}: a block of {language:?}; commands stand in `console`, anything else in `text`"
                    ));
                }
                (Some(_), Some(_)) => block = None,
                (None, Some((_, "console"))) => page.typed(line, content)?,
                (None, Some(_)) => {}
                (None, None) => page.links.extend(links(content)),
            }
        }
        match block {
            Some((line, _)) => Err(format!("line {line}: the block is not closed")),
            None => Ok(page),
        }
    }

    fn typed(&mut self, line: usize, content: &str) -> Result<(), String> {
        if let Some(more) = content.strip_prefix("> ").or_else(|| (content == ">").then_some("")) {
            let last = self.commands.last_mut().ok_or(format!("line {line}: goes on with nothing"))?;
            last.text.push('\n');
            last.text.push_str(more);
            return Ok(());
        }
        let Some((place, text)) = content.split_once(' ').filter(|(place, _)| place.ends_with(['$', '#']))
        else {
            return Ok(());
        };
        let known = place == "$" || MACHINES.contains(&place);
        if !known {
            return Err(format!("line {line}: there is no machine for the prompt {place:?}"));
        }
        let elsewhere = super::RUN_ELSEWHERE.contains(&text);
        let first = text.split(' ').next().unwrap_or_default();
        if place == "$" && !elsewhere && !HERE.contains(&first) {
            return Err(format!("line {line}: {first:?} is nothing that a test would run on this machine"));
        }
        let (typed, comment) = text.split_once(" # ").unwrap_or((text, ""));
        if place == "$" && typed.contains([';', '|', '&', '`']) {
            return Err(format!("line {line}: one command a line on this machine"));
        }
        let code = comment.split_once("ends with ").map(|(_, rest)| rest);
        let code = code.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        let ends_with = code.map_or(Ok(0), |code| code.parse()).map_err(|e| format!("line {line}: {e}"))?;
        self.commands.push(Command {
            line,
            place: place.to_owned(),
            text: text.to_owned(),
            ends_with,
            within_seconds: comment.contains("within seconds"),
        });
        Ok(())
    }
}

/// Links into the repository; those to other places are not followed.
fn links(content: &str) -> Vec<String> {
    let targets = content.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(ToOwned::to_owned).collect()
}
