//! The twin of [`crate::nearest`].

/// The first number from `start` on with `scores[i] - offsets[i] >= bar`.
pub fn first_from(scores: &[f32], offsets: &[f32], bar: f32, start: usize) -> Option<usize> {
    (start..scores.len()).find(|&i| scores[i] - offsets[i] >= bar)
}
