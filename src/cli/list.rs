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
    text += "'threadcount train RECIPE' trains one, 'threadcount reproduce' all of them.\n";
    console::print(&text)
}
