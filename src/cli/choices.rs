//! Lists of names in helps, taken from the lists of what there is: a help that repeats one goes stale.

use crate::classical;
use crate::nn::Optimizer;
use crate::reports;
use crate::tables::models;
use crate::train::search::Metric;

/// Names as a sentence lists them: `a, b or c`.
fn joined(names: &[impl AsRef<str>], last: &str) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    match names.split_last() {
        Some((end, before)) if !before.is_empty() => format!("{} {last} {end}", before.join(", ")),
        _ => names.concat(),
    }
}

/// The targets of `record`, in percent.
fn targets() -> Vec<String> {
    reports::records().iter().map(|record| format!("{:.0}", record.target * 100.0)).collect()
}

/// What `record` does.
pub(super) fn of_records() -> String {
    format!(
        "Train small networks to {} % on the test images, and print how long it takes",
        joined(&targets(), "and")
    )
}

/// What `record` takes.
pub(super) fn record_targets() -> String {
    format!("Test accuracies in percent: {} [default: all of them]", joined(&targets(), "or"))
}

/// What `compare` takes.
pub(super) fn compared() -> String {
    let models = classical::Kind::ALL.map(classical::Kind::name);
    format!(
        "Classical models ({}; knn is short for neighbours), reports and recipes, TOML files [default: all these models \
         and the networks of nlp2024]",
        models.join(", ")
    )
}

/// The models of `regress`.
pub(super) fn regressed() -> String {
    let models = models::Kind::ALL.map(models::Kind::name);
    format!("Models, separated by commas: {} [default: all]", models.join(", "))
}

/// The optimizers.
pub(super) fn optimizers() -> String {
    joined(&Optimizer::NAMES, "or")
}

/// The metrics of `search`.
pub(super) fn metrics() -> String {
    format!(
        "Metric to compare trials by: {} [default: {}]",
        joined(&Metric::NAMES, "or"),
        Metric::default().name()
    )
}

#[cfg(test)]
mod tests {
    use super::super::{definition, settings};
    use super::*;
    use crate::nn::BatchNormOver;
    use crate::tables::{Decimal, Missing, Separator};
    use crate::train::Schedule;
    use threadcount_kernels::{Isa, Precision};

    #[test]
    fn names_are_joined_as_in_a_sentence() {
        assert_eq!(joined(&["a", "b", "c"], "or"), "a, b or c");
        assert_eq!(joined(&["a", "b"], "and"), "a and b");
        assert_eq!(joined(&["a"], "or"), "a");
        assert_eq!(joined(&[""; 0], "or"), "");
    }

    /// The help of an option or argument (by its name in capitals), or without one what is said of the command.
    fn help(path: &str, argument: &str) -> String {
        let all = definition();
        let command = path.split_whitespace().fold(&all, |command, word| {
            command.find_subcommand(word).unwrap_or_else(|| panic!("no command {path}"))
        });
        let text = match argument {
            "" => command.get_about(),
            "after" => command.get_after_help(),
            argument => command
                .get_arguments()
                .find(|arg| {
                    let names = arg.get_value_names().unwrap_or_default();
                    arg.get_long() == Some(argument) || names.iter().any(|name| name == argument)
                })
                .unwrap_or_else(|| panic!("{path} has no {argument}"))
                .get_help(),
        };
        text.unwrap_or_else(|| panic!("no help of {path} {argument}")).to_string()
    }

    /// Every help that lists what there is lists all of it.
    #[test]
    fn helps_name_all_that_there_is() {
        fn owned<const N: usize>(names: [&str; N]) -> Vec<String> {
            names.map(str::to_owned).to_vec()
        }
        let reports: Vec<String> = reports::ALL.iter().map(|report| report.id.to_owned()).collect();
        let counted = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight"];
        let variable = |key: &str| format!("THREADCOUNT_{}", key.to_uppercase().replace('-', "_"));
        let keys = settings::KEYS.map(variable).to_vec();
        for (path, argument, names) in [
            ("", "", vec![counted[reports.len()].to_owned()]),
            ("", "after", keys),
            ("", "after", owned(settings::KEYS)),
            ("record", "", targets()),
            ("record", "PERCENT", targets()),
            ("compare", "MODEL|RECIPE", owned(classical::Kind::ALL.map(classical::Kind::name))),
            ("regress", "", vec![counted[models::Kind::ALL.len()].to_owned()]),
            ("regress", "models", owned(models::Kind::ALL.map(models::Kind::name))),
            ("regress", "missing", owned(Missing::ALL.map(|(name, _)| name))),
            ("regress", "separator", owned(Separator::ALL.map(Separator::name))),
            ("predict", "separator", owned(Separator::ALL.map(Separator::name))),
            ("regress", "decimal", owned(Decimal::ALL.map(Decimal::name))),
            ("train", "optimizer", owned(Optimizer::NAMES)),
            ("search", "optimizer", owned(Optimizer::NAMES)),
            ("train", "schedule", owned(Schedule::NAMES)),
            ("search", "metric", owned(Metric::NAMES)),
            ("train", "batch-norm-over", owned(BatchNormOver::NAMES)),
            ("bench", "batch-norm-over", owned(BatchNormOver::NAMES)),
            ("train", "precision", owned(Precision::ALL.map(Precision::name))),
            ("bench", "precision", owned(Precision::ALL.map(Precision::name))),
            ("train", "isa", Isa::ALL.iter().map(|isa| isa.name().to_owned()).collect()),
        ] {
            let help = help(path, argument);
            let words: Vec<&str> = help
                .split(|c: char| !c.is_alphanumeric() && !"-_".contains(c))
                .filter(|word| !word.is_empty())
                .collect();
            assert!(!names.is_empty(), "{path} {argument}");
            for name in names {
                assert!(words.contains(&&*name), "{path} {argument}: no '{name}' in: {help}");
            }
        }
    }
}
