//! Ten drawings, one per class, each from a handful of random measures.
//!
//! The set is hard on purpose: all tops share one range of bodies and sleeves. They differ in a placket,
//! lapels or ribs, whose contrast is small and of either sign, so that no fixed template (a linear model) can
//! recognise them. Shoes differ in the height of the shaft and in gaps.

use super::canvas::{Dice, Piece, Point, Shape};
use super::sheet::{Sheet, symmetric};

/// Draws a garment of a class of [`CLASS_NAMES`](crate::data::CLASS_NAMES).
pub(super) fn draw(class: u8, dice: &mut Dice) -> Vec<Piece> {
    let mut sheet = Sheet::new(dice);
    match class {
        0 => t_shirt(&mut sheet, dice),
        1 => trouser(&mut sheet, dice),
        2 => pullover(&mut sheet, dice),
        3 => dress(&mut sheet, dice),
        4 => coat(&mut sheet, dice),
        5 => sandal(&mut sheet, dice),
        6 => shirt(&mut sheet, dice),
        7 => sneaker(&mut sheet, dice),
        8 => bag(&mut sheet, dice),
        _ => ankle_boot(&mut sheet, dice),
    }
    sheet.pieces
}

/// The measures that all tops share.
struct Top {
    shoulder: f32,
    chest: f32,
    hem: f32,
    hem_width: f32,
    neck: f32,
    neck_depth: f32,
    sleeve: Sleeve,
}

#[derive(Clone, Copy)]
enum Sleeve {
    None,
    Short,
    Long,
}

impl Top {
    /// Random measures from one range for all tops, longer by `longer` and wider by `wider`.
    fn new(dice: &mut Dice, sleeve: Sleeve, longer: f32, wider: f32) -> Self {
        let chest = dice.between(0.38, 0.52) + wider;
        Self {
            shoulder: chest + dice.between(-0.02, 0.06),
            chest,
            hem: dice.between(0.68, 0.9) + longer,
            hem_width: chest + dice.between(-0.04, 0.1),
            neck: dice.between(0.14, 0.24),
            neck_depth: dice.between(0.04, 0.2),
            sleeve,
        }
    }

    /// Body, sleeves, neck and arm seams.
    fn draw(&self, sheet: &mut Sheet, dice: &mut Dice) {
        let &Self { shoulder, chest, hem, hem_width, neck, .. } = self;
        match self.sleeve {
            Sleeve::None => {}
            Sleeve::Short => {
                let (out, down) = (dice.between(0.16, 0.36), dice.between(0.3, 0.52));
                let (x, y) = (shoulder + out, -0.8 + down + 0.1);
                let arm = [
                    [shoulder - 0.14, -0.84],
                    [x, y - 0.12],
                    [x - 0.16, y + 0.14],
                    [chest - 0.12, -0.3],
                ];
                self.both_arms(sheet, &arm);
            }
            Sleeve::Long => {
                let (out, down) = (dice.between(0.12, 0.34), dice.between(1.2, 1.6));
                let (x, y) = (shoulder + out, -0.8 + down);
                let cuff = dice.between(0.14, 0.22);
                let arm = [
                    [shoulder - 0.14, -0.84],
                    [shoulder + 0.1 + out * 0.3, -0.6],
                    [x, y],
                    [x - cuff, y + 0.04],
                    [chest - 0.06, -0.3],
                ];
                self.both_arms(sheet, &arm);
            }
        }
        let waist = chest + dice.between(-0.06, 0.02);
        sheet.cloth(symmetric(&[
            [neck, -0.92],
            [shoulder, -0.8],
            [chest, -0.35],
            [waist, 0.2],
            [hem_width, hem],
            [0.0, hem + 0.02],
        ]));
        sheet.hole(symmetric(&[
            [neck, -0.98],
            [neck * 0.7, -0.92 + self.neck_depth * 0.7],
            [0.0, -0.92 + self.neck_depth],
        ]));
        if !matches!(self.sleeve, Sleeve::None) && dice.chance(0.7) {
            let contrast = dice.contrast(0.08, 0.3);
            sheet.lines(&[[shoulder - 0.02, -0.8], [chest - 0.02, -0.3]], 0.02, contrast);
        }
    }

    fn both_arms(&self, sheet: &mut Sheet, arm: &[Point]) {
        sheet.cloth(arm.to_vec());
        sheet.cloth(arm.iter().map(|&[x, y]| [-x, y]).collect());
    }
}

fn long_or_short(dice: &mut Dice, long: f32) -> Sleeve {
    if dice.chance(long) { Sleeve::Long } else { Sleeve::Short }
}

/// Short sleeves; often a print on the chest.
fn t_shirt(sheet: &mut Sheet, dice: &mut Dice) {
    let sleeve = long_or_short(dice, 0.04);
    Top::new(dice, sleeve, 0.0, 0.0).draw(sheet, dice);
    if dice.chance(0.55) {
        let (x, y) = (dice.between(-0.12, 0.12), dice.between(-0.35, 0.15));
        let (w, h) = (dice.between(0.06, 0.28), dice.between(0.04, 0.3));
        let print = vec![
            [x - w, y - h],
            [x + w, y - h * dice.unit()],
            [x + w, y + h],
            [x - w * dice.unit(), y + h],
        ];
        let contrast = dice.contrast(0.2, 0.6);
        sheet.detail(Shape::Fill(print), contrast);
    }
}

/// Long sleeves, ribs at the hem and the neck, sometimes a fold down the front that is no placket.
fn pullover(sheet: &mut Sheet, dice: &mut Dice) {
    let sleeve = long_or_short(dice, 0.97);
    let top = Top::new(dice, sleeve, -0.04, 0.03);
    top.draw(sheet, dice);
    let contrast = dice.contrast(0.06, 0.3);
    let y = top.hem - dice.between(0.06, 0.14);
    sheet.line(&[[-top.hem_width, y], [top.hem_width, y]], dice.between(0.02, 0.06), contrast);
    if dice.chance(0.5) {
        let y = -0.92 + top.neck_depth;
        let collar = [[-top.neck, -0.9], [0.0, y + 0.05], [top.neck, -0.9]];
        sheet.line(&collar, 0.04, contrast);
    }
    if dice.chance(0.35) {
        let x = dice.between(-0.25, 0.25);
        let fold =
            [[x, dice.between(-0.6, 0.0)], [x + dice.between(-0.2, 0.2), dice.between(0.2, 0.8)]];
        let contrast = dice.contrast(0.08, 0.3);
        sheet.line(&fold, 0.03, contrast);
    }
}

/// Long sleeves, an opening over the whole front, lapels.
fn coat(sheet: &mut Sheet, dice: &mut Dice) {
    let top = Top::new(dice, Sleeve::Long, 0.09, 0.01);
    top.draw(sheet, dice);
    let contrast = dice.contrast(0.2, 0.6);
    let x = dice.between(-0.1, 0.1);
    let lapel = dice.between(-0.55, -0.2);
    sheet.line(
        &[[x, lapel], [x + dice.between(-0.05, 0.05), top.hem]],
        dice.between(0.02, 0.05),
        contrast,
    );
    sheet.line(&[[-top.neck, -0.9], [x, lapel], [top.neck, -0.9]], 0.035, contrast);
    if dice.chance(0.4) {
        let y = dice.between(0.2, 0.45);
        sheet.lines(&[[0.18, y], [0.34, y + dice.between(-0.08, 0.08)]], 0.025, contrast);
    }
}

/// Long or short sleeves, a pointed collar, a row of buttons.
fn shirt(sheet: &mut Sheet, dice: &mut Dice) {
    let sleeve = long_or_short(dice, 0.65);
    let top = Top::new(dice, sleeve, 0.03, -0.04);
    top.draw(sheet, dice);
    let contrast = dice.contrast(0.2, 0.6);
    let y = -0.92 + top.neck_depth + dice.between(0.08, 0.16);
    let collar = [[top.neck, -0.94], [top.neck + 0.06, y], [0.0, y - 0.1]];
    sheet.lines(&collar, 0.03, contrast);
    let x = dice.between(-0.05, 0.05);
    let buttons = 3 + (dice.unit() * 4.0) as usize;
    let (first, step) = (y + 0.05, (top.hem - y - 0.1) / buttons as f32);
    for i in 0..buttons {
        let y = first + (i as f32 + 0.4) * step;
        sheet.line(&[[x, y], [x, y + 0.03]], 0.045, contrast);
    }
}

/// No or short sleeves, a waist, a skirt.
fn dress(sheet: &mut Sheet, dice: &mut Dice) {
    let sleeve = match dice.unit() {
        kind if kind < 0.55 => Sleeve::None,
        kind if kind < 0.85 => Sleeve::Short,
        _ => Sleeve::Long,
    };
    let mut top = Top::new(dice, sleeve, 0.0, 0.0);
    let slim = dice.between(0.58, 0.92);
    top.chest *= slim;
    top.shoulder = top.chest + dice.between(-0.06, 0.04);
    let skirt = top.chest + dice.between(0.0, 0.3);
    top.hem_width = top.chest;
    top.hem = dice.between(0.0, 0.3);
    top.draw(sheet, dice);
    let waist = top.hem - dice.between(0.05, 0.3);
    sheet.cloth(symmetric(&[[top.chest - 0.04, waist], [skirt, 0.98], [0.0, 1.0]]));
    if dice.chance(0.5) {
        let contrast = dice.contrast(0.1, 0.5);
        sheet.line(&[[-top.chest, waist], [top.chest, waist]], 0.03, contrast);
    }
}

/// Two legs, sometimes so close that only a seam is between them.
fn trouser(sheet: &mut Sheet, dice: &mut Dice) {
    let (waist, hip) = (dice.between(0.24, 0.38), dice.between(0.3, 0.44));
    let (out, width) = (dice.between(0.24, 0.46), dice.between(0.15, 0.26));
    let crotch = dice.between(-0.5, -0.2);
    let inner = (out - width).max(0.015);
    let leg =
        [[0.0, -0.95], [waist, -0.95], [hip, -0.45], [out, 0.96], [inner, 0.96], [0.0, crotch]];
    sheet.cloth(symmetric(&leg));
    if dice.chance(0.5) {
        let contrast = dice.contrast(0.1, 0.4);
        sheet.line(&[[-waist, -0.85], [waist, -0.85]], 0.03, contrast);
    }
}

/// The measures that all shoes share. The toe points to the left.
struct Shoe {
    ground: f32,
    sole: f32,
    length: f32,
    toe: f32,
}

impl Shoe {
    fn new(dice: &mut Dice) -> Self {
        Self {
            ground: dice.between(0.38, 0.6),
            sole: dice.between(0.05, 0.14),
            length: dice.between(0.84, 0.98),
            toe: dice.between(0.12, 0.24),
        }
    }

    /// Sole with a heel, in a tone of its own.
    fn draw_sole(&self, sheet: &mut Sheet, dice: &mut Dice, heel: f32) {
        let &Self { ground, sole, length, .. } = self;
        let contrast = dice.contrast(0.1, 0.5);
        let sole = vec![
            [-length, ground - sole],
            [length, ground - sole - heel * 0.5],
            [length, ground + heel],
            [length * 0.55, ground + heel],
            [length * 0.5, ground],
            [-length * 0.9, ground],
        ];
        sheet.detail(Shape::Fill(sole), contrast);
    }

    /// The upper: from the toe over the instep to a shaft of this height, wide at its mouth.
    fn draw_upper(&self, sheet: &mut Sheet, dice: &mut Dice, shaft: f32, mouth: f32) {
        let &Self { ground, sole, length, toe } = self;
        let base = ground - sole;
        let back = length * dice.between(0.93, 1.0);
        sheet.cloth(vec![
            [-length, base],
            [-length * 0.95, base - toe],
            [-length * 0.45, base - toe - dice.between(0.04, 0.14)],
            [back - mouth, base - shaft * 0.8],
            [back - mouth, base - shaft],
            [back, base - shaft * dice.between(0.92, 1.05)],
            [back, base],
        ]);
    }
}

/// A sole and straps with gaps between them.
fn sandal(sheet: &mut Sheet, dice: &mut Dice) {
    let shoe = Shoe::new(dice);
    let high = if dice.chance(0.4) { dice.between(0.1, 0.4) } else { 0.0 };
    shoe.draw_sole(sheet, dice, high);
    let base = shoe.ground - shoe.sole;
    let straps = 2 + (dice.unit() * 3.0) as usize;
    for i in 0..straps {
        let x = -0.75 * shoe.length + (i as f32 + dice.between(0.1, 0.7)) * 1.5 / straps as f32;
        let top = base - dice.between(0.14, 0.4) - 0.12 * i as f32;
        let (lean, width) = (dice.between(-0.15, 0.3), dice.between(0.035, 0.1));
        sheet.line(
            &[[x, base], [x + lean, top], [x + lean + dice.between(0.1, 0.3), base]],
            width,
            0.0,
        );
    }
    if dice.chance(0.45) {
        let y = base - dice.between(0.3, 0.75);
        sheet.line(
            &[[0.25, y + 0.1], [shoe.length, y], [shoe.length, base]],
            dice.between(0.03, 0.07),
            0.0,
        );
    }
}

/// Low shaft, laces or a stripe on the side.
fn sneaker(sheet: &mut Sheet, dice: &mut Dice) {
    let shoe = Shoe::new(dice);
    let (shaft, mouth) = (dice.between(0.3, 0.72), dice.between(0.4, 0.8));
    shoe.draw_upper(sheet, dice, shaft, mouth);
    shoe.draw_sole(sheet, dice, 0.0);
    let base = shoe.ground - shoe.sole;
    let contrast = dice.contrast(0.15, 0.5);
    if dice.chance(0.7) {
        let laces = 2 + (dice.unit() * 3.0) as usize;
        for i in 0..laces {
            let x = -0.35 + 0.15 * i as f32;
            let y = base - shoe.toe - 0.04 * i as f32;
            sheet.line(&[[x, y - 0.1], [x + 0.12, y + 0.06]], 0.025, contrast);
        }
    }
    if dice.chance(0.6) {
        let x = dice.between(-0.2, 0.3);
        sheet.line(
            &[[x, base - 0.05], [x + dice.between(0.1, 0.4), base - shaft * 0.6]],
            dice.between(0.03, 0.08),
            contrast,
        );
    }
}

/// High shaft, a heel, sometimes a zip.
fn ankle_boot(sheet: &mut Sheet, dice: &mut Dice) {
    let mut shoe = Shoe::new(dice);
    let heel = if dice.chance(0.6) { dice.between(0.03, 0.22) } else { 0.0 };
    let shaft = dice.between(0.6, 1.25);
    shoe.ground += 0.25 * (shaft - 0.6);
    let mouth = dice.between(0.5, 0.85);
    shoe.draw_upper(sheet, dice, shaft, mouth);
    shoe.draw_sole(sheet, dice, heel);
    if dice.chance(0.5) {
        let contrast = dice.contrast(0.12, 0.45);
        let (x, base) = (shoe.length - mouth * dice.between(0.2, 0.8), shoe.ground - shoe.sole);
        sheet.line(&[[x, base - 0.1], [x, base - shaft * 0.95]], 0.03, contrast);
    }
}

/// A box with a handle or a flap.
fn bag(sheet: &mut Sheet, dice: &mut Dice) {
    let (w, w_top) = (dice.between(0.5, 0.95), dice.between(0.8, 1.02));
    let (top, bottom) = (dice.between(-0.45, 0.05), dice.between(0.45, 0.85));
    let contrast = dice.contrast(0.1, 0.5);
    if dice.chance(0.75) {
        let (reach, rise) = (w * dice.between(0.4, 0.9), dice.between(0.25, 0.8));
        let thick = dice.between(0.025, 0.07);
        let high = (top - rise).max(-0.98);
        let strap = [
            [-reach, top],
            [-reach * 0.8, high + 0.08],
            [0.0, high],
            [reach * 0.8, high + 0.08],
            [reach, top],
        ];
        sheet.line(&strap, thick, contrast * 0.5);
    }
    sheet.cloth(symmetric(&[
        [w * w_top, top],
        [w, bottom],
        [0.0, bottom + dice.between(0.0, 0.06)],
    ]));
    if dice.chance(0.6) {
        let y = top + (bottom - top) * dice.between(0.2, 0.6);
        sheet.line(
            &[[-w * 0.95, y], [0.0, y + dice.between(0.0, 0.2)], [w * 0.95, y]],
            0.03,
            contrast,
        );
    }
    if dice.chance(0.5) {
        let y = (top + bottom) * 0.5;
        sheet.line(&[[-0.05, y], [0.05, y]], dice.between(0.04, 0.1), contrast);
    }
}
