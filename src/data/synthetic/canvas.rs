//! A small canvas: polygons and strokes with soft edges, textures, a random placement, noise, 8
//! bits.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// Side of an image in pixels.
pub(super) const SIDE: usize = 28;
/// Pixels of an image.
pub(super) const PIXELS: usize = SIDE * SIDE;

/// A point of a drawing: x to the right, y down, the garment within about -1 to 1.
pub(super) type Point = [f32; 2];

/// Draws from one image's stream of random numbers.
pub(super) struct Dice(pub(super) ChaCha8Rng);

impl Dice {
    /// Uniform in [0, 1), 24 bits.
    pub(super) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// Uniform between two bounds.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// A contrast of a size between two bounds; two in three are darker, as seams are.
    pub(super) fn contrast(&mut self, low: f32, high: f32) -> f32 {
        let size = self.between(low, high);
        if self.chance(2.0 / 3.0) { -size } else { size }
    }

    /// Close to a standard normal: the sum of the four bytes of one draw, centred and scaled
    /// (variance of a byte: (256^2 - 1) / 12). One draw per pixel is what noise can cost here.
    fn normal(&mut self) -> f32 {
        let sum: u32 = self.0.next_u32().to_le_bytes().iter().map(|&byte| u32::from(byte)).sum();
        (sum as f32 - 510.0) / 147.8
    }
}

/// A shape of a drawing.
pub(super) enum Shape {
    /// The inside of a closed polygon.
    Fill(Vec<Point>),
    /// A line through points, with half its thickness.
    Stroke(Vec<Point>, f32),
}

/// A pattern in the cloth: brightness times `1 + depth * pattern`, the pattern between -1 and 1.
#[derive(Clone, Copy)]
pub(super) enum Texture {
    Plain,
    /// Waves along a direction; the numbers are radians per unit, and a phase.
    Stripes {
        along: Point,
        phase: f32,
        depth: f32,
    },
    /// Two crossing waves.
    Checks {
        along: Point,
        phase: f32,
        depth: f32,
    },
}

impl Texture {
    fn at(self, [x, y]: Point) -> f32 {
        match self {
            Self::Plain => 1.0,
            Self::Stripes { along, phase, depth } => {
                1.0 + depth * (along[0] * x + along[1] * y + phase).sin()
            }
            Self::Checks { along, phase, depth } => {
                let across = (along[1] * x - along[0] * y).sin();
                1.0 + depth * (along[0] * x + along[1] * y + phase).sin() * across
            }
        }
    }
}

/// A shape with its brightness (0 black, 1 white) and cloth.
pub(super) struct Piece {
    pub(super) shape: Shape,
    pub(super) tone: f32,
    pub(super) texture: Texture,
}

/// Draws the pieces, in order, at a random place, size and angle, and quantises to 8 bits.
pub(super) fn render(pieces: &[Piece], dice: &mut Dice, image: &mut [u8]) {
    let (sin, cos) = dice.between(-0.14, 0.14).sin_cos();
    let (size_x, size_y) = (dice.between(10.6, 13.2), dice.between(11.0, 13.2));
    let centre = [13.5 + dice.between(-1.6, 1.6), 13.5 + dice.between(-1.6, 1.6)];
    // Light from a side: brightness changes by up to 20 % per unit.
    let light = [dice.between(-0.2, 0.2), dice.between(-0.2, 0.2)];
    // From a pixel to the drawing; distances there are in units of about 12 pixels.
    let place = |column: f32, row: f32| {
        let (dx, dy) = (column - centre[0], row - centre[1]);
        [(cos * dx + sin * dy) / size_x, (cos * dy - sin * dx) / size_y]
    };
    let pixels_per_unit = (size_x * size_y).sqrt();
    let mut values = [0.0_f32; PIXELS];
    for piece in pieces {
        let bounds = Bounds::of(&piece.shape, 1.0 / pixels_per_unit);
        for (row, line) in values.chunks_exact_mut(SIDE).enumerate() {
            for (column, value) in line.iter_mut().enumerate() {
                let point = place(column as f32, row as f32);
                if !bounds.contains(point) {
                    continue;
                }
                let distance = signed_distance(&piece.shape, point);
                // Soft edge: half covered where the outline crosses the pixel's centre.
                let cover = (0.5 - distance * pixels_per_unit).clamp(0.0, 1.0);
                if cover > 0.0 {
                    let shade = 1.0 + light[0] * point[0] + light[1] * point[1];
                    let tone = (piece.tone * shade * piece.texture.at(point)).clamp(0.02, 1.0);
                    *value += cover * (tone - *value);
                }
            }
        }
    }
    let (grain, dust) = (dice.between(0.02, 0.1), dice.between(0.0, 0.03));
    for (byte, value) in image.iter_mut().zip(values) {
        let noise = dice.normal() * (dust + grain * value);
        *byte = ((value + noise).clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
    }
}

/// A box around a shape, so that small details do not cost a distance for each of 784 pixels.
struct Bounds {
    low: Point,
    high: Point,
}

impl Bounds {
    fn of(shape: &Shape, margin: f32) -> Self {
        let (points, margin) = match shape {
            Shape::Fill(points) => (points, margin),
            Shape::Stroke(points, half) => (points, margin + half),
        };
        let mut bounds = Self { low: [f32::MAX; 2], high: [f32::MIN; 2] };
        for &[x, y] in points {
            bounds.low = [bounds.low[0].min(x - margin), bounds.low[1].min(y - margin)];
            bounds.high = [bounds.high[0].max(x + margin), bounds.high[1].max(y + margin)];
        }
        bounds
    }

    fn contains(&self, point: Point) -> bool {
        (self.low[0]..=self.high[0]).contains(&point[0])
            && (self.low[1]..=self.high[1]).contains(&point[1])
    }
}

/// Distance from a point to a shape's edge, negative inside.
fn signed_distance(shape: &Shape, point: Point) -> f32 {
    match shape {
        Shape::Stroke(line, half) => {
            let segments = line.windows(2).map(|ends| to_segment(point, ends[0], ends[1]));
            segments.fold(f32::MAX, f32::min).sqrt() - half
        }
        Shape::Fill(outline) => {
            let (mut nearest, mut inside) = (f32::MAX, false);
            let mut a = outline[outline.len() - 1];
            for &b in outline {
                nearest = nearest.min(to_segment(point, a, b));
                // Even-odd rule: a ray to the right crosses the outline an odd number of times.
                let crosses = (a[1] > point[1]) != (b[1] > point[1])
                    && point[0] < a[0] + (point[1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0]);
                inside ^= crosses;
                a = b;
            }
            if inside { -nearest.sqrt() } else { nearest.sqrt() }
        }
    }
}

/// Square of the distance from `p` to the segment from `a` to `b`: the root is taken once per
/// shape.
fn to_segment(p: Point, a: Point, b: Point) -> f32 {
    let (ab, ap) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
    let length = ab[0] * ab[0] + ab[1] * ab[1];
    let t =
        if length > 0.0 { ((ap[0] * ab[0] + ap[1] * ab[1]) / length).clamp(0.0, 1.0) } else { 0.0 };
    let (dx, dy) = (ap[0] - t * ab[0], ap[1] - t * ab[1]);
    dx * dx + dy * dy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_a_square_and_a_line() {
        let square = Shape::Fill(vec![[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]);
        for (point, distance) in
            [([0.0, 0.0], -1.0), ([0.5, 0.0], -0.5), ([2.0, 0.0], 1.0), ([4.0, 5.0], 5.0)]
        {
            assert_eq!(signed_distance(&square, point), distance, "{point:?}");
        }
        let line = Shape::Stroke(vec![[0.0, 0.0], [2.0, 0.0]], 0.25);
        for (point, distance) in [([1.0, 0.0], -0.25), ([1.0, 1.0], 0.75), ([5.0, 4.0], 4.75)] {
            assert_eq!(signed_distance(&line, point), distance, "{point:?}");
        }
    }
}
