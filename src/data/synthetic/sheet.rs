//! A drawing in the making: its pieces, and the one cloth that a garment is made of.

use super::canvas::{Dice, Piece, Point, Shape, Texture};

/// The drawing so far, and the cloth that it is made of.
pub(super) struct Sheet {
    pub(super) pieces: Vec<Piece>,
    tone: f32,
    texture: Texture,
}

impl Sheet {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let tone = dice.between(0.3, 0.95);
        let (angle, waves) = (dice.between(0.0, std::f32::consts::PI), dice.between(5.0, 22.0));
        // Three tenths of all cloth are striped straight down or across, as garments are.
        let angle = if dice.chance(0.3) {
            (angle * 0.64).round() * std::f32::consts::FRAC_PI_2
        } else {
            angle
        };
        let (along, phase) =
            ([waves * angle.cos(), waves * angle.sin()], dice.between(0.0, std::f32::consts::TAU));
        let depth = dice.between(0.05, 0.35);
        let texture = match dice.unit() {
            kind if kind < 0.5 => Texture::Plain,
            kind if kind < 0.8 => Texture::Stripes { along, phase, depth },
            _ => Texture::Checks { along, phase, depth },
        };
        Self { pieces: Vec::new(), tone, texture }
    }

    /// A part in the garment's own cloth.
    pub(super) fn cloth(&mut self, outline: Vec<Point>) {
        self.pieces.push(Piece {
            shape: Shape::Fill(outline),
            tone: self.tone,
            texture: self.texture,
        });
    }

    /// A part or line that is lighter or darker than the cloth by this share of it.
    pub(super) fn detail(&mut self, shape: Shape, contrast: f32) {
        let tone = self.tone * (1.0 + contrast);
        self.pieces.push(Piece { shape, tone, texture: Texture::Plain });
    }

    /// A place where the background shows.
    pub(super) fn hole(&mut self, outline: Vec<Point>) {
        self.pieces.push(Piece { shape: Shape::Fill(outline), tone: 0.0, texture: Texture::Plain });
    }

    pub(super) fn line(&mut self, points: &[Point], half: f32, contrast: f32) {
        self.detail(Shape::Stroke(points.to_vec(), half), contrast);
    }

    /// The same line on both sides.
    pub(super) fn lines(&mut self, points: &[Point], half: f32, contrast: f32) {
        self.line(points, half, contrast);
        let mirrored: Vec<Point> = points.iter().map(|&[x, y]| [-x, y]).collect();
        self.line(&mirrored, half, contrast);
    }
}

/// A closed outline from its right half, given from the top to the bottom.
pub(super) fn symmetric(half: &[Point]) -> Vec<Point> {
    half.iter().copied().chain(half.iter().rev().map(|&[x, y]| [-x, y])).collect()
}
