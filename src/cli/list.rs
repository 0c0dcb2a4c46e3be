//! `threadcount list`

use super::table;
use crate::Result;
use crate::console;
use crate::reports::{self, Recipe};

pub(super) fn run() -> Result<()> {
    let mut text = String::new();
    for report in reports::ALL {
        text += &table::prose(&format!("{}: {}\n", report.id, report.title));
        text += &told((report.recipes)());
        text.push('\n');
    }
    text += "records: small networks outside the reports, for an accuracy in little time\n";
    text += &told(reports::records().into_iter().map(|record| record.recipe));
    text += &table::prose(
        "\n'threadcount train RECIPE' trains one, 'threadcount reproduce' those of the reports, \
         'threadcount record' the records.\n",
    );
    console::print(&text)
}

/// A line for each recipe, or two.
fn told(recipes: impl IntoIterator<Item = Recipe>) -> String {
    let rows: Vec<(String, String)> = (recipes.into_iter())
        .map(|recipe| (format!("  {}", recipe.id), recipe.about.to_string()))
        .collect();
    table::facts(rows.iter().map(|(name, about)| (name.as_str(), about.clone())), 20)
}
