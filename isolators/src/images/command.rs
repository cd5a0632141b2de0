//! What an image says of its program, merged with what a command says: the table of Mesos's `docker/runtime` isolator
//! (reference 12.1). The command's `value` is the program where there is one; without, the image's entry point and command are,
//! and arguments take the place of the image's command. Variables of the image come first, those of the command win.

use super::manifest::RunConfig;
use kaon_kernel::container::Program;

/// The program that a container starts, or why there is none.
pub(crate) fn merged(program: &Program, run: &RunConfig) -> Result<Program, String> {
    let arguments = match program {
        Program::Exec { file, arguments } if file.is_empty() => arguments,
        named => return Ok(named.clone()),
    };
    let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let (mut entry, command) = (words(&run.entrypoint), words(&run.cmd));
    if entry.is_empty() {
        // Without an entry point the image's command begins with its program, which arguments do not replace.
        match (command.first(), arguments.is_empty()) {
            (None, _) => return Err("neither the command nor its image names a program".to_owned()),
            (Some(_), true) => entry.extend(command),
            (Some(first), false) => {
                entry.push(first.clone());
                entry.extend_from_slice(arguments);
            }
        }
    } else if arguments.is_empty() {
        entry.extend(command);
    } else {
        entry.extend_from_slice(arguments);
    }
    match entry.first() {
        Some(file) if !file.is_empty() => Ok(Program::Exec { file: file.clone(), arguments: entry }),
        _ => Err("the program that the image names has no name".to_owned()),
    }
}

impl RunConfig {
    /// Its variables, name and value.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let pairs = self.env.iter().flatten().filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| !name.is_empty()).map(|(name, value)| (name.to_owned(), value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn run(entry: &str, command: &str) -> RunConfig {
        let list = |text: &str| Some(words(text)).filter(|words| !words.is_empty());
        RunConfig { entrypoint: list(entry), cmd: list(command), ..RunConfig::default() }
    }

    /// The whole table of Mesos: what the image has, what the command has, what comes of it.
    #[test]
    fn commands_merge_as_in_mesos() {
        for (entry, command, arguments, wanted) in [
            ("", "", "", None),
            ("", "", "x", None),
            ("", "c d", "", Some("c d")),
            ("", "c d", "x y", Some("c x y")),
            ("e f", "", "", Some("e f")),
            ("e f", "", "x", Some("e f x")),
            ("e f", "c d", "", Some("e f c d")),
            ("e f", "c d", "x", Some("e f x")),
        ] {
            let asked = Program::Exec { file: String::new(), arguments: words(arguments) };
            let merged = merged(&asked, &run(entry, command)).ok();
            let wanted = wanted.map(|text| Program::Exec { file: words(text)[0].clone(), arguments: words(text) });
            assert_eq!(merged, wanted, "{entry:?} {command:?} {arguments:?}");
        }
        let shell = Program::Shell("true".to_owned());
        assert_eq!(merged(&shell, &run("e", "c")), Ok(shell));
        let named = Program::Exec { file: "v".to_owned(), arguments: words("v a") };
        assert_eq!(merged(&named, &run("e", "c")), Ok(named));
    }

    #[test]
    fn variables_are_pairs() {
        let env = ["A=b=c", "B=", "=x", "none"].map(str::to_owned).to_vec();
        let run = RunConfig { env: Some(env), ..RunConfig::default() };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(run.variables().collect::<Vec<_>>(), [pair("A", "b=c"), pair("B", "")]);
    }
}
