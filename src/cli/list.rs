//! `threadcount list`

use crate::Result;
use crate::console;
use crate::reports;
use std::fmt::Write;

pub(super) fn run() -> Result<()> {
    let mut text = String::new();
    for report in reports::ALL {
        let _ = writeln!(text, "{}: {}", report.id, report.title);
        for recipe in (report.recipes)() {
            let _ = writeln!(text, "  {:<18}  {}", recipe.id, recipe.about);
        }
        text.push('\n');
    }
    text += "records: small networks outside the reports, for an accuracy in little time\n";
    for record in reports::records() {
        let _ = writeln!(text, "  {:<18}  {}", record.recipe.id, record.recipe.about);
    }
    text += "\n'threadcount train RECIPE' trains one, 'threadcount reproduce' those of the reports,\n\
             'threadcount record' the records.\n";
    console::print(&text)
}
