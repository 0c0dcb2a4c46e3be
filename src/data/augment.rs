//! Augmentation: in every epoch, training images are rotated, scaled, shifted, mirrored and partly erased in
//! a new way. What is drawn for an image depends only on the seed, the epoch and the number of its sample.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use threadcount_kernels::augment::{self as kernel, ImageShape, Motion, Rectangle, Warp};
use threadcount_kernels::gather::{Batch, Cut};
use threadcount_kernels::{Isa, Team};

use super::shape::Shape;
use crate::names::shortened;
use crate::random::{Key, Purpose};
use crate::{Error, Result};

/// How training images are augmented; by default they are not. Validation and test images never are.
///
/// An image is first mirrored, then rotated and scaled about its centre, then shifted; last, a rectangle is
/// erased. Pixels from outside of the image are zero before inputs are scaled: black. With `rotate` or
/// `scale`, pixels are interpolated bilinearly between four (torchvision's `InterpolationMode.BILINEAR`);
/// without them, pixels are copied unchanged.
///
/// ```
/// use threadcount::data::Augment;
///
/// let augment: Augment = "rotate=10,shift=2,flip".parse()?;
/// assert_eq!(augment, Augment { rotate: 10.0, shift: 2, flip: true, ..Augment::default() });
/// # Ok::<(), threadcount::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Augment {
    /// The largest rotation about the centre in degrees, 0 to 180: the angle is uniform from `-rotate` to
    /// `rotate` (torchvision's `RandomRotation(rotate)`).
    pub rotate: f64,
    /// Images become `1 - scale` to `1 + scale` times as large, uniformly, the same along both axes; from 0
    /// to below 1 (torchvision's `RandomAffine(0, scale=(1 - scale, 1 + scale))`).
    pub scale: f64,
    /// The largest shift along each axis in pixels: every whole number from `-shift` to `shift` is equally
    /// probable (torchvision's `RandomCrop(size, padding=shift)`).
    pub shift: u32,
    /// Half of the images are mirrored left to right (torchvision's `RandomHorizontalFlip(0.5)`).
    pub flip: bool,
    /// The probability, 0 to 1, with which a rectangle of an image becomes zero before inputs are scaled:
    /// black. The rectangle has 2 to 33 % of the area, uniformly, and 0.3 to 3.3 times as many rows as
    /// columns, uniformly in the logarithm (torchvision's `RandomErasing(erase)` ahead of `Normalize`). Of
    /// ten such draws, the first rectangle that is smaller than the image along both axes is used; if there
    /// is none, nothing is erased.
    pub erase: f64,
}

impl Augment {
    /// The names of the settings, as files and options spell them.
    pub const NAMES: [&'static str; 5] = ["rotate", "scale", "shift", "flip", "erase"];

    /// Whether images stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses settings that are out of range.
    ///
    /// # Errors
    /// [`Error::Usage`] with the setting and its range.
    pub fn check(&self) -> Result<()> {
        self.fault().map_or(Ok(()), usage)
    }

    /// Also refuses settings that do not fit samples of this shape.
    ///
    /// # Errors
    /// [`Error::Usage`] if the samples are not images, or if a shift can leave nothing of an image.
    pub fn check_shape(&self, shape: Shape) -> Result<()> {
        self.check()?;
        if self.is_none() {
            return Ok(());
        }
        let Shape::Image([height, width, channels]) = shape else {
            return usage(format!("samples of shape {shape} are no images; leave it out"));
        };
        if !kernel::takes([height, width, channels]) {
            return usage(format!("images of {height}x{width} are too large for it; leave it out"));
        }
        if self.shift as usize >= height.min(width) {
            return usage(format!(
                "a shift of {} leaves nothing of some images, which are {height}x{width}; take less",
                self.shift
            ));
        }
        Ok(())
    }

    /// The setting that is out of range, and its range.
    fn fault(&self) -> Option<String> {
        let Self { rotate, scale, shift: _, flip: _, erase } = *self;
        if !(0.0..=180.0).contains(&rotate) {
            return Some(format!("rotate is in degrees, from 0 to 180, not {rotate}"));
        }
        if !(0.0..1.0).contains(&scale) {
            return Some(format!("scale is a share of the size, from 0 to below 1, not {scale}"));
        }
        if !(0.0..=1.0).contains(&erase) {
            return Some(format!("erase is a probability, from 0 to 1, not {erase}"));
        }
        None
    }
}

fn usage(fault: String) -> Result<()> {
    Err(Error::Usage(format!("augment: {fault}")))
}

fn fault(fault: String) -> Error {
    Error::Setting { name: "augment", fault }
}

/// The syntax of options: `rotate=10,scale=0.1,shift=2,flip,erase=0.2`; settings that are left out are off.
/// `none` turns all of them off.
impl FromStr for Augment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut augment = Self::default();
        if text == "none" {
            return Ok(augment);
        }
        let mut seen = Vec::new();
        for item in text.split(',').map(str::trim) {
            let (name, value) = match item.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (item, None),
            };
            let Some(&name) = Self::NAMES.iter().find(|&&known| known == name) else {
                let names = Self::NAMES.join(", ");
                return Err(fault(format!(
                    "there is no {:?}; there are {names}, and none",
                    shortened(item)
                )));
            };
            if seen.contains(&name) {
                return Err(fault(format!("{name} is there twice")));
            }
            seen.push(name);
            match (name, value) {
                ("flip", None) => augment.flip = true,
                ("flip", Some(_)) => return Err(fault("flip has no value: write flip".to_owned())),
                (_, None) => return Err(fault(format!("{name} has no value: write {name}=..."))),
                ("rotate", Some(value)) => augment.rotate = number(name, value)?,
                ("scale", Some(value)) => augment.scale = number(name, value)?,
                ("erase", Some(value)) => augment.erase = number(name, value)?,
                (_, Some(value)) => augment.shift = number(name, value)?,
            }
        }
        augment.fault().map_or(Ok(augment), |text| Err(fault(text)))
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T> {
    let what = if name == "shift" { "number of pixels" } else { "number" };
    value.parse().map_err(|_| fault(format!("{name}: {:?} is no {what}", shortened(value))))
}

/// In the syntax of options.
impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rotate, scale, shift, flip, erase } = *self;
        let mut items = Vec::new();
        for (name, value) in [("rotate", rotate), ("scale", scale), ("shift", f64::from(shift))] {
            if value != 0.0 {
                items.push(format!("{name}={value}"));
            }
        }
        if flip {
            items.push("flip".to_owned());
        }
        if erase != 0.0 {
            items.push(format!("erase={erase}"));
        }
        f.write_str(if items.is_empty() { "none".to_owned() } else { items.join(",") }.as_str())
    }
}

/// The random draws for the images of one epoch.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    augment: Augment,
    key: Key,
}

/// What a random number of an image is for: the last field of its key, so that no setting changes the draws
/// of another. The numbers are part of every run's bits.
#[derive(Clone, Copy)]
enum Draw {
    Rotate = 0,
    Scale = 1,
    Right = 2,
    Down = 3,
    Flip = 4,
    Erase = 5,
    /// Four numbers for each of ten tries: area, aspect, left and top.
    Rectangles = 6,
}

/// How many rectangles are tried.
const TRIES: u64 = 10;
/// The smallest and the largest share of the area that a rectangle has.
const AREAS: [f64; 2] = [0.02, 0.33];
/// The smallest and the largest ratio of its rows to its columns.
const ASPECTS: [f64; 2] = [0.3, 3.3];

impl Draws {
    /// The draws of an epoch, counted from 0.
    pub fn new(augment: Augment, seed: u64, epoch: u64) -> Self {
        Self { augment, key: Key::new(seed, Purpose::Augment).with(epoch) }
    }

    /// How the image of a sample is changed. Depends on the sample's number, not on its place in a batch.
    pub fn warp(&self, sample: u32, [height, width, _]: ImageShape) -> Warp {
        let Augment { rotate, scale, shift, flip, erase } = self.augment;
        let key = self.key.with(u64::from(sample));
        let symmetric = |draw: Draw| 2.0 * unit(key, draw as u64) - 1.0;
        let pixels = |draw: Draw| match shift {
            0 => 0,
            _ => below(key, draw as u64, 2 * u64::from(shift) + 1) as i64 - i64::from(shift),
        };
        let (right, down) = (pixels(Draw::Right), pixels(Draw::Down));
        let mirrored = flip && below(key, Draw::Flip as u64, 2) == 1;
        let motion = if rotate == 0.0 && scale == 0.0 {
            Motion::Shift { right: right as isize, down: down as isize, mirrored }
        } else {
            let place = Place {
                angle: rotate * symmetric(Draw::Rotate) * (PI / 180.0),
                factor: 1.0 + scale * symmetric(Draw::Scale),
                shift: [right as f64, down as f64],
                mirrored,
            };
            place.motion(height, width)
        };
        let is_erased = erase > 0.0 && unit(key, Draw::Erase as u64) < erase;
        let erased = if is_erased { rectangle(key, height, width) } else { Rectangle::EMPTY };
        Warp { motion, erased }
    }

    /// An augmented image of bytes, `[height, width, channels]`, rounded to bytes.
    pub(super) fn picture(&self, sample: u32, shape: ImageShape, image: &[u8]) -> Vec<u8> {
        let (factors, offsets) = (vec![1.0; image.len()], vec![0.0; image.len()]);
        let batch = Batch { factors: &factors, offsets: &offsets, cut: Cut::Rows };
        let mut out = vec![0.0; image.len()];
        let image = |i| if i == 0 { image } else { &[] };
        let team = Team::solo(Isa::best());
        kernel::scaled(&team, shape, image, |_| self.warp(sample, shape), batch, &mut out);
        out.into_iter().map(|value| value.round() as u8).collect()
    }
}

/// A number that is uniform from 0 to below 1.
fn unit(key: Key, draw: u64) -> f64 {
    (key.with(draw).bits() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A whole number below `n`, all equally probable but for a bias below `n / 2^64`.
fn below(key: Key, draw: u64, n: u64) -> u64 {
    crate::random::below(key.with(draw).bits(), n)
}

/// How an image is placed.
struct Place {
    /// In radians.
    angle: f64,
    factor: f64,
    /// To the right, and down.
    shift: [f64; 2],
    mirrored: bool,
}

impl Place {
    /// The inverse, from a pixel of the output to where it comes from in the input: the shift is undone, then
    /// the rotation and scaling about the centre, then the mirroring.
    fn motion(&self, height: usize, width: usize) -> Motion {
        // libm's functions: the system's may differ in their last bits from machine to machine.
        let (sin, cos) = libm::sincos(self.angle);
        let (sin, cos) = (sin / self.factor, cos / self.factor);
        let mirror = if self.mirrored { -1.0 } else { 1.0 };
        let [x, y] = [width, height].map(|n| (n as f64 - 1.0) / 2.0);
        let (from_x, from_y) = (x + self.shift[0], y + self.shift[1]);
        let x_from = [mirror * cos, mirror * sin, x - mirror * (cos * from_x + sin * from_y)];
        let y_from = [-sin, cos, y - (cos * from_y - sin * from_x)];
        let [x_from, y_from] = [x_from, y_from].map(|from| from.map(|number| number as f32));
        Motion::Affine { x_from, y_from }
    }
}

/// torchvision's `RandomErasing.get_params`.
fn rectangle(key: Key, height: usize, width: usize) -> Rectangle {
    let between = |draw, [low, high]: [f64; 2]| low + (high - low) * unit(key, draw);
    let logs = ASPECTS.map(libm::log);
    for first in (0..TRIES).map(|number| Draw::Rectangles as u64 + 4 * number) {
        let area = (height * width) as f64 * between(first, AREAS);
        let aspect = libm::exp(between(first + 1, logs));
        let rows = (area * aspect).sqrt().round_ties_even() as usize;
        let columns = (area / aspect).sqrt().round_ties_even() as usize;
        if rows < height && columns < width {
            let place = |draw, most: usize| below(key, draw, most as u64 + 1) as usize;
            return Rectangle {
                left: place(first + 2, width - columns),
                top: place(first + 3, height - rows),
                width: columns,
                height: rows,
            };
        }
    }
    Rectangle::EMPTY
}
