//! The six models that the report nlp2024 compared, on one table.
//!
//! - [`Affine`]: an intercept and a weight for each encoded column: the mean of the target (no weights), least
//!   squares, ridge, gradient descent
//! - [`Trees`]: a random forest on binned columns
//! - [`Net`]: two hidden layers of 80 units
//!
//! [`Kind::ALL`] is the list that the command line and the tests walk.

mod affine;
#[cfg(test)]
pub(super) mod examples;
mod network;
mod solve;
mod trees;

use std::ops::ControlFlow;

use threadcount_kernels::Pool;

pub use affine::{Affine, Descent};
pub use network::{Net, NetSettings};
pub use trees::Trees;

use super::encoding::{Design, Encoding};
use super::gram::Gram;
use crate::classical::GoOn;
use crate::toml_file::unknown;
use crate::train::{Moment, Session};
use crate::{Error, Result};

/// A kind of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The mean of the training rows, whatever the columns say: what others are compared with.
    Mean,
    /// Least squares, in closed form: scikit-learn's `LinearRegression`.
    Linear,
    /// The same with the squares of the weights, times 1, added to the sum of squares: scikit-learn's `Ridge`.
    Ridge,
    /// scikit-learn's `RandomForestRegressor`.
    Forest,
    /// Least squares by gradient descent on standardised columns, ended long before its optimum.
    Descent,
    /// Two hidden layers of 80 relu units, squared loss, Adam.
    Network,
}

impl Kind {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 6] =
        [Self::Mean, Self::Linear, Self::Ridge, Self::Forest, Self::Descent, Self::Network];

    /// Its name on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Linear => "linear",
            Self::Ridge => "ridge",
            Self::Forest => "forest",
            Self::Descent => "descent",
            Self::Network => "network",
        }
    }

    /// What it is, in a few words.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Mean => "mean of the training rows",
            Self::Linear => "linear least squares",
            Self::Ridge => "ridge regression, alpha 1",
            Self::Forest => "random forest, 100 trees",
            Self::Descent => "linear, by gradient descent",
            Self::Network => "two hidden layers of 80 units",
        }
    }

    /// The kind of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the nearest of the names that there are.
    pub fn of_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| Error::Usage(unknown("model", name, &Self::ALL.map(Self::name))))
    }
}

/// What models are trained on.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// How the columns are encoded.
    pub encoding: &'a Encoding,
    /// The training rows.
    pub design: &'a Design,
    /// Their targets, `[rows]`.
    pub targets: &'a [f64],
}

/// How models are trained.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FitSettings {
    /// The seed of the forest's draws, and of the network's weights and shuffles.
    pub seed: u64,
    /// Gradient descent.
    pub descent: Descent,
    /// The network.
    pub net: NetSettings,
}

/// A trained model.
#[derive(Debug)]
pub enum Regressor {
    /// An affine function of the encoded columns.
    Affine(Affine),
    /// A forest.
    Trees(Trees),
    /// A network.
    Net(Box<Net>),
}

/// Called while a network trains; `Break` ends that.
pub type Watch<'a> = dyn FnMut(&Session<'_>, Moment) -> ControlFlow<()> + Send + 'a;

/// What may end training.
pub struct Watching<'a> {
    /// That of the network.
    pub network: &'a mut Watch<'a>,
    /// That of the forest.
    pub go_on: &'a GoOn<'a>,
}

impl Regressor {
    /// Trains a model.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the forest was stopped; [`Error::Failed`] if the descent diverges; [`Error::Diverged`] if the network does; [`Error::Memory`];
    /// [`Error::Setting`].
    pub fn fit(
        kind: Kind,
        training: &Training<'_>,
        settings: &FitSettings,
        pool: &Pool,
        watching: Watching<'_>,
    ) -> Result<Self> {
        let Training { design, targets, .. } = *training;
        let gram = || pool.enter(|team| Gram::new(team, design, targets));
        Ok(match kind {
            Kind::Mean => Self::Affine(Affine::mean(targets, design.width())),
            Kind::Linear => Self::Affine(Affine::least_squares(&gram())?),
            Kind::Ridge => Self::Affine(Affine::ridge(&gram(), 1.0)?),
            Kind::Descent => {
                let gram = gram();
                let descent = &settings.descent;
                Self::Affine(pool.enter(|team| Affine::descended(team, &gram, descent))?)
            }
            Kind::Forest => Self::Trees(
                pool.enter(|team| Trees::fit(team, training, settings.seed, watching.go_on))?,
            ),
            Kind::Network => Self::Net(Box::new(Net::fit(
                training,
                &settings.net,
                settings.seed,
                pool,
                watching.network,
            )?)),
        })
    }

    /// Predictions for the rows of a design, `[rows]`, in the unit of the target.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the design is of another encoding.
    pub fn predict(&mut self, design: &Design, pool: &Pool) -> Result<Vec<f64>> {
        match self {
            Self::Affine(affine) => pool.enter(|team| affine.predict(team, design)),
            Self::Trees(trees) => pool.enter(|team| trees.predict(team, design)),
            Self::Net(net) => net.predict(design),
        }
    }

    /// Bytes that the model takes in memory.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Affine(affine) => 8 * (1 + affine.weights.len() as u64),
            Self::Trees(trees) => trees.bytes(),
            Self::Net(net) => net.bytes(),
        }
    }
}

/// Refuses a design of another width than a model was trained on.
fn check_width(design: &Design, width: usize) -> Result<()> {
    if design.width() == width {
        return Ok(());
    }
    Err(Error::Mismatch(format!("{} encoded columns for a model of {width}", design.width())))
}

#[cfg(test)]
mod tests {
    use super::examples::{Example, team};
    use super::*;
    use crate::classical::TO_THE_END;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use threadcount_kernels::Isa;

    fn fit(example: &Example, kind: Kind, settings: &FitSettings) -> Regressor {
        let Example { encoding, train: design, targets, .. } = example;
        let training = Training { encoding, design, targets };
        let pool = Pool::new(Isa::best(), 1).unwrap();
        let mut watch = |_: &Session<'_>, _| ControlFlow::Continue(());
        let watching = Watching { network: &mut watch, go_on: TO_THE_END };
        Regressor::fit(kind, &training, settings, &pool, watching).unwrap()
    }

    #[test]
    fn names_are_found() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_name(kind.name()).unwrap(), kind);
        }
        let fault = Kind::of_name("rigde").unwrap_err();
        assert!(fault.to_string().contains("did you mean 'ridge'?"), "{fault}");
    }

    #[test]
    fn kinds_are_what_they_say() {
        let example = Example::new(80, 1);
        let gram = example.gram();
        let settings = FitSettings::default();
        let mean = Affine::mean(&example.targets, gram.width());
        let linear = Affine::least_squares(&gram).unwrap();
        let ridge = Affine::ridge(&gram, 1.0).unwrap();
        let descent = Affine::descended(&team(), &gram, &Descent::default()).unwrap();
        let kinds = [Kind::Mean, Kind::Linear, Kind::Ridge, Kind::Descent];
        for (kind, expected) in kinds.into_iter().zip([mean, linear, ridge, descent]) {
            let Regressor::Affine(affine) = fit(&example, kind, &settings) else { panic!() };
            assert_eq!(affine, expected, "{}", kind.name());
        }
    }

    /// A forest that is told to stop is none.
    #[test]
    fn a_forest_stops_midway() {
        let Example { encoding, train: design, targets, .. } = &Example::new(300, 1);
        let training = Training { encoding, design, targets };
        let pool = Pool::new(Isa::best(), 2).unwrap();
        let asked = AtomicUsize::new(0);
        let go_on = || match asked.fetch_add(1, Ordering::Relaxed) < 500 {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let mut watch = |_: &Session<'_>, _| ControlFlow::Continue(());
        let watching = Watching { network: &mut watch, go_on: &go_on };
        let settings = FitSettings::default();
        let stopped = Regressor::fit(Kind::Forest, &training, &settings, &pool, watching);
        assert_eq!(stopped.unwrap_err().exit_code(), 130);
        // Each of the other trees asks once.
        assert!(asked.into_inner() <= 500 + 100);
    }

    /// Settings reach the models that they are for.
    #[test]
    fn settings_count() {
        let example = Example::new(120, 2);
        let predicted = |kind, settings: &FitSettings| {
            let pool = Pool::new(Isa::best(), 1).unwrap();
            fit(&example, kind, settings).predict(&example.test, &pool).unwrap()
        };
        let first = FitSettings::default();
        let other_seed = FitSettings { seed: 1, ..first };
        let longer = FitSettings { net: NetSettings { epochs: 11, ..first.net }, ..first };
        let faster = FitSettings { descent: Descent { rate: 0.002, ..first.descent }, ..first };
        for (kind, changed) in [
            (Kind::Forest, &other_seed),
            (Kind::Network, &other_seed),
            (Kind::Network, &longer),
            (Kind::Descent, &faster),
        ] {
            let (one, other) = (predicted(kind, &first), predicted(kind, changed));
            assert_ne!(one, other, "{}", kind.name());
            assert_eq!(one, predicted(kind, &first), "{}", kind.name());
        }
    }
}
