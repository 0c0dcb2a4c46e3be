//! `cargo perf roofline`: every kernel and step below the roofs of this machine, by how many operations
//! it does for each byte (Williams, Waterman and Patterson 2009).

use crate::picture::{Area, COLOURS, Drawn, GRID, INK, font, svg};
use crate::program::{Program, Side, data};
use crate::protocol::{Benchmark, Limit, Sampled};
use crate::statistics::medians;
use crate::suite::{STEP, Selection};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::ops::Range;
use std::path::PathBuf;
use threadcount::bench::{Limits, warm_up};
use threadcount::cli::{self, DataFlag, Steps, markdown};
use threadcount::files::write_atomically;
use threadcount::{Result, console};
use threadcount_kernels::Isa;
use threadcount_kernels::peak::Level;

/// Samples of each benchmark.
const SAMPLES: usize = 7;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    data: DataFlag,
    /// The picture
    #[arg(long, value_name = "FILE", default_value = "roofline.svg")]
    out: PathBuf,
}

/// The roofs of so many threads, and what stands below them.
struct Panel {
    isa: String,
    limits: Limits,
    points: Vec<Point>,
}

/// A benchmark below the roofs.
struct Point {
    benchmark: Benchmark,
    kind: Kind,
    /// Operations for each byte.
    intensity: f64,
    gflops: f64,
    /// The share of what bounds it, in per cent, and what that is.
    percent: Option<f64>,
    limit: Limit,
}

/// The kinds of benchmarks that have colours of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Product,
    Convolution,
    Elementwise,
    Step,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Product, Self::Convolution, Self::Elementwise, Self::Step];

    fn of(name: &str, limit: &Limit) -> Self {
        match limit {
            Limit::Read(_) => Self::Elementwise,
            Limit::Fma if name.starts_with(STEP) => Self::Step,
            Limit::Fma if name.starts_with("conv-") => Self::Convolution,
            Limit::Fma => Self::Product,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Product => "matrix products",
            Self::Convolution => "convolutions, fused ones too",
            Self::Elementwise => "elementwise, one operation counted for each number written",
            Self::Step => "whole training steps",
        }
    }

    fn colour(self) -> RGBColor {
        COLOURS[self as usize]
    }
}

pub fn run(args: &Args) -> Result<()> {
    let benchmarks = args.selection.benchmarks()?;
    let program = Program::this("program", data(&args.data, &benchmarks)?)?;
    let mut panels = Vec::new();
    for (isa, threads) in conditions(&benchmarks) {
        let pool = cli::pool(Isa::from_name(isa)?, threads)?;
        warm_up(&pool);
        let limits = pool.enter(Limits::measure)?;
        panels.push(Panel { isa: isa.to_owned(), limits, points: Vec::new() });
    }
    let progress = Steps::new(benchmarks.len());
    let mut worker = program.start(0)?;
    for benchmark in &benchmarks {
        progress.begin(&benchmark.to_string());
        let (prepared, samples) = worker.samples(benchmark, SAMPLES)?;
        let Sampled { seconds, share_of_limit } = medians(&samples);
        let work = prepared.work;
        let point = Point {
            kind: Kind::of(&benchmark.name, &work.limit),
            intensity: work.flops / work.bytes,
            gflops: work.flops / seconds / 1e9,
            percent: share_of_limit.map(|share| 100.0 * share),
            limit: work.limit,
            benchmark: benchmark.clone(),
        };
        let panel = panels.iter_mut().find(|panel| {
            (&panel.isa, panel.limits.threads) == (&benchmark.isa, benchmark.threads)
        });
        panel.expect("a panel for each of the conditions").points.push(point);
    }
    drop(progress);
    write_atomically(&args.out, picture(&panels)?.as_bytes())?;
    console::print(&format!("{}\n{}\n", text(&panels), args.out.display()))
}

/// The instruction sets and numbers of threads of benchmarks, each once: more than are selected, because some steps run
/// on every instruction set.
fn conditions(benchmarks: &[Benchmark]) -> Vec<(&str, usize)> {
    let mut all: Vec<(&str, usize)> = Vec::new();
    for condition in benchmarks.iter().map(|one| (&one.isa[..], one.threads)) {
        if !all.contains(&condition) {
            all.push(condition);
        }
    }
    all
}

/// All points in figures.
fn text(panels: &[Panel]) -> String {
    let header = ["benchmark", "threads", "isa", "flop/byte", "GFLOP/s", "limit", "% of it"];
    let mut table = markdown(&header, &["benchmark", "isa", "limit"]);
    for point in panels.iter().flat_map(|panel| &panel.points) {
        table.add_row([
            point.benchmark.name.clone(),
            point.benchmark.threads.to_string(),
            point.benchmark.isa.clone(),
            format!("{:.2}", point.intensity),
            format!("{:.1}", point.gflops),
            point.limit.to_string(),
            point.percent.map_or("-".into(), |percent| format!("{percent:.1}")),
        ]);
    }
    format!(
        "{table}\n\nBytes: what is read and written, each operand once; of a step, each layer's inputs and \
         outputs on\nboth ways, and every parameter.\n"
    )
}

const PANEL: (u32, u32) = (760, 640);

fn picture(panels: &[Panel]) -> Result<String> {
    let size = (PANEL.0 * panels.len().max(1) as u32, PANEL.1 + 70);
    svg(size, |root| {
        let (header, body) = root.split_vertically(40);
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            let x = 40 + [0, 160, 390, 810][index];
            header.draw(&Circle::new((x, 24), 5, kind.colour().filled()))?;
            header.draw(&Text::new(kind.name(), (x + 10, 24), font(15, INK)))?;
        }
        for (area, panel) in body.split_evenly((1, panels.len().max(1))).iter().zip(panels) {
            draw(area, panel)?;
        }
        Ok(())
    })
}

/// The powers of ten around positive numbers.
fn decades(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let values = values.filter(|value| *value > 0.0 && value.is_finite());
    let low = values.clone().fold(f64::INFINITY, f64::min).min(1.0);
    let high = values.fold(0.0, f64::max).max(2.0 * low);
    10_f64.powf(low.log10().floor())..10_f64.powf(high.log10().ceil())
}

fn draw(area: &Area<'_>, panel: &Panel) -> Drawn {
    let Panel { isa, limits, points } = panel;
    let peak = limits.fma_gflops;
    let x_range = decades(points.iter().map(|point| point.intensity).chain([0.05, 100.0]));
    let y_range = decades(points.iter().map(|point| point.gflops).chain([peak]));
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{}, {isa}", cli::threads(limits.threads)), font(20, INK))
        .margin(10)
        .margin_right(150)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(x_range.clone().log_scale(), y_range.clone().log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(INK)
        .label_style(font(14, INK))
        .x_desc("operations for each byte")
        .y_desc("GFLOP/s")
        .x_label_formatter(&|x| format!("{x}"))
        .y_label_formatter(&|y| format!("{y}"))
        .draw()?;

    let style = INK.stroke_width(2);
    // The levels' ceilings end where they meet that of the multiply-adds.
    let reads = Level::ALL.into_iter().filter_map(|level| Some((level, limits.read(level)?)));
    let mut nearest = f64::INFINITY;
    for (level, rate) in reads {
        let meet = peak / rate;
        nearest = nearest.min(meet);
        let begin = x_range.start.max(y_range.start / rate);
        chart.draw_series(LineSeries::new([(begin, begin * rate), (meet, peak)], INK))?;
        let label = format!("{} {rate:.0} GB/s", level.name());
        // Beside its line, each level a bit further up: the first to the left, where no other line runs.
        let at = begin * (meet / begin).powf(0.3 + 0.15 * level as usize as f64);
        let (side, off) = match level {
            Level::L1 => (HPos::Right, 1.0 / 1.15),
            _ => (HPos::Left, 1.15),
        };
        let (x, y) = (at * off, at * rate / off);
        let style = font(13, INK).pos(Pos::new(side, VPos::Center));
        chart.draw_series([Text::new(label, (x, y), style)])?;
    }
    chart.draw_series(LineSeries::new(
        [(nearest.min(x_range.end), peak), (x_range.end, peak)],
        style,
    ))?;
    let fma = format!("FMA {peak:.0} GFLOP/s");
    let at = (x_range.end / 12.0, peak * 1.2);
    chart.draw_series([Text::new(fma, at, font(13, INK))])?;

    for point in points {
        let dot = Circle::new((point.intensity, point.gflops), 3, point.kind.colour().filled());
        chart.draw_series([dot])?;
    }
    // Names of the steps beside the chart, in the order of their height, with a line to each.
    let mut steps: Vec<(i32, (i32, i32), &Point)> = points
        .iter()
        .filter(|point| point.kind == Kind::Step)
        .map(|point| {
            let at = chart.backend_coord(&(point.intensity, point.gflops));
            (at.1, at, point)
        })
        .collect();
    steps.sort_by_key(|step| step.0);
    let (origin_x, origin_y) = area.get_base_pixel();
    let mut free = 60;
    for (y, (x, _), point) in steps {
        let label_y = (y - origin_y).max(free);
        free = label_y + 15;
        let from = (x - origin_x, y - origin_y);
        let to = (PANEL.0 as i32 - 148, label_y);
        let colour = Kind::Step.colour();
        area.draw(&PathElement::new([from, to], colour.mix(0.3).stroke_width(1)))?;
        let name = point.benchmark.name.strip_prefix(STEP).unwrap_or(&point.benchmark.name);
        area.draw(&Text::new(name, (to.0 + 3, to.1), font(13, colour)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(points: Vec<Point>) -> Panel {
        let limits = Limits {
            threads: 2,
            fma_gflops: 200.0,
            bf16_gflops: 200.0,
            f32_split_gflops: 33.0,
            l1_gbytes_per_second: Some(400.0),
            l2_gbytes_per_second: Some(200.0),
            l3_gbytes_per_second: None,
            dram_gbytes_per_second: Some(40.0),
        };
        Panel { isa: "avx2".into(), limits, points }
    }

    fn point(name: &str, limit: Limit, intensity: f64, gflops: f64) -> Point {
        let benchmark = Benchmark { name: name.into(), isa: "avx2".into(), threads: 2 };
        let kind = Kind::of(name, &limit);
        Point { benchmark, kind, intensity, gflops, percent: Some(12.5), limit }
    }

    #[test]
    fn every_point_is_drawn_below_its_roofs() {
        let read = || Limit::Read("L2".into());
        let points = vec![
            point("gemm 8x8x8", Limit::Fma, 8.0, 150.0),
            point("conv-forward x", Limit::Fma, 40.0, 190.0),
            point("relu-forward x", read(), 0.125, 5.0),
            point("step biu-base", Limit::Fma, 4.0, 100.0),
            point("step nlp-rnn", Limit::Fma, 4.0, 100.0),
        ];
        let panels = [panel(points)];
        let svg = picture(&panels).unwrap();
        assert_eq!(svg.matches("r=\"3\"").count(), 5);
        for text in ["biu-base", "nlp-rnn", "L1 400 GB/s", "DRAM 40 GB/s", "FMA 200 GFLOP/s"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("L3") && !svg.contains("NaN"));
        assert!(self::text(&panels).contains("12.5"));
    }

    #[test]
    fn every_benchmark_has_a_panel() {
        let benchmarks = Selection::default().benchmarks().unwrap();
        let all = conditions(&benchmarks);
        assert!(Isa::detected().all(|isa| all.contains(&(isa.name(), 1))), "{all:?}");
        let of = |one: &Benchmark| all.iter().filter(|&&of| of == (&one.isa, one.threads)).count();
        assert!(benchmarks.iter().all(|one| of(one) == 1), "{all:?}");
    }

    #[test]
    fn nothing_can_be_drawn() {
        assert!(!picture(&[panel(Vec::new())]).unwrap().contains("NaN"));
        assert_eq!(decades([0.3, 70.0].into_iter()), 0.1..100.0);
    }
}
