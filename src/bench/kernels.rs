//! The one list of the kernels that `threadcount bench --kernels` measures, each at all its sizes. A new
//! kernel needs a line in [`all`], and a [`Case`] that says what it does.

use super::case::Case;
use super::convolution::Pass;
use super::fused::{Execution, Fusion};
use super::gather::{self, GatherCase, Moving};
use super::shapes::Shapes;
use crate::{Error, Result};

/// A kernel at one size. Its memory is allocated when its case is built.
pub struct Entry {
    /// The kernel's name.
    pub kernel: String,
    /// Its size, in words.
    pub shape: String,
    build: Box<dyn Fn() -> Box<dyn Case>>,
}

impl Entry {
    fn new(
        kernel: impl Into<String>,
        shape: String,
        build: impl Fn() -> Box<dyn Case> + 'static,
    ) -> Self {
        Self { kernel: kernel.into(), shape, build: Box::new(build) }
    }

    /// Kernel and size.
    pub fn name(&self) -> String {
        format!("{} {}", self.kernel, self.shape)
    }

    /// The kernel with its inputs.
    pub fn case(&self) -> Box<dyn Case> {
        (self.build)()
    }
}

/// Every kernel at every size.
///
/// # Errors
/// [`Error::Usage`] if the layers of a recipe do not fit each other.
pub fn all() -> Result<Vec<Entry>> {
    let shapes = Shapes::of_reports()?;
    let mut entries = Vec::new();
    for product in shapes.products() {
        entries.push(Entry::new(product.kernel(), product.shape(), move || product.case()));
    }
    for convolution in shapes.largest_convolutions() {
        for pass in Pass::ALL {
            let case = move || convolution.case(pass);
            entries.push(Entry::new(pass.kernel(), convolution.shape(pass), case));
        }
    }
    for fusion in Fusion::ALL {
        for convolution in shapes.largest_fused(fusion) {
            for execution in Execution::ALL {
                let case = move || convolution.fused_case(fusion, execution);
                entries.push(Entry::new(fusion.kernel(execution), convolution.size(), case));
            }
        }
    }
    for sweep in shapes.largest_sweeps() {
        for &direction in sweep.directions() {
            let of = sweep.clone();
            let case = move || of.case(direction);
            entries.push(Entry::new(sweep.kernel(direction), sweep.shape(), case));
        }
    }
    for moving in Moving::ALL {
        let gather = move || Box::new(GatherCase::new(moving)) as Box<dyn Case>;
        entries.push(Entry::new(moving.kernel(), gather::shape(), gather));
    }
    Ok(entries)
}

/// The entries with one of `filters` in their kernel's name or shape, in upper or lower case; all of them
/// without a filter.
///
/// # Errors
/// [`Error::Usage`] that lists the kernels, if a filter picks nothing.
pub fn select(filters: &[String]) -> Result<Vec<Entry>> {
    let mut entries = all()?;
    let picks = |filter: &String, entry: &Entry| entry.name().contains(&filter.to_lowercase());
    for filter in filters {
        if !entries.iter().any(|entry| picks(filter, entry)) {
            let mut kernels: Vec<_> = entries.iter().map(|entry| &entry.kernel[..]).collect();
            kernels.sort_unstable();
            kernels.dedup();
            return Err(Error::Usage(format!(
                "no kernel has '{filter}' in its name or shape; there are {}",
                kernels.join(", ")
            )));
        }
    }
    entries.retain(|entry| filters.is_empty() || filters.iter().any(|f| picks(f, entry)));
    Ok(entries)
}
