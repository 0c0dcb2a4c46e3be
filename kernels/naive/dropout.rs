//! Inverted dropout, an element at a time.

use crate::dropout::Dropout;

/// Whether element `element` of sample `sample` survives: see `crate::dropout` for the hash.
fn survives(dropout: &Dropout, sample: u64, element: u32) -> bool {
    let mut stream = dropout.key ^ sample.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    stream = (stream ^ (stream >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    stream = (stream ^ (stream >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    stream ^= stream >> 31;

    let mut x = element ^ stream as u32;
    x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    x = (x ^ (x >> 15) ^ (stream >> 32) as u32).wrapping_mul(0x846C_A68B);
    x ^= x >> 16;
    f64::from(x) >= f64::from(dropout.rate) * 4_294_967_296.0
}

/// `y = x / (1 - rate)` where the element survives, else 0.
pub fn forward(dropout: &Dropout, per_sample: usize, x: &[f32], y: &mut [f32]) {
    y.copy_from_slice(x);
    backward(dropout, per_sample, y);
}

/// `dy = dy / (1 - rate)` where the element survived, else 0.
pub fn backward(dropout: &Dropout, per_sample: usize, dy: &mut [f32]) {
    for (i, dy) in dy.iter_mut().enumerate() {
        let sample = dropout.first_sample.wrapping_add((i / per_sample) as u64);
        let kept = survives(dropout, sample, (i % per_sample) as u32);
        *dy = if kept { *dy * (1.0 / (1.0 - dropout.rate)) } else { 0.0 };
    }
}
