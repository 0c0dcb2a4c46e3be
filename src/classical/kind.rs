//! Which classical classifiers there are.

use std::fmt;

/// Which classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Logistic`](super::Logistic)
    Logistic,
    /// [`Neighbours`](super::Neighbours)
    Neighbours,
    /// [`SampleForest`](super::SampleForest)
    Forest,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Logistic, Self::Neighbours, Self::Forest];

    /// Its name on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::Neighbours => "neighbours",
            Self::Forest => "forest",
        }
    }

    /// The one of this name; `knn` are the neighbours too.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = if name == "knn" { Self::Neighbours.name() } else { name };
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::from_name("knn"), Some(Kind::Neighbours));
        assert_eq!(Kind::from_name("k"), None);
    }
}
