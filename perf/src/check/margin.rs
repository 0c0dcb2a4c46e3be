//! Margins: the changes of a benchmark that count as none.

use crate::noise::Noise;
use crate::protocol::Benchmark;
use crate::record::{FolderFlag, history_of_machine};
use crate::rounds::Earlier;
use crate::suite;
use std::path::Path;
use std::str::FromStr;
use threadcount::{Error, Result};

/// Changes up to this share count as none: on one thread, and on several, whose timings depend on
/// where the system puts them.
const SINCE_BASE: [f64; 2] = [0.02, 0.05];

/// The same since the anchor, from which many changes lead to the head. Ten of one per cent are more than either.
const SINCE_ANCHOR: [f64; 2] = [0.04, 0.07];

/// Changes up to so many seconds of a run count as none either: some hundred cycles, the price of where
/// code and memory of the two programs happen to lie. (0.57 us of sigmoid became 15 % slower by a commit
/// that touched no kernel.)
const GRAIN: f64 = 0.1e-6;

/// A margin for some benchmarks, as the command line gives it: `GLOB=PERCENT`.
#[derive(Clone, Debug)]
pub struct Margin {
    glob: glob::Pattern,
    share: f64,
}

impl FromStr for Margin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::Usage(format!("'{text}' is no margin, such as 'dense-dx*=4'"));
        let (glob, percent) = text.rsplit_once('=').ok_or_else(wrong)?;
        let percent: f64 = percent.parse().map_err(|_| wrong())?;
        if !(percent > 0.0 && percent.is_finite()) {
            return Err(wrong());
        }
        Ok(Self { glob: suite::pattern(glob)?, share: percent / 100.0 })
    }
}

/// The margins of all benchmarks.
#[derive(Clone, Debug, Default)]
pub struct Margins {
    /// Those that were given; the last one for a benchmark counts, whatever its noise.
    pub given: Vec<Margin>,
    /// Those that were given for changes since the anchor.
    pub given_since_anchor: Vec<Margin>,
    /// What is known of each benchmark's own noise: no margin is narrower, unless it was given.
    pub noise: Noise,
}

impl Margins {
    /// Those that were given, with the noise that was recorded on this machine in the workspace at `root`.
    ///
    /// # Errors
    /// [`Error::Data`] for a history that cannot be read.
    pub fn on_this_machine(root: &Path, given: &[Margin], since_anchor: &[Margin]) -> Result<Self> {
        let history = history_of_machine(&FolderFlag::default().path(root));
        Ok(Self {
            given: given.to_vec(),
            given_since_anchor: since_anchor.to_vec(),
            noise: Noise::recorded(&history)?,
        })
    }

    /// The margin of a benchmark whose run takes so many seconds.
    pub fn of(&self, benchmark: &Benchmark, seconds: f64, earlier: Earlier) -> f64 {
        let (given, usual) = match earlier {
            Earlier::Base => (&self.given, SINCE_BASE),
            Earlier::Anchor => (&self.given_since_anchor, SINCE_ANCHOR),
        };
        let own = given.iter().rev().find(|margin| margin.glob.matches(&benchmark.name));
        own.map_or_else(
            || {
                let usual = usual[usize::from(benchmark.threads > 1)];
                usual.max(GRAIN / seconds).max(self.noise.of(benchmark).unwrap_or(0.0))
            },
            |margin| margin.share,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(name: &str, threads: usize) -> Benchmark {
        Benchmark { name: name.into(), isa: "avx2".into(), threads }
    }

    fn parsed(texts: &[&str]) -> Vec<Margin> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn margins_are_those_of_the_last_glob() {
        let given = parsed(&["step *=3", "step biu-*=4.5"]);
        let margins = Margins { given, ..Margins::default() };
        let margin =
            |name, threads, seconds| margins.of(&on(name, threads), seconds, Earlier::Base);
        assert_eq!(margin("gemm", 1, 1e-3), 0.02);
        assert_eq!(margin("gemm", 2, 1e-3), 0.05);
        assert_eq!(margin("gemm", 1, 1e-6), 0.1);
        assert_eq!(margin("step nlp-rnn", 2, 1e-3), 0.03);
        assert_eq!(margin("step biu-adam", 2, 1e-6), 0.045);
        for bad in ["gemm", "gemm=", "gemm=x", "gemm=0", "gemm=-1", "gemm=inf", "[=1"] {
            assert!(matches!(bad.parse::<Margin>(), Err(Error::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn the_anchor_has_margins_of_its_own() {
        let (given, given_since_anchor) = (parsed(&["step *=3"]), parsed(&["gemm=9"]));
        let margins = Margins { given, given_since_anchor, ..Margins::default() };
        let margin = |name, threads| margins.of(&on(name, threads), 1e-3, Earlier::Anchor);
        assert_eq!(
            (margin("step x", 1), margin("step x", 2), margin("gemm", 1)),
            (0.04, 0.07, 0.09)
        );
        // Ten changes of one per cent are beyond them.
        assert!(1.01_f64.powi(10) - 1.0 > margin("step x", 2));
    }

    #[test]
    fn noise_is_the_lower_limit_of_what_was_not_given() {
        let noise: Noise =
            [("loud", 1, 0.03), ("loud", 2, 0.04), ("told", 1, 0.5), ("quiet", 1, 0.001)]
                .map(|(name, threads, noise)| (on(name, threads), noise))
                .into_iter()
                .collect();
        let margins = Margins { given: parsed(&["told=1"]), noise, ..Margins::default() };
        let margin = |name, threads, earlier| margins.of(&on(name, threads), 1e-3, earlier);
        use Earlier::{Anchor, Base};
        assert_eq!(margin("loud", 1, Base), 0.03);
        assert_eq!(margin("loud", 1, Anchor), 0.04);
        assert_eq!(margin("loud", 2, Base), 0.05);
        assert_eq!(margin("told", 1, Base), 0.01);
        assert_eq!(margin("told", 1, Anchor), 0.5);
        assert_eq!(margin("quiet", 1, Base), 0.02);
    }
}
