//! A drawn table of the form of the one that the report nlp2024 predicts prices on: flights between six cities, with
//! a rule that is known.
//!
//! The expected price is a product, so that every factor weighs seven times as much in business class as in economy:
//! no line can follow that, a forest and a network can.
//!
//! ```text
//! price = class * airline * stops * duration * days left * route * departure * season * noise
//! ```
//!
//! [`Flight::expected_price`] is all but the last two: the season is drawn for each flight and stands in no column.
//! Row `i` depends on the seed and on `i` alone, so a longer table begins with the shorter one.

use std::io::{self, Write};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::random::{Key, Purpose};

/// Rows of the report's table.
pub const ROWS: usize = 300_153;

/// The heading: an index without a name first.
pub const HEADER: &str = ",airline,flight,source_city,departure_time,stops,arrival_time,destination_city,class,duration,days_left,price";

/// What the stream of a table is told apart from that of images by.
const STREAM: u64 = 0xF1_1647;

struct Airline {
    name: &'static str,
    code: &'static str,
    /// Of 1,000 rows.
    share: u32,
    /// How many different flights it has.
    flights: u32,
    factor: f64,
    /// Whether it has a business class.
    business: bool,
}

const AIRLINES: [Airline; 6] = [
    Airline { name: "Vistara", code: "UK", share: 425, flights: 430, factor: 1.12, business: true },
    Airline {
        name: "Air_India",
        code: "AI",
        share: 270,
        flights: 430,
        factor: 0.97,
        business: true,
    },
    Airline { name: "Indigo", code: "6E", share: 145, flights: 370, factor: 0.92, business: false },
    Airline {
        name: "GO_FIRST",
        code: "G8",
        share: 78,
        flights: 160,
        factor: 0.95,
        business: false,
    },
    Airline { name: "AirAsia", code: "I5", share: 52, flights: 110, factor: 0.72, business: false },
    Airline { name: "SpiceJet", code: "SG", share: 30, flights: 61, factor: 1.02, business: false },
];

/// Cities with their places on a plane, in hours of flight.
const CITIES: [(&str, [f64; 2]); 6] = [
    ("Delhi", [0.0, 2.0]),
    ("Mumbai", [-0.6, 0.5]),
    ("Bangalore", [0.1, -0.5]),
    ("Kolkata", [1.5, 1.1]),
    ("Hyderabad", [0.2, 0.2]),
    ("Chennai", [0.5, -0.5]),
];

/// Parts of the day with their factors; four hours each, from four in the morning.
const TIMES: [(&str, f64); 6] = [
    ("Early_Morning", 0.96),
    ("Morning", 1.06),
    ("Afternoon", 1.0),
    ("Evening", 1.04),
    ("Night", 0.98),
    ("Late_Night", 0.84),
];

/// Numbers of stops: name, of 1,000 rows, factor.
const STOPS: [(&str, u32, f64); 3] =
    [("zero", 120, 0.62), ("one", 836, 1.05), ("two_or_more", 44, 1.24)];

/// The price that factors of 1 leave, by class.
const ECONOMY: f64 = 6_300.0;
const BUSINESS: f64 = 47_000.0;
/// Of 1,000 rows of an airline that has a business class.
const BUSINESS_SHARE: u32 = 448;

/// The columns of a row as far as the rule needs them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flight {
    airline: usize,
    flight: u32,
    from: usize,
    to: usize,
    departure: usize,
    arrival: usize,
    stops: usize,
    business: bool,
    /// Hours.
    duration: f64,
    days_left: u32,
}

impl Flight {
    /// The price without season and noise.
    pub fn expected_price(&self) -> f64 {
        let class = if self.business { BUSINESS } else { ECONOMY };
        let distance = distance(self.from, self.to);
        // From the 15th day on every day adds; the last two add more.
        let late = f64::from(16_u32.saturating_sub(self.days_left));
        let last = f64::from(3_u32.saturating_sub(self.days_left));
        // Two days of each week are dearer: jumps, which a forest follows and a network rounds off.
        let week = if self.days_left % 7 < 2 { 1.14 } else { 1.0 };
        let days = (0.86 + 0.028 * late + 0.06 * last) * week;
        // Dearest at half a day; of very long ones the same as of the shortest.
        let off = (self.duration - 12.0).abs().min(16.0);
        let duration = 1.08 - 0.0012 * off * off;
        class
            * AIRLINES[self.airline].factor
            * STOPS[self.stops].2
            * duration
            * days
            * (0.86 + 0.11 * distance)
            * TIMES[self.departure].1
    }
}

/// Hours of flight between two cities.
fn distance(from: usize, to: usize) -> f64 {
    let ([x, y], [v, w]) = (CITIES[from].1, CITIES[to].1);
    ((x - v) * (x - v) + (y - w) * (y - w)).sqrt()
}

/// Flight number `row` of a seed, and its price: a whole number.
pub fn flight(seed: u64, row: u64) -> (Flight, f64) {
    let mut rng = Key::new(seed, Purpose::Synthetic).with(STREAM).with(row).rng();
    let airline = pick(&mut rng, AIRLINES.iter().map(|airline| airline.share));
    let stops = pick(&mut rng, STOPS.iter().map(|stops| stops.1));
    let from = rng.random_range(0..CITIES.len());
    let to = (from + rng.random_range(1..CITIES.len())) % CITIES.len();
    let departure = rng.random_range(0..TIMES.len());
    let wait = match stops {
        0 => 0.3 * unit(&mut rng),
        1 => 1.5 + 24.0 * unit(&mut rng) * unit(&mut rng),
        _ => 5.0 + 30.0 * unit(&mut rng) * unit(&mut rng),
    };
    // Hours in steps of five minutes, written with two decimals.
    let minutes = (60.0 * (0.8 + distance(from, to) + wait) / 5.0).round() * 5.0;
    let duration = (100.0 * minutes / 60.0).round() / 100.0;
    let leaves = 4.0 + 4.0 * (departure as f64 + unit(&mut rng));
    let flight = Flight {
        airline,
        flight: 100 + rng.random_range(0..AIRLINES[airline].flights),
        from,
        to,
        departure,
        arrival: (((leaves + duration - 4.0) / 4.0) as usize) % TIMES.len(),
        stops,
        business: AIRLINES[airline].business && rng.random_range(0..1_000) < BUSINESS_SHARE,
        duration,
        days_left: rng.random_range(1..=49),
    };
    // A wave of which the flight is at some point: high season and low season.
    let season = 1.0 + 0.08 * libm::sin(std::f64::consts::TAU * unit(&mut rng));
    // Nearly normal, by twelve uniform numbers, whose variances add up to 1.
    let normal: f64 = (0..12).map(|_| unit(&mut rng)).sum::<f64>() - 6.0;
    let price = flight.expected_price() * season * (1.0 + 0.05 * normal);
    (flight, price.round().max(500.0))
}

fn unit(rng: &mut ChaCha8Rng) -> f64 {
    rng.random_range(0.0..1.0)
}

/// One of several, by their shares of 1,000.
fn pick(rng: &mut ChaCha8Rng, shares: impl Iterator<Item = u32>) -> usize {
    let mut left = rng.random_range(0..1_000);
    let mut at = 0;
    for share in shares {
        if left < share {
            break;
        }
        left -= share;
        at += 1;
    }
    at
}

/// Rows between two calls of who watches them being written.
const WATCHED: u64 = 4_096;

/// Writes a table of that many flights as CSV, and tells `watch` now and then how many are written.
///
/// # Errors
/// As `to` has them.
pub fn write(
    to: &mut dyn Write,
    rows: u64,
    seed: u64,
    watch: &mut dyn FnMut(u64),
) -> io::Result<()> {
    writeln!(to, "{HEADER}")?;
    for row in 0..rows {
        if row % WATCHED == 0 {
            watch(row);
        }
        let (flight, price) = flight(seed, row);
        let airline = &AIRLINES[flight.airline];
        writeln!(
            to,
            "{row},{},{}-{},{},{},{},{},{},{},{:.2},{},{price}",
            airline.name,
            airline.code,
            flight.flight,
            CITIES[flight.from].0,
            TIMES[flight.departure].0,
            STOPS[flight.stops].0,
            TIMES[flight.arrival].0,
            CITIES[flight.to].0,
            if flight.business { "Business" } else { "Economy" },
            flight.duration,
            flight.days_left,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_a_thousand() {
        assert_eq!(AIRLINES.iter().map(|airline| airline.share).sum::<u32>(), 1_000);
        assert_eq!(STOPS.iter().map(|stops| stops.1).sum::<u32>(), 1_000);
        assert_eq!(AIRLINES.iter().map(|airline| airline.flights).sum::<u32>(), 1_561);
    }

    #[test]
    fn a_longer_table_begins_with_the_shorter_one() {
        let table = |rows, seed| {
            let mut text = Vec::new();
            write(&mut text, rows, seed, &mut |_| ()).unwrap();
            String::from_utf8(text).unwrap()
        };
        let mut told = Vec::new();
        write(&mut io::sink(), 2 * WATCHED + 1, 1, &mut |row| told.push(row)).unwrap();
        assert_eq!(told, [0, WATCHED, 2 * WATCHED]);
        let (short, long) = (table(10, 1), table(30, 1));
        assert!(long.starts_with(&short));
        assert_eq!(long.lines().count(), 31);
        assert_ne!(short, table(10, 2));
        assert!(long.lines().all(|line| line.split(',').count() == 12));
    }

    #[test]
    fn prices_are_about_what_is_expected() {
        let (mut sum, mut expected) = (0.0, 0.0);
        for row in 0..20_000 {
            let (flight, price) = flight(3, row);
            assert!(flight.from != flight.to && flight.duration > 0.8);
            let likely = flight.expected_price();
            assert!((price / likely - 1.0).abs() < 0.42, "{flight:?}: {price} {likely}");
            sum += price;
            expected += likely;
        }
        assert!((sum / expected - 1.0).abs() < 0.002);
    }
    /// In logarithms the rule is linear in every column, if route, duration and days are categories: least squares
    /// recovers the factors, and ridge what plain sums of squares say.
    #[test]
    fn the_rule_is_recovered_where_it_is_linear() {
        use crate::tables::models::Affine;
        use crate::tables::{Column, Design, Encoded, Encoding, Gram, Table, Values};
        use threadcount_kernels::{Isa, Team};

        let rows = 20_000_u32;
        let flights: Vec<Flight> = (0..u64::from(rows)).map(|row| flight(5, row).0).collect();
        let text = |of: &dyn Fn(&Flight) -> String| {
            let cells: Vec<String> = flights.iter().map(of).collect();
            Values::text(cells.iter().map(String::as_str))
        };
        let columns = [
            ("airline", text(&|f| AIRLINES[f.airline].name.to_owned())),
            ("stops", text(&|f| STOPS[f.stops].0.to_owned())),
            ("departure", text(&|f| TIMES[f.departure].0.to_owned())),
            ("class", text(&|f| if f.business { "Business" } else { "Economy" }.to_owned())),
            ("route", text(&|f| format!("{}-{}", f.from, f.to))),
            ("duration", text(&|f| format!("{:.2}", f.duration))),
            ("days", text(&|f| f.days_left.to_string())),
        ];
        let columns = columns.map(|(name, values)| Column { name: name.to_owned(), values });
        let logarithms = flights.iter().map(|f| libm::log(f.expected_price())).collect();
        let table = Table::new(columns.into(), "log price", logarithms).unwrap();
        let all: Vec<u32> = (0..rows).collect();
        let encoding = Encoding::fit(&table, &all).unwrap();
        let design = Design::new(&encoding, &table, &all).unwrap();
        let gram = Gram::new(&Team::solo(Isa::best()), &design, &table.values);
        let factors = [
            AIRLINES.iter().map(|a| (a.name, a.factor)).collect::<Vec<_>>(),
            STOPS.iter().map(|s| (s.0, s.2)).collect(),
            TIMES.to_vec(),
            vec![("Business", BUSINESS), ("Economy", ECONOMY)],
        ];
        // The penalty of ridge is 1 beside thousands of rows of each category.
        let models = [
            (Affine::least_squares(&gram).unwrap(), 1e-4),
            (Affine::ridge(&gram, 1e-6).unwrap(), 1e-4),
            (Affine::ridge(&gram, 1.0).unwrap(), 1e-2),
        ];
        for (model, tolerance) in models {
            let mut start = 0;
            for (column, factors) in encoding.columns.iter().zip(&factors) {
                let Encoded::Categories(names) = &column.encoded else { panic!() };
                let weights = &model.weights[start..][..names.len()];
                start += names.len();
                let log = |name: &String| {
                    libm::log(factors.iter().find(|(known, _)| known == name).unwrap().1)
                };
                // Only differences are decided: the columns of all categories add up to 1.
                for (name, weight) in names.iter().zip(weights) {
                    let (ours, rule) = (weight - weights[0], log(name) - log(&names[0]));
                    assert!((ours - rule).abs() < tolerance, "{name}: {ours}, not {rule}");
                }
            }
        }
    }
}
