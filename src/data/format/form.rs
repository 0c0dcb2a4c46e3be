//! What an array has to be to hold images or labels, whatever the format of its file.

use std::fmt::Display;

use crate::data::shape::{elements, times};

/// What the array in a file has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `[count, height, width]`, or with channels `[count, height, width, channels]`; bytes.
    Images,
    /// `[count]`, whole numbers; or, where the format allows it, `[count, columns]`, where the first column
    /// is the class.
    Labels,
}

/// How many columns labels may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// A label is one number.
    One,
    /// The first of several is the class, as QMNIST has it.
    First,
}

impl Form {
    /// What it holds, in the plural.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Labels => "labels",
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Images => Self::Labels,
            Self::Labels => Self::Images,
        }
    }

    /// Checks that an array of these sizes has this form and is not empty. The fault says what it is instead,
    /// and what to do.
    pub fn check(self, dims: &[usize], columns: Columns) -> Result<(), String> {
        let text = sizes_text(dims);
        match (self, dims) {
            (Self::Images, [_, _, _] | [_, _, _, 1 | 3]) | (Self::Labels, [_] | [_, 1]) => Ok(()),
            (Self::Labels, [_, _]) if columns == Columns::First => Ok(()),
            (Self::Images, [_]) => {
                Err(format!("holds labels, one number each ({text}), where images belong"))
            }
            (Self::Images, &[n, row]) => {
                let side = row.isqrt();
                let example = match side * side == row {
                    true => format!(", such as {}", sizes_text(&[n, side, side])),
                    false => String::new(),
                };
                Err(format!(
                    "holds a row of {row} numbers for each image ({text}), not its height and width; \
                     write the sizes [count, height, width]{example}"
                ))
            }
            (Self::Images, &[n, channels @ (1 | 3), height, width]) => Err(format!(
                "its channels come first ({text}); put those of each pixel side by side and write the sizes {}",
                sizes_text(&[n, height, width, channels])
            )),
            (Self::Images, &[_, _, _, channels]) => {
                Err(format!("its images have {channels} channels ({text}); convert them to 1 or 3"))
            }
            (Self::Images, _) => Err(format!(
                "has {} dimensions ({text}) where images have 3, or 4 with channels; write the sizes \
                 [count, height, width]",
                dims.len()
            )),
            (Self::Labels, &[n, row]) => Err(format!(
                "holds {row} numbers for each label ({text}), perhaps one-hot rows; write the number of the \
                 class alone, with the sizes [{n}]"
            )),
            (Self::Labels, [_, _, _] | [_, _, _, _]) => {
                Err(format!("holds images ({text}), where labels belong"))
            }
            (Self::Labels, _) => Err(format!(
                "has {} dimensions ({text}) where labels have 1; write the sizes [count]",
                dims.len()
            )),
        }?;
        let noun = self.noun();
        if dims[0] == 0 {
            return Err(format!("holds no {noun}; put a set with at least one in its place"));
        }
        if elements(dims) == 0 {
            return Err(format!(
                "its {noun} measure {} numbers; put {noun} of at least one in its place",
                times(&dims[1..])
            ));
        }
        Ok(())
    }
}

/// The sizes of images that [`Form::check`] has seen, as `[count, height, width, channels]`.
pub fn image_shape(dims: &[usize]) -> [usize; 4] {
    let &[count, height, width, ref channels @ ..] = dims else {
        unreachable!("images have three dimensions or four");
    };
    [count, height, width, channels.first().copied().unwrap_or(1)]
}

/// `[600, 28, 28]`
pub fn sizes_text(dims: &[usize]) -> String {
    // A header can promise more dimensions than a line should have.
    match dims {
        [first @ .., _] if first.len() >= 8 => format!("{:?} and more", &first[..8]),
        _ => format!("{dims:?}"),
    }
}

/// Labels as `u32`; or a message about the first value that is not a label.
pub fn labels<T>(values: impl IntoIterator<Item = T>) -> Result<Vec<u32>, String>
where
    T: Copy + Display + TryInto<u32>,
{
    let label = |(i, value): (usize, T)| {
        let fault = |_| format!("label {i} is {value}; number the classes from 0 up");
        value.try_into().map_err(fault)
    };
    values.into_iter().enumerate().map(label).collect()
}
