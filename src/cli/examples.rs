//! Examples of every command, which its help ends with. Tests parse each of them.

/// What somebody wants to do, and the command that does it.
type Example = (&'static str, &'static str);

/// The examples of each command, by the words that lead to it.
const EXAMPLES: [(&str, &[Example]); 27] = [
    (
        "reproduce",
        &[
            ("All reports, their claims beside what is measured", "threadcount reproduce"),
            ("One report, with five seeds each", "threadcount reproduce nlp2024 --repeats 5"),
        ],
    ),
    ("record", &[("How long 92 % takes, with three seeds", "threadcount record 92 --repeats 3")]),
    (
        "compare",
        &[
            ("Three classical models beside the networks of nlp2024", "threadcount compare"),
            (
                "A larger forest and a network of your own",
                "threadcount compare forest my.toml --trees 300 --plot bars.svg",
            ),
        ],
    ),
    (
        "train",
        &[
            ("A recipe, into the new folder runs/nlp-cnn", "threadcount train nlp-cnn"),
            (
                "With other settings",
                "threadcount train nlp-cnn --epochs 20 --optimizer adamw --learning-rate 0.002",
            ),
            ("Go on with it, for longer", "threadcount train --resume runs/nlp-cnn --epochs 40"),
            (
                "Begin with its weights, for other data",
                "threadcount train nlp-cnn --init runs/nlp-cnn --data mine",
            ),
        ],
    ),
    (
        "search",
        &[
            (
                "All combinations of these values",
                "threadcount search nlp-mlp80 --grid learning-rate=0.001,0.0003 --grid batch-size=32,64",
            ),
            (
                "24 drawn ones, bad ones ended early",
                "threadcount search nlp-mlp80 --range learning-rate=1e-4..1e-2 --random 24 --halving",
            ),
        ],
    ),
    (
        "runs",
        &[
            ("All runs, the newest first", "threadcount runs"),
            (
                "The best ones of a recipe",
                "threadcount runs --sort test_accuracy --filter recipe=nlp-cnn",
            ),
            ("Where two differ, and their curves", "threadcount runs compare nlp-cnn nlp-cnn-2"),
        ],
    ),
    (
        "runs show",
        &[
            ("By its name", "threadcount runs show nlp-cnn"),
            ("By its folder, for a program", "threadcount runs show elsewhere/nlp-cnn --json"),
        ],
    ),
    (
        "runs compare",
        &[("Two runs", "threadcount runs compare nlp-cnn nlp-cnn-2 --plot curves.svg")],
    ),
    (
        "runs rm",
        &[("Two runs, without being asked", "threadcount runs rm nlp-cnn nlp-cnn-2 --yes")],
    ),
    (
        "summary",
        &[
            ("A recipe's layers", "threadcount summary cse574-cnn"),
            ("Planned for your own images", "threadcount summary cse574-cnn --data mine"),
        ],
    ),
    ("recipe", &[("A recipe's TOML file, to change it", "threadcount recipe nlp-cnn")]),
    (
        "eval",
        &[
            ("A run's model", "threadcount eval runs/nlp-cnn"),
            ("On other data, for a program", "threadcount eval runs/nlp-cnn --data other --json"),
        ],
    ),
    ("report", &[("A run's page for a browser, again", "threadcount report runs/nlp-cnn")]),
    (
        "regress",
        &[(
            "Six models of the prices in a table",
            "threadcount regress flights.csv --target price --out models",
        )],
    ),
    (
        "predict",
        &[
            (
                "A table with the prices that the best of them predicts",
                "threadcount predict models new.csv --out predicted.csv",
            ),
            ("What is in pictures", "threadcount predict runs/nlp-cnn shirt.png bag.jpg"),
        ],
    ),
    (
        "export",
        &[("For PyTorch", "threadcount export runs/nlp-cnn --to pytorch nlp-cnn.safetensors")],
    ),
    ("list", &[("All reports and recipes", "threadcount list")]),
    (
        "info",
        &[
            ("What the machine has", "threadcount info"),
            ("What it can do at most", "threadcount info --peak"),
        ],
    ),
    (
        "bench",
        &[
            ("Training steps of one recipe", "threadcount bench nlp-cnn --threads 1,2"),
            ("Where its time goes", "threadcount bench nlp-cnn --profile"),
            ("The kernels whose names say so", "threadcount bench --kernels conv"),
        ],
    ),
    (
        "completions",
        &[
            ("Of bash, to be written into its folder", "threadcount completions bash"),
            ("Of zsh", "threadcount completions zsh"),
        ],
    ),
    (
        "man",
        &[
            ("The page of the whole program", "threadcount man"),
            ("The pages of all commands, into a folder", "threadcount man share/man/man1"),
        ],
    ),
    ("data fetch", &[("Into the cache folder", "threadcount data fetch")]),
    (
        "data import",
        &[("A folder with a folder for each class", "threadcount data import pictures mine")],
    ),
    (
        "data flights",
        &[("A table to try regress with", "threadcount data flights --out flights.csv")],
    ),
    ("data verify", &[("Files of your own", "threadcount data verify --data mine")]),
    ("data path", &[("Which data would be used", "threadcount data path")]),
    (
        "data show",
        &[
            ("The fourth training image", "threadcount data show 3"),
            ("As training sees it", "threadcount data show 3 --augment rotate=10,flip --epoch 2"),
            ("As a picture", "threadcount data show 3 --png shirt.png"),
        ],
    ),
];

/// The definition of the command line, with the examples of each command below its help.
pub(super) fn with_examples(command: clap::Command) -> clap::Command {
    command.mut_subcommands(|command| of("", command))
}

fn of(above: &str, command: clap::Command) -> clap::Command {
    let path = format!("{above} {}", command.get_name());
    let path = path.trim().to_owned();
    let command = match EXAMPLES.iter().find(|(name, _)| *name == path) {
        Some((_, examples)) => command.after_help(text(examples)),
        None => command,
    };
    command.mut_subcommands(|command| of(&path, command))
}

fn text(examples: &[Example]) -> String {
    let lines = examples.iter().map(|(what, command)| format!("  {what}:\n    {command}"));
    format!("Examples:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::super::{definition, parse};
    use super::*;
    use std::ffi::OsString;

    fn leaves(command: &clap::Command, above: &str, visit: &mut impl FnMut(&str)) {
        for sub in command.get_subcommands() {
            let path = format!("{above} {}", sub.get_name());
            // A command that only leads to others has no help of its own.
            if !sub.is_subcommand_required_set() {
                visit(path.trim());
            }
            leaves(sub, &path, visit);
        }
    }

    #[test]
    fn every_command_has_examples_and_every_example_is_one_of_its_command() {
        let mut commands = Vec::new();
        leaves(&definition(), "", &mut |path| commands.push(path.to_owned()));
        commands.retain(|path| path != "data");
        commands.sort();
        let mut named: Vec<_> = EXAMPLES.iter().map(|(path, _)| (*path).to_owned()).collect();
        named.sort();
        // `data fetch` may be left out of a build.
        named.retain(|path| commands.contains(path) || path != "data fetch");
        assert_eq!(named, commands);
        for (path, examples) in EXAMPLES {
            assert!(!examples.is_empty(), "{path}");
            for (what, example) in examples {
                assert!(what.len() <= 76 && example.len() <= 92, "{example}");
                let below = if path == "runs" { "" } else { path };
                assert!(example.starts_with(&format!("threadcount {below}")), "{example}");
                let words = example.split(' ').map(OsString::from);
                assert!(parse(words).is_ok(), "{example}");
            }
        }
    }
}
