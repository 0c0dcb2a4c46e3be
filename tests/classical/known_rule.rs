//! Least squares and ridge regression on tables whose rule is known: the coefficients are those of the rule itself, and of
//! plain loops in float64.

use std::fmt::Write as _;
use std::fs;
use threadcount::kernels::{Isa, Team};
use threadcount::tables::models::Affine;
use threadcount::tables::{Design, Encoded, Encoding, Gram, ReadOptions, Table};

const TOLERANCE: f64 = 1e-4;

/// The rule: 40 + 3 size - 0.02 far + 5 for red, 1.5 for green, -2 for blue.
const COLOURS: [(&str, f64); 3] = [("red", 5.0), ("green", 1.5), ("blue", -2.0)];

fn price(size: f64, far: f64, colour: usize) -> f64 {
    40.0 + 3.0 * size - 0.02 * far + COLOURS[colour].1
}

/// A table of that many rows, as a file.
fn written(rows: usize) -> tempfile::NamedTempFile {
    let mut text = "size,colour,far,price\n".to_owned();
    for i in 0..rows {
        let (size, far) = ((i * 7919 % 1009) as f64 / 10.0, (i * 104_729 % 5003) as f64);
        let colour = i * i / 3 % 3;
        let price = price(size, far, colour);
        writeln!(text, "{size},{},{far},{price}", COLOURS[colour].0).unwrap();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

/// The coefficient of each number in its own unit, and the value of each category, by name, intercept included.
fn in_units(encoding: &Encoding, model: &Affine) -> (Vec<f64>, Vec<(String, f64)>) {
    let (mut slopes, mut categories, mut intercept) = (Vec::new(), Vec::new(), model.intercept);
    let mut weights = model.weights.iter();
    for column in &encoding.columns {
        match &column.encoded {
            Encoded::Number { mean, deviation } => {
                let slope = weights.next().unwrap() / deviation;
                slopes.push(slope);
                intercept -= slope * mean;
            }
            Encoded::Categories(names) => {
                categories.extend(names.iter().cloned().zip(weights.by_ref().copied()));
            }
        }
    }
    categories.iter_mut().for_each(|(_, value)| *value += intercept);
    (slopes, categories)
}

/// Ridge regression by plain loops: the normal equations of the centred columns, by elimination with pivots.
fn plain_ridge(x: &[Vec<f64>], y: &[f64], alpha: f64) -> (f64, Vec<f64>) {
    let (n, width) = (x.len() as f64, x[0].len());
    let means: Vec<f64> = (0..width).map(|j| x.iter().map(|row| row[j]).sum::<f64>() / n).collect();
    let mean = y.iter().sum::<f64>() / n;
    let mut system = vec![vec![0.0; width + 1]; width];
    for (row, y) in x.iter().zip(y) {
        for j in 0..width {
            let centred = row[j] - means[j];
            for k in 0..width {
                system[j][k] += centred * (row[k] - means[k]);
            }
            system[j][width] += centred * (y - mean);
        }
    }
    (0..width).for_each(|j| system[j][j] += alpha);
    for j in 0..width {
        let pivot =
            (j..width).max_by(|&a, &b| system[a][j].abs().total_cmp(&system[b][j].abs())).unwrap();
        system.swap(j, pivot);
        let row = system[j].clone();
        for (_, other) in system.iter_mut().enumerate().filter(|&(k, _)| k != j) {
            let factor = other[j] / row[j];
            other.iter_mut().zip(&row).for_each(|(to, from)| *to -= factor * from);
        }
    }
    let weights: Vec<f64> = (0..width).map(|j| system[j][width] / system[j][j]).collect();
    let intercept = mean - weights.iter().zip(&means).map(|(w, m)| w * m).sum::<f64>();
    (intercept, weights)
}

#[test]
fn the_rule_of_a_table_is_recovered() {
    let file = written(3_000);
    let table = Table::read(file.path(), "price", &ReadOptions::default()).unwrap();
    let rows: Vec<u32> = (0..3_000).collect();
    let encoding = Encoding::fit(&table, &rows).unwrap();
    let design = Design::new(&encoding, &table, &rows).unwrap();
    let gram = Gram::new(&Team::solo(Isa::best()), &design, &table.values);

    let linear = Affine::least_squares(&gram).unwrap();
    let (slopes, categories) = in_units(&encoding, &linear);
    assert!(
        (slopes[0] - 3.0).abs() < TOLERANCE && (slopes[1] + 0.02).abs() < TOLERANCE,
        "{slopes:?}"
    );
    assert_eq!(categories.len(), 3);
    for (name, value) in categories {
        let rule = 40.0 + COLOURS.iter().find(|(colour, _)| *colour == name).unwrap().1;
        assert!((value - rule).abs() < TOLERANCE, "{name}: {value}, not {rule}");
    }

    // The columns once more, in float64 and by hand: size, one for each colour, far.
    let numbers = |column: usize| match &table.columns[column].values {
        threadcount::tables::Values::Numbers(numbers) => {
            let n = numbers.len() as f64;
            let mean = numbers.iter().sum::<f64>() / n;
            let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            numbers.iter().map(|x| (x - mean) / variance.sqrt()).collect::<Vec<_>>()
        }
        threadcount::tables::Values::Text { .. } => panic!("numbers"),
    };
    let (size, far) = (numbers(0), numbers(2));
    let colours = ["blue", "green", "red"];
    let colour = |i: usize| COLOURS[i * i / 3 % 3].0;
    let x: Vec<Vec<f64>> = (0..3_000)
        .map(|i| {
            let one = |name: &&str| f64::from(u8::from(*name == colour(i)));
            [vec![size[i]], colours.iter().map(one).collect(), vec![far[i]]].concat()
        })
        .collect();
    for alpha in [1.0, 300.0] {
        let ridge = Affine::ridge(&gram, alpha).unwrap();
        let (intercept, weights) = plain_ridge(&x, &table.values, alpha);
        assert!((ridge.intercept - intercept).abs() < TOLERANCE, "{} {intercept}", ridge.intercept);
        assert_eq!(ridge.weights.len(), weights.len());
        for (ours, plain) in ridge.weights.iter().zip(&weights) {
            assert!((ours - plain).abs() < TOLERANCE, "{alpha}: {ours} {plain}");
        }
        // And the penalty counts: the rule itself is further off.
        let off = ridge.weights.iter().zip(&linear.weights).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f64::max) > 10.0 * TOLERANCE * alpha.min(10.0), "{alpha}");
    }
}
