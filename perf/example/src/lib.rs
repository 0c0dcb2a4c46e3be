//! Something worth watching: how often each byte occurs.

/// How often each byte occurs, in four tables, so that equal neighbours do not wait for each other.
pub fn histogram(bytes: &[u8]) -> [u32; 256] {
    let mut tables = [[0_u32; 256]; 4];
    let mut chunks = bytes.chunks_exact(4);
    for chunk in &mut chunks {
        for (table, &byte) in tables.iter_mut().zip(chunk) {
            table[byte as usize] += 1;
        }
    }
    for &byte in chunks.remainder() {
        tables[0][byte as usize] += 1;
    }
    let [a, b, c, d] = tables;
    std::array::from_fn(|byte| a[byte] + b[byte] + c[byte] + d[byte])
}

/// The same in a plain loop.
pub fn naive_histogram(bytes: &[u8]) -> [u32; 256] {
    let mut table = [0; 256];
    bytes.iter().for_each(|&byte| table[byte as usize] += 1);
    table
}
