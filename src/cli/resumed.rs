//! How the products of what is resumed are computed: by a kernel of bf16 products with the bits that they had before.

use super::settings::PrecisionFlag;
use crate::console;
use crate::train::Record;
use crate::{Error, Result};
use threadcount_kernels::Error as KernelError;
use threadcount_kernels::Isa;
use threadcount_kernels::precision::{Arithmetic, Bf16Kernel};

/// How a run or a search goes on. `mend` says what else can be done where no kernel with its bits may be taken.
///
/// # Errors
/// [`Error::Usage`] as [`Record::arithmetic`].
pub(super) fn own_bits(record: &Record, isa: Isa, mend: &str) -> Result<Arithmetic> {
    record.arithmetic(isa).map_err(|error| match error {
        KernelError::OtherBf16Bits { .. } | KernelError::MissingBf16Bits { .. } => {
            Error::Usage(format!("{error}; {mend}"))
        }
        error => error.into(),
    })
}

/// How a run goes on in the precision of its record, beside that instruction set. `--precision`, of whatever name, asks
/// for the kernel that this machine would take. If that has other bits, there is a warning, and the record says so from
/// then on.
///
/// # Errors
/// As [`own_bits`]; [`Error::Usage`] for a kernel that this version does not know.
pub(super) fn arithmetic(
    record: &mut Record,
    isa: Isa,
    flag: &PrecisionFlag,
) -> Result<Arithmetic> {
    let precision = record.task.precision;
    if !flag.is_given() {
        let mend = format!("--precision {precision} goes on with other bits");
        return own_bits(record, isa, &mend);
    }
    let arithmetic = Arithmetic::of(isa, precision)?;
    let was = record.bf16_kernel.as_deref().map(Bf16Kernel::from_name).transpose()?;
    match (was, arithmetic.bf16_kernel()) {
        (Some(was), Some(is)) if was.has_bits_of(is) => {}
        (was, is) => {
            if let (Some(was), Some(is)) = (was, is) {
                console::warn(&format!(
                    "the run was computed by {was} and goes on by {is}, whose bits are others: its result is another one"
                ));
            }
            record.bf16_kernel = is.map(|kernel| kernel.name().to_owned());
        }
    }
    Ok(arithmetic)
}
