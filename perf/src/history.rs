//! `cargo perf history`: the trend of what was recorded, as a table and as a picture for each group of
//! benchmarks. Only shares of a limit that was measured beside them are compared over time: a shared
//! machine is not as fast every day, and two machines never are.

use crate::builds::Workshop;
use crate::change_points::{ChangePoint, change_points};
use crate::picture::{Area, COLOURS, Drawn, GRID, INK, font, svg};
use crate::protocol::Benchmark;
use crate::record::{FolderFlag, Line};
use crate::statistics::median;
use crate::suite;
use plotters::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use threadcount::cli::markdown;
use threadcount::files::write_atomically;
use threadcount::{Error, Result, console};

#[derive(clap::Args)]
pub struct Args {
    /// Only benchmarks whose names match one of these globs
    #[arg(value_name = "GLOB", long = "only")]
    only: Vec<String>,
    #[command(flatten)]
    folder: FolderFlag,
}

/// What one benchmark did in each run that recorded it, oldest first.
struct Series {
    benchmark: Benchmark,
    points: Vec<Point>,
}

/// One run.
struct Point {
    time: String,
    revision: String,
    percent: f64,
    noise: Option<f64>,
}

impl Series {
    fn percents(&self) -> Vec<f64> {
        self.points.iter().map(|point| point.percent).collect()
    }

    /// How far a sweep of it against itself is from no change: the median of the runs that say so.
    fn noise(&self) -> Option<f64> {
        let known: Vec<f64> = self.points.iter().filter_map(|point| point.noise).collect();
        (!known.is_empty()).then(|| median(&known))
    }

    /// What kind of benchmark it is: the first word.
    fn group(&self) -> &str {
        self.benchmark.name.split(' ').next().unwrap_or_default()
    }
}

pub fn run(args: &Args) -> Result<()> {
    let folder = match &args.folder.folder {
        Some(folder) => folder.clone(),
        None => args.folder.path(Workshop::open()?.root()),
    };
    let patterns = args.only.iter().map(|text| suite::pattern(text)).collect::<Result<Vec<_>>>()?;
    let machines = entries(&folder)?;
    if machines.is_empty() {
        let folder = folder.display();
        let advice = "nothing has been recorded here; `cargo perf record` does it";
        return Err(Error::Failed(format!("{folder}: {advice}")));
    }
    for machine in machines {
        let mut series = read(&machine)?;
        series.retain(|series| {
            patterns.is_empty() || patterns.iter().any(|p| p.matches(&series.benchmark.name))
        });
        let name = machine.file_name().unwrap_or_default().to_string_lossy().into_owned();
        console::print(&text(&name, &series))?;
        let mut groups: BTreeMap<&str, Vec<&Series>> = BTreeMap::new();
        for series in &series {
            groups.entry(series.group()).or_default().push(series);
        }
        for (group, series) in groups {
            let path = machine.join(format!("{group}.svg"));
            write_atomically(&path, picture(group, &series)?.as_bytes())?;
            console::print(&format!("{}\n", path.display()))?;
        }
    }
    Ok(())
}

/// What lies in a folder, in order of the names; nothing if it does not exist.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(Error::io(folder))?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The lines of one run.
///
/// # Errors
/// [`Error::Data`] if there is one that cannot be read.
pub fn lines(path: &Path) -> Result<Vec<Line>> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    let parse = |(index, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            Error::data(path, format!("line {}: {error}; mend or delete it", index + 1))
        })
    };
    text.lines().enumerate().map(parse).collect()
}

/// All that one machine has recorded. Files begin with the time, so their names give the order.
fn read(machine: &Path) -> Result<Vec<Series>> {
    let mut all: Vec<Series> = Vec::new();
    for path in
        entries(machine)?.iter().filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
    {
        for line in lines(path)? {
            let Some(percent) = line.percent_of_limit else { continue };
            let Line { time, revision, benchmark, noise_percent: noise, .. } = line;
            let point = Point { time, revision, percent, noise };
            match all.iter_mut().find(|series| series.benchmark == benchmark) {
                Some(series) => series.points.push(point),
                None => all.push(Series { benchmark, points: vec![point] }),
            }
        }
    }
    Ok(all)
}

/// The trend of each, and where it changed.
fn text(machine: &str, all: &[Series]) -> String {
    let header =
        ["benchmark", "threads", "isa", "runs", "first", "last", "change", "noise", "changed at"];
    let mut table = markdown(&header, &["benchmark", "isa", "changed at"]);
    for series in all {
        let percents = series.percents();
        let (Some(first), Some(last)) = (percents.first(), percents.last()) else { continue };
        let Benchmark { name, isa, threads } = &series.benchmark;
        table.add_row([
            name.clone(),
            threads.to_string(),
            isa.clone(),
            percents.len().to_string(),
            format!("{first:.1}"),
            format!("{last:.1}"),
            format!("{:+.1} %", 100.0 * (last / first - 1.0)),
            series.noise().map_or("-".into(), |percent| format!("{percent:.1} %")),
            changes(series),
        ]);
    }
    format!(
        "{machine}\n\n{table}\n\nFirst and last: % of the FMA peak, or of the rate of reads from the \
         level of memory that holds\nthe operands, as measured in the same run. Noise: how far sweeps of a program against itself were\nfrom no \
         change. Changed at: the \
         revision from which on it has been\nanother, and by how much.\n\n"
    )
}

/// `92278d6 (-8.1 %)`, for each change.
fn changes(series: &Series) -> String {
    let mut text = String::new();
    for ChangePoint { at, change } in change_points(&series.percents()) {
        let revision = &series.points[at].revision;
        let separator = if text.is_empty() { "" } else { ", " };
        let short = &revision[..revision.len().min(7)];
        let _ = write!(text, "{separator}{short} ({:+.1} %)", 100.0 * change);
    }
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Pixels of one line of the legend.
const LEGEND_LINE: i32 = 16;
/// Pixels of the legend's width.
const LEGEND: u32 = 420;

/// The shares of one group's benchmarks over the runs, with a ring where they changed for good.
fn picture(group: &str, all: &[&Series]) -> Result<String> {
    let height = (100 + LEGEND_LINE * all.len() as i32).max(420) as u32;
    svg((1180, height), |root| draw(root, group, all))
}

fn draw(root: &Area<'_>, group: &str, all: &[&Series]) -> Drawn {
    let (width, _) = root.dim_in_pixel();
    let (left, right) = root.split_horizontally(width - LEGEND);
    // Runs are placed by their order: days without a run have no width.
    let mut runs: Vec<&str> =
        all.iter().flat_map(|series| series.points.iter().map(|point| &point.time[..])).collect();
    runs.sort_unstable();
    runs.dedup();
    let place = |point: &Point| runs.binary_search(&&point.time[..]).unwrap_or(0) as f64;
    let mut chart = ChartBuilder::on(&left)
        .caption(format!("{group}: % of the limit, run by run"), font(20, INK))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(-0.5..runs.len() as f64 - 0.5, range(all))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(INK)
        .x_labels(runs.len().min(6))
        .x_label_formatter(&|x| {
            let run = runs.get(x.round().max(0.0) as usize).filter(|_| x.fract().abs() < 0.01);
            run.map_or(String::new(), |time| time[..time.len().min(10)].to_owned())
        })
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    for (index, series) in all.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let points: Vec<(f64, f64)> =
            series.points.iter().map(|point| (place(point), point.percent)).collect();
        chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(1)))?;
        chart.draw_series(points.iter().map(|&at| Circle::new(at, 2, colour.filled())))?;
        let changed = change_points(&series.percents());
        chart.draw_series(
            changed.iter().map(|point| Circle::new(points[point.at], 7, INK.stroke_width(2))),
        )?;
        let y = 50 + LEGEND_LINE * index as i32;
        right.draw(&PathElement::new([(0, y), (18, y)], colour.stroke_width(2)))?;
        let Benchmark { name, isa, threads } = &series.benchmark;
        let rest = name.strip_prefix(group).unwrap_or(name).trim_start();
        let last = series.points.last().map_or(0.0, |point| point.percent);
        let label = format!("{rest}; {threads} x {isa}: {last:.1} %");
        right.draw(&Text::new(label, (24, y), font(14, INK)))?;
    }
    Ok(())
}

/// From below all points to above them.
fn range(all: &[&Series]) -> Range<f64> {
    let percents = || all.iter().flat_map(|series| series.percents());
    let low = percents().fold(f64::INFINITY, f64::min);
    let high = percents().fold(f64::NEG_INFINITY, f64::max);
    let room = (0.08 * (high - low)).max(1.0);
    (low - room).max(0.0)..high + room
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of that run and share.
    fn line(run: usize, threads: usize, percent: f64) -> Line {
        let benchmark = Benchmark { name: "gemm 8x8x8".into(), isa: "avx2".into(), threads };
        Line {
            time: format!("2026-01-{:02}T00:00:00Z", run + 1),
            revision: format!("{run:07}aaaa"),
            ..Line::example(&benchmark, percent)
        }
    }

    fn folder(lines: impl Iterator<Item = Line>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for line in lines {
            let threads = line.benchmark.threads;
            let path = folder.path().join(format!("{}-{threads}.jsonl", line.time));
            fs::write(path, serde_json::to_string(&line).unwrap() + "\n").unwrap();
        }
        folder
    }

    #[test]
    fn a_change_for_good_is_named_and_drawn() {
        let percent = |run| if run < 12 { 80.0 } else { 70.0 } + 0.1 * (run % 3) as f64;
        let runs = (0..24).flat_map(|run| [(run, 1, percent(run)), (run, 2, 60.0)]);
        let folder = folder(runs.map(|(run, threads, percent)| Line {
            noise_percent: (threads == 2 && run > 20).then_some(0.5 + run as f64),
            ..line(run, threads, percent)
        }));
        let series = read(folder.path()).unwrap();
        assert_eq!(series.iter().map(|series| series.points.len()).collect::<Vec<_>>(), [24, 24]);
        let text = text("a-machine", &series);
        assert!(text.contains("0000012 (-12.5 %)"), "{text}");
        assert_eq!(text.matches("(-").count(), 1, "{text}");
        assert_eq!(text.matches("22.5 %").count(), 1, "{text}");
        let svg = picture("gemm", &series.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(svg.matches("r=\"7\"").count(), 1);
        assert_eq!(svg.matches("r=\"2\"").count(), 48);
        assert!(svg.contains("8x8x8; 2 x avx2: 60.0 %"));
    }

    #[test]
    fn one_run_can_be_drawn() {
        let folder = folder([line(0, 1, 50.0)].into_iter());
        let series = read(folder.path()).unwrap();
        let svg = picture("gemm", &series.iter().collect::<Vec<_>>()).unwrap();
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn a_bad_line_is_named() {
        let folder = folder([line(0, 1, 50.0)].into_iter());
        fs::write(folder.path().join("x.jsonl"), "{}\n").unwrap();
        let error = read(folder.path()).err().unwrap().to_string();
        assert!(error.contains("x.jsonl: line 1: missing field"), "{error}");
    }
}
