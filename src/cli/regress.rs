//! `threadcount regress`: six models of one column of a table, from the others.

use super::json::JsonFlag;
use super::progress::Progress;
use super::regress_report::{Measured, Report};
use super::settings::{ComputeFlags, SeedFlag, Settings};
use super::{choices, interrupt, table};
use crate::bench::Facts;
use crate::classical::GoOn;
use crate::console;
use crate::evaluate::Regression;
use crate::files::write_atomically;
use crate::names::shortened;
use crate::tables::models::{FitSettings, Kind, NetSettings, Regressor, Training, Watching};
use crate::tables::{
    Decimal, Design, Encoding, Folder, Missing, Needed, Outline, Parts, ReadOptions, Separator,
    TEST_SHARE, Table, Work,
};
use crate::{Error, Result};
use std::path::PathBuf;
use std::time::Instant;
use threadcount_kernels::Pool;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The table, a CSV file
    file: PathBuf,
    /// The column to predict
    #[arg(long, value_name = "COLUMN")]
    target: String,
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help = choices::regressed())]
    models: Vec<String>,
    /// Share of the rows to test on
    #[arg(long, value_name = "SHARE", default_value_t = TEST_SHARE)]
    test_share: f64,
    /// Epochs of the network
    #[arg(long, value_name = "N", default_value_t = NetSettings::default().epochs)]
    epochs: usize,
    /// What becomes of rows with missing values: refuse or drop
    #[arg(long, value_name = "NAME", default_value = "refuse")]
    missing: String,
    #[command(flatten)]
    form: FormFlags,
    /// A column that is not read; may be given several times
    #[arg(long, value_name = "COLUMN")]
    leave_out: Vec<String>,
    /// The most memory to use, such as 500MiB or 4GiB [default: all that the machine has]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    memory: Option<u64>,
    /// Folder for the trained models, with charts of the comparison
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    json: JsonFlag,
    #[command(flatten)]
    seed: SeedFlag,
    #[command(flatten)]
    compute: ComputeFlags,
}

/// How a table is written.
#[derive(clap::Args)]
pub(super) struct FormFlags {
    /// What separates cells: comma, semicolon or tab [default: found from the first lines]
    #[arg(long, value_name = "NAME")]
    separator: Option<String>,
    /// The decimal mark: point or comma [default: found from the numbers]
    #[arg(long, value_name = "NAME")]
    decimal: Option<String>,
}

impl FormFlags {
    /// Whether anything is said.
    pub(super) fn is_given(&self) -> bool {
        self.separator.is_some() || self.decimal.is_some()
    }

    pub(super) fn separator(&self) -> Result<Option<Separator>> {
        self.separator.as_deref().map(str::parse).transpose()
    }

    pub(super) fn decimal(&self) -> Result<Option<Decimal>> {
        self.decimal.as_deref().map(str::parse).transpose()
    }
}

/// A table that is ready for models.
struct Bench<'a> {
    pool: Pool,
    go_on: &'a GoOn<'a>,
    encoding: Encoding,
    train: Design,
    targets: Vec<f64>,
    test: Design,
    test_targets: Vec<f64>,
    /// The test rows, as numbers of rows of the table.
    test_rows: Vec<u32>,
    settings: FitSettings,
}

/// A model that was trained.
struct Trained {
    model: Regressor,
    predictions: Vec<f64>,
    measured: Measured,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let settings = Settings::load()?;
    let kinds = kinds(&args.models)?;
    if args.epochs == 0 {
        return Err(Error::Usage("--epochs 0: at least 1".into()));
    }
    let options = ReadOptions {
        separator: args.form.separator()?,
        decimal: args.form.decimal()?,
        missing: args.missing.parse::<Missing>()?,
        leave_out: args.leave_out.clone(),
        memory: args.memory,
    };
    let seed = settings.seed(&args.seed)?;
    let pool = settings.pool(&args.compute)?;
    args.json.check()?;
    args.out.as_deref().map(Folder::check_new).transpose()?;

    Parts::check_share(args.test_share)?;
    let outline = Outline::read(&args.file, &args.target, &options)?;
    let needed = Needed::of(
        &outline,
        &Work {
            kinds: &kinds,
            test_share: args.test_share,
            threads: pool.threads(),
            is_saved: args.out.is_some(),
        },
    );
    needed.check(&outline)?;
    let memory = needed.most();
    console::note(&format!(
        "{}; at most {} of memory are needed",
        table::count(outline.rows(), "row"),
        table::bytes(memory)
    ));
    let mut table = outline.table()?;
    let parts = Parts::new(&table, args.test_share, seed)?;
    let settings = FitSettings {
        seed,
        net: NetSettings { epochs: args.epochs, ..NetSettings::default() },
        ..FitSettings::default()
    };
    let bench = Bench::new(&mut table, &parts, pool, settings, &interrupt::go_on)?;
    table.remarks.iter().for_each(|remark| console::note(&format!("note: {remark}")));
    interrupt::listen("stopping; the finished results are printed");
    let mut trained = Vec::new();
    let ended = bench.train_all(&kinds, &mut trained);
    // Whatever ended it, what was measured until then is not lost.
    if trained.is_empty() {
        return ended;
    }
    let facts = Facts::of(&bench.pool);
    let measured: Vec<_> = trained.iter().map(|trained| trained.measured.clone()).collect();
    let report = Report {
        facts: &facts,
        table: &table,
        encoding: &bench.encoding,
        rows: [bench.train.rows(), bench.test.rows()],
        seed,
        memory,
        measured: &measured,
    };
    if let Some(folder) = &args.out {
        bench.save(folder, &trained, &report)?;
    }
    args.json.put(&report.json()?, &report.text())?;
    ended
}

/// `500MiB` in bytes.
fn memory_size(text: &str) -> std::result::Result<u64, String> {
    let fault = || "write it as 500MiB, 4GiB or a number of bytes".to_owned();
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let unit = units.into_iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
    let (number, bits) = unit.unwrap_or((text, 0));
    let number: u64 = number.trim().parse().map_err(|_| fault())?;
    number.checked_mul(1 << bits).ok_or_else(fault)
}

/// The models of these names, each once, in the report's order; all of them without names.
fn kinds(names: &[String]) -> Result<Vec<Kind>> {
    let asked = names.iter().map(|name| Kind::of_name(name.trim()));
    let asked = asked.collect::<Result<Vec<_>>>()?;
    Ok(Kind::ALL.into_iter().filter(|kind| asked.is_empty() || asked.contains(kind)).collect())
}

impl<'a> Bench<'a> {
    /// Encodes the parts. The table keeps what a report needs of it: its columns are taken.
    fn new(
        table: &mut Table,
        parts: &Parts,
        pool: Pool,
        settings: FitSettings,
        go_on: &'a GoOn<'a>,
    ) -> Result<Self> {
        let encoding = Encoding::fit(table, &parts.train)?;
        for name in &encoding.constant {
            let name = shortened(name);
            let remark = format!("the column '{name}' is the same in all training rows: left out");
            table.remarks.push(remark);
        }
        let of = |rows: &[u32]| -> Vec<f64> {
            rows.iter().map(|&row| table.values[row as usize]).collect()
        };
        let test = Design::new(&encoding, table, &parts.test)?;
        let bench = Self {
            pool,
            train: Design::new(&encoding, table, &parts.train)?,
            targets: of(&parts.train),
            test_targets: of(&parts.test),
            settings,
            go_on,
            encoding,
            test,
            test_rows: parts.test.clone(),
        };
        for (column, count) in bench.encoding.columns.iter().zip(bench.test.unseen()) {
            if count > 0 {
                let rows = table::count(count, "test row");
                let name = shortened(&column.name);
                let remark = format!("{rows} have a category of '{name}' that no training row has");
                table.remarks.push(remark);
            }
        }
        table.columns = Vec::new();
        Ok(bench)
    }

    fn train_all(&self, kinds: &[Kind], trained: &mut Vec<Trained>) -> Result<()> {
        for (number, &kind) in (1..).zip(kinds) {
            let name = format!("[{number}/{}] {:<8}", kinds.len(), kind.name());
            trained.push(self.train(kind, &name)?);
        }
        Ok(())
    }

    fn train(&self, kind: Kind, name: &str) -> Result<Trained> {
        let mut progress = Progress::new();
        progress.begin(&format!("{name}  training ..."));
        let Self { encoding, train: design, targets, settings, pool, .. } = self;
        let training = Training { encoding, design, targets };
        let began = Instant::now();
        let mut watch =
            |session: &crate::train::Session<'_>, moment| progress.watch(name, session, moment);
        let watching = Watching { network: &mut watch, go_on: self.go_on };
        let fitted = Regressor::fit(kind, &training, settings, pool, watching);
        let train_seconds = began.elapsed().as_secs_f64();
        progress.finish();
        if (self.go_on)().is_break() {
            return Err(Error::Interrupted(format!(" in {}", kind.name())));
        }
        let mut model = fitted?;
        let began = Instant::now();
        let predictions = model.predict(&self.test, pool)?;
        let predict_seconds = began.elapsed().as_secs_f64();
        let score = Regression::measure(&self.test_targets, &predictions);
        let r2 = score.r2_text();
        progress.line(&format!("{name}  R2 {r2}  {} s", table::seconds(train_seconds)));
        let measured = Measured::new(kind, score, [train_seconds, predict_seconds], model.bytes());
        Ok(Trained { model, predictions, measured })
    }

    /// Writes the models; beside them two pictures, and what each model predicted for the test rows.
    fn save(
        &self,
        folder: &std::path::Path,
        trained: &[Trained],
        report: &Report<'_>,
    ) -> Result<()> {
        let models: Vec<_> = trained
            .iter()
            .map(|trained| (trained.measured.kind, &trained.model, trained.measured.score))
            .collect();
        Folder::write(folder, &self.encoding, &models)?;
        let predictions: Vec<_> =
            trained.iter().map(|trained| trained.predictions.as_slice()).collect();
        let pictures = [
            ("comparison.svg", report.bars()?),
            ("predicted.svg", report.against(&self.test_targets, &predictions)?),
        ];
        write_atomically(
            &folder.join("test.csv"),
            self.test_table(report, &predictions).as_bytes(),
        )?;
        for (name, svg) in pictures {
            write_atomically(&folder.join(name), svg.as_bytes())?;
        }
        console::note(&format!("the models and two charts are in {}", folder.display()));
        Ok(())
    }

    /// The test rows as CSV: their numbers among the rows that are used, from 0, what is true, and a column of
    /// predictions for each model.
    fn test_table(&self, report: &Report<'_>, predictions: &[&[f64]]) -> String {
        let names = report.measured.iter().map(|measured| measured.kind.name());
        let mut text = format!("row,true,{}\n", names.collect::<Vec<_>>().join(","));
        for (i, (row, target)) in self.test_rows.iter().zip(&self.test_targets).enumerate() {
            text += &format!("{row},{target}");
            predictions.iter().for_each(|of_model| text += &format!(",{}", of_model[i]));
            text.push('\n');
        }
        text
    }
}
