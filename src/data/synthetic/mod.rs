//! The synthetic set: drawn garments in the ten classes of Fashion-MNIST and the same four files,
//! so that the program and its tests run on a machine with neither data nor network. It is **not**
//! Fashion-MNIST; nothing measured on it is compared with the reports' claims.
//!
//! Every image is a function of (seed, part, index) alone. It is drawn once, in parallel, and kept
//! in the cache under a name that carries the version of the drawings, the seed and the counts.

mod canvas;
mod garments;
mod sheet;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rand_chacha::rand_core::Rng;
use rayon::prelude::*;

use super::cache::{Cache, CacheWork, Made, is_whole as is_whole_file, not_writable};
use super::fashion_mnist::{CLASS_NAMES, FILES, Half};
use super::format::form::Form;
use super::format::header::header_bytes;
use crate::Result;
use crate::random::{Key, Purpose};
use canvas::{Dice, PIXELS, SIDE};

/// Counted up whenever the drawings change, so that no old set is taken for the new one.
pub const VERSION: u32 = 1;
/// The seed of the set that is used when no data is found.
pub const SEED: u64 = 0;
/// Training images of that set.
pub const TRAIN: usize = 60_000;
/// Test images of that set.
pub const TEST: usize = 10_000;
/// A file of this name beside the four marks a synthetic set.
pub const MARKER: &str = "NOT-FASHION-MNIST.txt";

/// How many classes are drawn.
const CLASSES: usize = CLASS_NAMES.len();

/// Images drawn at a time: 3.2 MB, so memory stays small whatever the count.
const CHUNK: usize = 4096;

/// Name of the cached folder of the default set.
pub fn folder_name() -> String {
    format!("synthetic-v{VERSION}-seed{SEED}-{TRAIN}-{TEST}")
}

/// The default set's folder in the cache, drawn if it is not there or no longer whole.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) if the cache cannot be written.
pub fn ensure(cache: &Cache) -> Result<PathBuf> {
    let name = folder_name();
    let folder = cache.root()?.join(&name);
    if is_whole(&folder) {
        return Ok(folder);
    }
    // One process draws; the others wait, and find what it has drawn. A whole set is never moved, so its
    // files do not vanish while another process opens them.
    let _lock = cache.lock()?;
    if is_whole(&folder) {
        return Ok(folder);
    }
    let staging = cache.staging()?;
    let total = (TRAIN + TEST) as u64;
    draw_into(staging.path(), SEED, TRAIN, TEST, &mut |done| {
        cache.tell(CacheWork { made: Made::Drawn, done, total });
    })?;
    if folder.symlink_metadata().is_ok() {
        // A damaged set. It is renamed away in one step, and deleted when `away` is dropped.
        let away = cache.staging()?;
        fs::rename(&folder, away.path().join(&name)).map_err(not_writable(&folder))?;
    }
    cache.publish(staging, &name)
}

/// Whether the folder holds the marker and four files of the right form.
fn is_whole(folder: &Path) -> bool {
    folder.join(MARKER).is_file()
        && (FILES.iter().zip([Form::Images, Form::Labels, Form::Images, Form::Labels]))
            .all(|(file, form)| is_whole_file(form, &folder.join(file.name)))
}

/// Draws a set of `train` + `test` images into an existing folder: four raw IDX files and the
/// marker. The first images of a larger set are those of a smaller one of the same seed.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) if a file cannot be written.
pub fn generate(folder: &Path, seed: u64, train: usize, test: usize) -> Result<()> {
    draw_into(folder, seed, train, test, &mut |_| ())
}

/// Like [`generate`]; tells `watch` how many images are drawn, first of all that none is.
fn draw_into(
    folder: &Path,
    seed: u64,
    train: usize,
    test: usize,
    watch: &mut dyn FnMut(u64),
) -> Result<()> {
    watch(0);
    let mut drawn = 0;
    for (half, count, [images, labels]) in
        [(Half::Train, train, [FILES[0], FILES[1]]), (Half::Test, test, [FILES[2], FILES[3]])]
    {
        write(&folder.join(images.name), |out| {
            write_images(out, seed, half, count, &mut |more| {
                drawn += more as u64;
                watch(drawn);
            })
        })?;
        write(&folder.join(labels.name), |out| {
            out.write_all(&header_bytes(&[count]))?;
            let labels: Vec<u8> = (0..count).map(|i| label(seed, half, i)).collect();
            out.write_all(&labels)
        })?;
    }
    let note = format!(
        "This is NOT Fashion-MNIST. These images were drawn by threadcount (drawings version {VERSION}, seed {seed},\n\
         {train} training and {test} test images) so that it runs where the real set is missing.\n"
    );
    write(&folder.join(MARKER), |out| out.write_all(note.as_bytes()))
}

fn write(
    path: &Path,
    body: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<()> {
    let attempt = || {
        let mut out = BufWriter::new(File::create(path)?);
        body(&mut out)?;
        out.flush()
    };
    attempt().map_err(not_writable(path))
}

/// `watch` is told of the images of each chunk.
fn write_images(
    out: &mut impl Write,
    seed: u64,
    half: Half,
    count: usize,
    watch: &mut dyn FnMut(usize),
) -> std::io::Result<()> {
    out.write_all(&header_bytes(&[count, SIDE, SIDE]))?;
    let mut pixels = vec![0; CHUNK.min(count) * PIXELS];
    for first in (0..count).step_by(CHUNK) {
        let chunk = &mut pixels[..CHUNK.min(count - first) * PIXELS];
        chunk.par_chunks_exact_mut(PIXELS).enumerate().for_each(|(i, image)| {
            draw(seed, half, first + i, image);
        });
        out.write_all(chunk)?;
        watch(chunk.len() / PIXELS);
    }
    Ok(())
}

/// The key of all random numbers of one image, or (with the group's number as `index`) of a group of labels.
fn key(seed: u64, half: Half, index: usize) -> Key {
    Key::new(seed, Purpose::Synthetic).with(half as u64).with(index as u64)
}

/// Every ten images in a row hold each class once, in an order of their own.
fn label(seed: u64, half: Half, index: usize) -> u8 {
    let mut classes: [u8; CLASSES] = std::array::from_fn(|class| class as u8);
    let mut rng = key(seed, half, index / CLASSES).with(1).rng();
    for i in (1..CLASSES).rev() {
        classes.swap(i, rng.next_u32() as usize % (i + 1));
    }
    classes[index % CLASSES]
}

fn draw(seed: u64, half: Half, index: usize, image: &mut [u8]) {
    let mut dice = Dice(key(seed, half, index).rng());
    let pieces = garments::draw(label(seed, half, index), &mut dice);
    canvas::render(&pieces, &mut dice, image);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut told = Vec::new();
        draw_into(folder.path(), 1, CHUNK + 3, 5, &mut |drawn| told.push(drawn)).unwrap();
        let chunk = CHUNK as u64;
        assert_eq!(told, [0, chunk, chunk + 3, chunk + 8]);
    }
}
