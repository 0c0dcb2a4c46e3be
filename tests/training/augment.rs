//! What is drawn for training images: its ranges and how often each comes, what it does to an image, and
//! that it depends on seed, epoch and the sample's number alone.

use std::ops::ControlFlow;

use threadcount::data::{
    Augment, Draws, Picks, Samples, Scale, Scaling, Shape, Split, TargetBuffer, gather,
};
use threadcount::nn::{Activation, dense, flatten};
use threadcount::train::{Session, Task};
use threadcount_kernels::augment::{ImageShape, Motion, Rectangle, Warp};
use threadcount_kernels::gather::Cut;
use threadcount_kernels::{Isa, Pool, Team, naive};

const NONE: Augment = Augment { rotate: 0.0, scale: 0.0, shift: 0, flip: false, erase: 0.0 };
const IMAGE: ImageShape = [28, 28, 1];
/// Draws of each test of how often something comes.
const MANY: u32 = 20_000;

fn warps(augment: Augment, shape: ImageShape) -> impl Iterator<Item = Warp> {
    let draws = Draws::new(augment, 3, 5);
    (0..MANY).map(move |sample| draws.warp(sample, shape))
}

/// Asserts that `count` of so many trials, each of probability `p`, is within five standard deviations.
#[track_caller]
fn likely(count: usize, trials: usize, p: f64) {
    let (mean, trials) = (trials as f64 * p, trials as f64);
    let deviation = (trials * p * (1.0 - p)).sqrt();
    assert!((count as f64 - mean).abs() <= 5.0 * deviation, "{count} of {trials}, not {mean}");
}

/// Asserts that values are uniform from `low` to `high`: as many in each twentieth, the ends reached.
#[track_caller]
fn uniform(values: &[f64], low: f64, high: f64) {
    const PARTS: usize = 20;
    let mut counts = [0; PARTS];
    for value in values {
        assert!((low..=high).contains(value), "{value} is not in {low} to {high}");
        counts[(((value - low) / (high - low) * PARTS as f64) as usize).min(PARTS - 1)] += 1;
    }
    counts.iter().for_each(|&count| likely(count, values.len(), 1.0 / PARTS as f64));
}

#[test]
fn nothing_is_drawn_by_default() {
    assert_eq!(Augment::default(), NONE);
    assert!(NONE.is_none());
    for warp in warps(NONE, IMAGE) {
        assert_eq!(warp, Warp::NONE);
    }
    for some in [
        Augment { rotate: 1.0, ..NONE },
        Augment { scale: 0.1, ..NONE },
        Augment { shift: 1, ..NONE },
        Augment { flip: true, ..NONE },
        Augment { erase: 0.1, ..NONE },
    ] {
        assert!(!some.is_none());
    }
}

#[test]
fn every_shift_is_as_probable() {
    for shift in [1, 2, 7] {
        let side = 2 * shift as usize + 1;
        let mut counts = vec![0; side * side];
        for warp in warps(Augment { shift, ..NONE }, IMAGE) {
            let Motion::Shift { right, down, mirrored: false } = warp.motion else { panic!() };
            assert!(warp.erased == Rectangle::EMPTY);
            let [right, down] = [right, down].map(|by| (by + shift as isize) as usize);
            assert!(right < side && down < side);
            counts[down * side + right] += 1;
        }
        let p = 1.0 / (side * side) as f64;
        counts.iter().for_each(|&count| likely(count, MANY as usize, p));
    }
}

#[test]
fn half_of_the_images_are_mirrored() {
    let is_mirrored = |warp: Warp| matches!(warp.motion, Motion::Shift { mirrored: true, .. });
    let flips: Vec<bool> = warps(Augment { flip: true, ..NONE }, IMAGE).map(is_mirrored).collect();
    likely(flips.iter().filter(|&&flip| flip).count(), MANY as usize, 0.5);
    // No pattern from one sample to the next.
    let pairs = flips.windows(2).filter(|pair| pair[0] == pair[1]).count();
    likely(pairs, MANY as usize - 1, 0.5);
}

/// Angle in degrees and factor of a map that mirrors nothing.
fn turn(motion: Motion) -> (f64, f64) {
    let Motion::Affine { x_from, y_from } = motion else { panic!("{motion:?}") };
    let [cos, sin] = [x_from[0], x_from[1]].map(f64::from);
    // Both axes alike.
    assert!(x_from[0] == y_from[1] && x_from[1] == -y_from[0]);
    (sin.atan2(cos).to_degrees(), 1.0 / sin.hypot(cos))
}

#[test]
fn angles_and_factors_are_uniform() {
    let (angles, factors): (Vec<f64>, Vec<f64>) =
        warps(Augment { rotate: 30.0, ..NONE }, IMAGE).map(|warp| turn(warp.motion)).unzip();
    uniform(&angles, -30.00001, 30.00001);
    assert!(factors.iter().all(|factor| (factor - 1.0).abs() < 1e-6));
    let (angles, factors): (Vec<f64>, Vec<f64>) =
        warps(Augment { scale: 0.25, ..NONE }, IMAGE).map(|warp| turn(warp.motion)).unzip();
    uniform(&factors, 0.749999, 1.250001);
    assert!(angles.iter().all(|angle| angle.abs() < 1e-6));
    // Of both, neither depends on the other.
    let (angles, factors): (Vec<f64>, Vec<f64>) =
        warps(Augment { rotate: 180.0, scale: 0.5, ..NONE }, IMAGE)
            .map(|warp| turn(warp.motion))
            .unzip();
    uniform(&angles, -180.0, 180.0);
    uniform(&factors, 0.499999, 1.500001);
    let both = angles.iter().zip(&factors).filter(|(a, f)| (**a > 0.0) == (**f > 1.0)).count();
    likely(both, MANY as usize, 0.5);
}

#[test]
fn rectangles_are_those_of_random_erasing() {
    let (height, width) = (40_usize, 60_usize);
    let rectangles: Vec<Rectangle> =
        warps(Augment { erase: 0.3, ..NONE }, [height, width, 3]).map(|warp| warp.erased).collect();
    let erased: Vec<_> = rectangles.iter().filter(|r| **r != Rectangle::EMPTY).collect();
    likely(erased.len(), MANY as usize, 0.3);
    let all = (height * width) as f64;
    let (mut areas, mut logs) = (Vec::new(), Vec::new());
    let (mut left, mut top, mut room) = (0.0, 0.0, 0);
    for r in &erased {
        // What it was before rows and columns were rounded: within half of each.
        let (rows, columns) = (r.height as f64, r.width as f64);
        assert!((rows + 0.5) * (columns + 0.5) >= 0.02 * all, "{r:?}");
        assert!((rows - 0.5) * (columns - 0.5) <= 0.33 * all, "{r:?}");
        assert!((rows + 0.5) / (columns - 0.5) >= 0.3 && (rows - 0.5) / (columns + 0.5) <= 3.3);
        assert!(r.height < height && r.width < width);
        assert!(r.left + r.width <= width && r.top + r.height <= height, "{r:?}");
        areas.push(rows * columns / all);
        logs.push((rows / columns).ln());
        // How far along its way it lies.
        left += r.left as f64 / (width - r.width) as f64;
        top += r.top as f64 / (height - r.height) as f64;
        room += 1;
    }
    let n = f64::from(room);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    // A tall rectangle that does not fit is drawn again: areas and aspects are somewhat smaller.
    assert!((0.155..0.180).contains(&mean(&areas)), "{}", mean(&areas));
    assert!((-0.12..0.02).contains(&mean(&logs)), "{}", mean(&logs));
    assert!(areas.iter().any(|&area| area < 0.025) && areas.iter().any(|&area| area > 0.32));
    assert!(logs.iter().any(|&log| log < -1.1) && logs.iter().any(|&log| log > 1.1));
    assert!((left / n - 0.5).abs() < 0.02 && (top / n - 0.5).abs() < 0.02);
    for edge in [
        |r: &Rectangle, _: [usize; 2]| r.left == 0,
        |r: &Rectangle, _: [usize; 2]| r.top == 0,
        |r: &Rectangle, [_, width]: [usize; 2]| r.left + r.width == width,
        |r: &Rectangle, [height, _]: [usize; 2]| r.top + r.height == height,
    ] {
        assert!(erased.iter().any(|r| edge(r, [height, width])));
    }
    // Nothing fits an image of one pixel.
    for warp in warps(Augment { erase: 1.0, ..NONE }, [1, 1, 1]).take(100) {
        assert_eq!(warp.erased.width * warp.erased.height, 0);
    }
    let certain = warps(Augment { erase: 1.0, ..NONE }, IMAGE);
    assert_eq!(certain.filter(|warp| warp.erased == Rectangle::EMPTY).count(), 0);
}

const ALL: Augment = Augment { rotate: 25.0, scale: 0.2, shift: 3, flip: true, erase: 0.5 };

/// Mirrored, then turned and made larger about the centre, then shifted: written the way forth, in f64.
#[test]
fn a_map_leads_back_to_where_a_pixel_comes_from() {
    let shape = [20, 31, 1];
    let moved = |sample| {
        let draws = |augment| Draws::new(augment, 3, 5).warp(sample, shape).motion;
        let Motion::Shift { right, down, mirrored } =
            draws(Augment { rotate: 0.0, scale: 0.0, ..ALL })
        else {
            panic!()
        };
        let (angle, _) = turn(draws(Augment { rotate: ALL.rotate, ..NONE }));
        let (_, factor) = turn(draws(Augment { scale: ALL.scale, ..NONE }));
        // The same are drawn whatever else is on.
        let Motion::Affine { x_from, y_from } = draws(ALL) else { panic!() };
        (right as f64, down as f64, mirrored, angle.to_radians(), factor, x_from, y_from)
    };
    for sample in 0..200 {
        let (right, down, mirrored, angle, factor, x_from, y_from) = moved(sample);
        for (u, v) in [(0.0, 0.0), (30.0, 0.0), (7.0, 19.0), (15.0, 9.5)] {
            let u_mirrored = if mirrored { 30.0 - u } else { u };
            let (dx, dy) = (u_mirrored - 15.0, v - 9.5);
            let (sin, cos) = angle.sin_cos();
            let x = 15.0 + factor * (cos * dx - sin * dy) + right;
            let y = 9.5 + factor * (sin * dx + cos * dy) + down;
            let back = |from: [f32; 3]| {
                let [a, b, c] = from.map(f64::from);
                a * x + b * y + c
            };
            assert!((back(x_from) - u).abs() < 1e-4, "{sample}: {} for {u}", back(x_from));
            assert!((back(y_from) - v).abs() < 1e-4, "{sample}: {} for {v}", back(y_from));
        }
    }
}

/// Part of every run's bits. The numbers are another program's, which knows SplitMix64 and the formulas.
#[test]
fn draws_stay_what_they_are() {
    let copied = Augment { rotate: 0.0, scale: 0.0, erase: 1.0, ..ALL };
    let of = |augment, seed, epoch, sample| Draws::new(augment, seed, epoch).warp(sample, IMAGE);
    let shown: Vec<String> = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (7, 3, 59_999)]
        .into_iter()
        .map(|(seed, epoch, sample)| {
            let Warp { motion: Motion::Shift { right, down, mirrored }, erased: r } =
                of(copied, seed, epoch, sample)
            else {
                panic!()
            };
            let Motion::Affine { x_from, y_from } = of(ALL, seed, epoch, sample).motion else {
                panic!()
            };
            let bits = [x_from, y_from].map(|from| from.map(f32::to_bits)).concat();
            let hash = bits.iter().fold(0_u32, |hash, bits| hash.rotate_left(5) ^ bits);
            format!(
                "{right} {down} {mirrored} {} {} {} {} {hash:08x}",
                r.left, r.top, r.width, r.height
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "1 -1 false 10 1 7 11 b511a468",
            "-2 1 false 4 2 9 20 a7f3a336",
            "0 0 true 8 3 12 16 b77b6257",
            "0 1 false 5 9 19 12 7e55903d",
            "1 -1 false 4 0 18 8 a3e85e37",
        ]
    );
}

#[test]
fn draws_differ_by_seed_epoch_and_sample() {
    let of = |seed, epoch, sample| Draws::new(ALL, seed, epoch).warp(sample, IMAGE);
    assert_eq!(of(1, 2, 3), of(1, 2, 3));
    for other in [of(2, 2, 3), of(1, 3, 3), of(1, 2, 4), of(2, 1, 3), of(1, 3, 2), of(3, 2, 1)] {
        assert_ne!(of(1, 2, 3).motion, other.motion);
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Samples of `[9, 7, 3]`, as bytes or as floats.
fn samples(as_floats: bool, n: usize) -> Samples {
    let shape = Shape::Image([9, 7, 3]);
    let (bytes, labels) = (noise(n * shape.len()), vec![0_u8; n]);
    match as_floats {
        false => Samples::new(shape, bytes, &labels).unwrap(),
        true => {
            let floats: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 3.0 - 20.0).collect();
            Samples::new(shape, floats, &labels).unwrap()
        }
    }
}

/// In batches of any size and order, on any number of threads, a sample is augmented as its number says.
#[test]
fn a_batch_is_augmented_by_the_numbers_of_its_samples() {
    const N: usize = 50;
    for as_floats in [false, true] {
        let all = samples(as_floats, N);
        // A part of them: numbers count within it.
        let train = all.range(3..N);
        let inputs = train.shape().len();
        for scaling in [Scaling::Unit, Scaling::Standardise] {
            let scale = Scale::fit(scaling, &train);
            for augment in [ALL, Augment { rotate: 0.0, scale: 0.0, ..ALL }] {
                let draws = Draws::new(augment, 1, 2);
                let twin = |pick: u32| {
                    let (shape, mut row) = ([9, 7, 3], vec![f32::NAN; inputs]);
                    let (factors, offsets) = (scale.factors(), scale.offsets());
                    let warp = |_| draws.warp(pick, shape);
                    match train.row(pick as usize) {
                        threadcount::data::Row::Bytes(x) => {
                            naive::augment::scaled(shape, |_| x, warp, factors, offsets, &mut row);
                        }
                        threadcount::data::Row::Floats(x) => {
                            naive::augment::scaled(shape, |_| x, warp, factors, offsets, &mut row);
                        }
                    }
                    row
                };
                let order: Vec<u32> = (0..40).map(|i| i * 29 % 47).collect();
                let expected: Vec<f32> = order.iter().flat_map(|&pick| twin(pick)).collect();
                for (isa, threads, size) in Isa::detected()
                    .flat_map(|isa| [(isa, 1, 40), (isa, 1, 1), (isa, 2, 16), (isa, 3, 40)])
                {
                    let mut found = Vec::new();
                    Pool::new(isa, threads).unwrap().enter(|team| {
                        for (at, now) in order.chunks(size).enumerate() {
                            let mut out = vec![f32::NAN; now.len() * inputs];
                            let mut targets = TargetBuffer::new(&train, size);
                            let next = &order[order.len().min((at + 1) * size)..];
                            let cut = if at.is_multiple_of(2) { Cut::Rows } else { Cut::Columns };
                            let picks = Picks { now, next, cut, draws: Some(draws) };
                            gather(team, &train, &scale, picks, &mut out, &mut targets);
                            found.extend(out);
                        }
                    });
                    let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(found.len() == expected.len() && same, "{isa}, {threads}, {size}");
                }
            }
        }
    }
}

/// An erased pixel is a zero byte: after standardisation it is what black is there.
#[test]
fn what_is_erased_is_black_before_scaling() {
    let train = samples(false, 20);
    let scale = Scale::fit(Scaling::Standardise, &train);
    let draws = Draws::new(Augment { erase: 1.0, ..NONE }, 1, 0);
    let mut out = vec![f32::NAN; 20 * train.shape().len()];
    let order: Vec<u32> = (0..20).collect();
    let picks = Picks { now: &order, next: &[], cut: Cut::Rows, draws: Some(draws) };
    let mut targets = TargetBuffer::new(&train, 20);
    gather(&Team::solo(Isa::best()), &train, &scale, picks, &mut out, &mut targets);
    let mut erased = 0;
    for sample in 0..20 {
        let r = draws.warp(sample, [9, 7, 3]).erased;
        for (y, x, c) in (r.top..r.top + r.height).flat_map(|y| {
            (r.left..r.left + r.width).flat_map(move |x| (0..3).map(move |c| (y, x, c)))
        }) {
            let j = (y * 7 + x) * 3 + c;
            assert_eq!(out[sample as usize * 189 + j], scale.offsets()[j]);
            erased += 1;
        }
    }
    assert!(erased > 100, "{erased}");
}

fn trained(task: &Task, split: &Split, threads: usize) -> (Vec<u32>, Vec<[f64; 2]>) {
    let mut session = Session::new(task, split, 5).unwrap();
    Pool::new(Isa::best(), threads).unwrap().enter(|team| {
        session.train(team, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap();
    });
    let epochs = &session.progress().history.epochs;
    let losses = epochs.iter().map(|epoch| [epoch.loss, epoch.val_loss]).collect();
    (session.network().params().iter().map(|param| param.to_bits()).collect(), losses)
}

/// With a rate so low that no weight moves, the loss of an epoch tells what its images were.
#[test]
fn epochs_differ_in_training_and_not_in_validation() {
    let all = samples(false, 60);
    let labels: Vec<u8> = (0..60).map(|i| i % 3).collect();
    let all = Samples::new(all.shape(), noise(60 * 189), &labels).unwrap();
    let split = Split::new(all.range(0..40), all.range(40..60));
    let task = Task {
        augment: ALL,
        layers: vec![flatten(), dense(3, Activation::Linear)],
        optimizer: threadcount::nn::Optimizer::sgd().with_learning_rate(1e-30),
        epochs: 3,
        batch_size: 16,
        ..Task::default()
    };
    let (_, losses) = trained(&task, &split, 1);
    assert!(losses[0][0] != losses[1][0] && losses[1][0] != losses[2][0]);
    let plain = Task { augment: NONE, ..task.clone() };
    let (_, plain) = trained(&plain, &split, 1);
    for (augmented, plain) in losses.iter().zip(&plain) {
        assert_eq!(augmented[1], plain[1], "validation");
    }
    // Pictures do not depend on the batch size.
    let (_, other) = trained(&Task { batch_size: 7, ..task.clone() }, &split, 1);
    assert!((other[2][0] - losses[2][0]).abs() < 1e-5, "{} {}", other[2][0], losses[2][0]);
    // Nor bits on the number of threads.
    let learning = Task { optimizer: threadcount::nn::Optimizer::adam(), ..task };
    let one = trained(&learning, &split, 1);
    for threads in [2, 3] {
        assert!(trained(&learning, &split, threads) == one, "{threads} threads");
    }
}

#[test]
fn what_cannot_be_augmented_is_refused_before_a_session() {
    let refused = |augment, shape: Shape| {
        let n = shape.len();
        let samples = Samples::new(shape, vec![0_u8; 4 * n], &[0, 1, 0, 1]).unwrap();
        let split = Split::new(samples.range(0..2), samples.range(2..4));
        let layers = vec![flatten(), dense(2, Activation::Linear)];
        let task = Task { augment, layers, ..Task::default() };
        Session::new(&task, &split, 0).err().map(|error| error.to_string())
    };
    let flip = Augment { flip: true, ..NONE };
    for shape in [Shape::Flat(12), Shape::Rows([3, 4])] {
        let message = refused(flip, shape).unwrap();
        assert!(message.starts_with("augment: samples of shape ("), "{message}");
        assert_eq!(refused(NONE, shape), None);
    }
    assert_eq!(refused(flip, Shape::Image([3, 4, 1])), None);
    let shift = |shift| refused(Augment { shift, ..NONE }, Shape::Image([3, 4, 1]));
    assert_eq!(shift(2), None);
    assert!(shift(3).unwrap().starts_with("augment: a shift of 3 leaves nothing"));
    let wide = Shape::Image([1, 65_537, 1]);
    assert!(refused(flip, wide).unwrap().contains("1x65537 are too large"), "{wide}");
    for (augment, wanted) in [
        (Augment { rotate: -1.0, ..NONE }, "rotate"),
        (Augment { scale: 1.0, ..NONE }, "scale"),
        (Augment { erase: f64::NAN, ..NONE }, "erase"),
    ] {
        let message = refused(augment, Shape::Image([3, 4, 1])).unwrap();
        assert!(message.starts_with(&format!("augment: {wanted} is ")), "{message}");
    }
}

#[test]
fn options_are_read_and_written() {
    for text in ["none", "rotate=10", "scale=0.1,shift=2,flip", "rotate=7.5,erase=0.25", "flip"] {
        assert_eq!(text.parse::<Augment>().unwrap().to_string(), text);
    }
    let spaced: Augment = " flip , shift = 3".parse().unwrap();
    assert_eq!(spaced, Augment { shift: 3, flip: true, ..NONE });
    for name in Augment::NAMES {
        let text = if name == "flip" { name.to_owned() } else { format!("{name}=0") };
        text.parse::<Augment>().unwrap();
    }
    for text in ["", "flip,", "none,flip", "rotate", "rotate=", "shift=1.5", "scale=1", "x=1"] {
        assert!(text.parse::<Augment>().is_err(), "{text}");
    }
}
