//! Small tables that the tests of this folder share.

use threadcount_kernels::{Isa, Team};

use crate::random::{Key, Purpose};
use crate::tables::gram::Gram;
use crate::tables::{Column, Design, Encoding, Parts, Table, Values};
use rand::RngExt;

pub(in crate::tables) fn team() -> Team<'static> {
    Team::solo(Isa::best())
}

/// A table of two numbers and two words, whose target is a rule of all of them and noise.
pub(in crate::tables) fn mixed(rows: usize, seed: u64) -> Table {
    let mut rng = Key::new(seed, Purpose::Synthetic).with(0x7AB1E).rng();
    let (mut a, mut b, mut c, mut d, mut y) = (vec![], vec![], vec![], vec![], vec![]);
    for row in 0..rows {
        let [x, z, noise] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
        // The first rows have every word, so that few rows suffice for an encoding.
        let [p, q] = [rng.random_range(0..3), rng.random_range(0..7)].map(|n: usize| n);
        let (p, q) = if row < 2 { (row, row) } else { (p, q) };
        a.push(20.0 + 5.0 * x);
        b.push(1e-3 * z);
        c.push(["red", "green", "blue"][p]);
        d.push(["u", "v", "w", "x", "y", "z", "zz"][q]);
        let bent = if p == 1 { 8.0 * z } else { 0.0 };
        y.push(100.0 + 7.0 * x + 3.0 * z + 4.0 * p as f64 + bent - q as f64 + 0.5 * noise);
    }
    let column = |name: &str, values| Column { name: name.to_owned(), values };
    let columns = vec![
        column("a", Values::Numbers(a)),
        column("colour", Values::text(c)),
        column("b", Values::Numbers(b)),
        column("letter", Values::text(d)),
    ];
    Table::new(columns, "y", y).unwrap()
}

/// [`mixed`], split and encoded.
pub(in crate::tables) struct Example {
    pub(in crate::tables) encoding: Encoding,
    pub(in crate::tables) train: Design,
    pub(in crate::tables) targets: Vec<f64>,
    pub(in crate::tables) test: Design,
    pub(in crate::tables) test_targets: Vec<f64>,
}

impl Example {
    pub(in crate::tables) fn new(rows: usize, seed: u64) -> Self {
        let table = mixed(rows, seed);
        let parts = Parts::new(&table, 0.2, seed).unwrap();
        let encoding = Encoding::fit(&table, &parts.train).unwrap();
        let of = |rows: &[u32]| Design::new(&encoding, &table, rows).unwrap();
        let targets = |rows: &[u32]| rows.iter().map(|&row| table.values[row as usize]).collect();
        Self {
            train: of(&parts.train),
            test: of(&parts.test),
            targets: targets(&parts.train),
            test_targets: targets(&parts.test),
            encoding,
        }
    }

    pub(in crate::tables) fn gram(&self) -> Gram {
        Gram::new(&team(), &self.train, &self.targets)
    }
}
