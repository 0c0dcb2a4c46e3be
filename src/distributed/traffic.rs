//! What a rank has said to the others, and how long it has waited for them.

use std::ops::{AddAssign, Sub};
use std::time::Duration;

/// Messages of the work of one rank; beats and the like do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages that it has sent.
    pub messages: u64,
    /// The bytes of these messages.
    pub bytes: u64,
    /// The time that its work stood still until a message had come.
    pub waited: Duration,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes += more.bytes;
        self.waited += more.waited;
    }
}

/// What has come since an earlier moment.
impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            messages: self.messages - before.messages,
            bytes: self.bytes - before.bytes,
            waited: self.waited - before.waited,
        }
    }
}
