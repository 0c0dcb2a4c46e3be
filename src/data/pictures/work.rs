//! The import itself: pictures are decoded into one unnamed file, then split, shuffled and written.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tempfile::TempDir;

use super::listing::{Listing, Picture, list};
use super::{
    CLASSES_FILE, ClassCount, Colours, Import, ImportEvent, Imported, MAX_SIDE, TEST_FRACTION,
    pixels,
};
use crate::data::Half;
use crate::data::cache::temporary;
use crate::data::fashion_mnist::FILES;
use crate::data::format::header::header_bytes;
use crate::random::{Key, Purpose};
use crate::{Error, Result};

/// The most bytes of images, and the most pictures, decoded before they are written: the steps of progress.
const CHUNK_BYTES: usize = 32 << 20;
const CHUNK_PICTURES: usize = 256;

type Watch<'a> = dyn FnMut(ImportEvent<'_>) -> ControlFlow<()> + 'a;

pub(super) fn run(import: &Import, watch: &mut Watch<'_>) -> Result<Imported> {
    import.check()?;
    let out = Target::free(&import.out, &import.folder)?;
    let listing = list(import)?;
    tell(
        watch,
        ImportEvent::Found { pictures: listing.pictures.len(), classes: listing.classes.len() },
    )?;
    let mut counts: Vec<ClassCount> = listing
        .classes
        .iter()
        .map(|name| ClassCount { name: name.clone(), train: 0, test: 0, unreadable: 0 })
        .collect();
    fs::create_dir_all(&out.parent).map_err(Error::io(&out.parent))?;
    let mut spool = Spool::new(&out.parent, import)?;
    let chunk = (CHUNK_BYTES / import.image_len()).clamp(1, CHUNK_PICTURES);
    let mut read = 0;
    for pictures in listing.pictures.chunks(chunk) {
        let images: Vec<_> =
            pictures.par_iter().map(|picture| import.read(&picture.path)).collect();
        for (picture, image) in pictures.iter().zip(images) {
            match image {
                Ok(image) => spool.put(picture, &image)?,
                Err(fault) => {
                    counts[usize::from(picture.class)].unreadable += 1;
                    tell(watch, ImportEvent::Unreadable { path: &picture.path, fault: &fault })?;
                }
            }
        }
        read += pictures.len();
        tell(watch, ImportEvent::Read(read))?;
    }
    let cut = import.cut(&listing, &spool.images, &mut counts)?;
    let staging = out.staging()?;
    for (half, [images, labels]) in cut.iter().zip([[0, 1], [2, 3]]) {
        spool.write_images(&staging.path().join(FILES[images].name), import, half, &mut || {
            tell(watch, ImportEvent::Writing)
        })?;
        spool.write_labels(&staging.path().join(FILES[labels].name), half)?;
    }
    write(&staging.path().join(CLASSES_FILE), |file| {
        listing.classes.iter().try_for_each(|name| writeln!(file, "{name}"))
    })?;
    tell(watch, ImportEvent::Writing)?;
    out.publish(staging)?;
    let [height, width] = import.size;
    Ok(Imported {
        height,
        width,
        channels: import.colours.channels(),
        classes: counts,
        skipped: listing.skipped,
        unfiled: listing.unfiled,
    })
}

fn tell(watch: &mut Watch<'_>, event: ImportEvent<'_>) -> Result<()> {
    match watch(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Interrupted("; no set was written".into())),
    }
}

impl Import {
    fn read(&self, path: &Path) -> std::result::Result<Vec<u8>, String> {
        Ok(pixels::read(path, self.size, self.colours, self.tones)?.pixels)
    }

    fn check(&self) -> Result<()> {
        let fault = |name, fault: String| Err(Error::Setting { name, fault });
        if self.size.iter().any(|side| !(1..=MAX_SIDE).contains(side)) {
            let [height, width] = self.size;
            return fault("size", format!("{height}x{width} is not 1 to {MAX_SIDE} on each side"));
        }
        match self.test_fraction {
            Some(share) if !(share > 0.0 && share < 1.0) => fault(
                "test-fraction",
                format!("{share} is not a share above 0 and below 1, such as 0.2"),
            ),
            _ => Ok(()),
        }
    }

    fn image_len(&self) -> usize {
        let [height, width] = self.size;
        height * width * self.colours.channels()
    }

    /// The images of the training and the test part, each in the order of its file: shuffled, so that a later
    /// split by position does not remove a class.
    fn cut(
        &self,
        listing: &Listing,
        images: &[(u8, Option<Half>)],
        counts: &mut [ClassCount],
    ) -> Result<[Vec<u32>; 2]> {
        let key = Key::new(self.seed, Purpose::Split);
        let share = self.test_fraction.unwrap_or(TEST_FRACTION);
        let mut halves = [Vec::new(), Vec::new()];
        for (class, count) in counts.iter_mut().enumerate() {
            let of_class: Vec<u32> = (0..images.len() as u32)
                .filter(|&i| usize::from(images[i as usize].0) == class)
                .collect();
            let tested = match of_class.len() {
                0 | 1 => 0,
                n => ((n as f64 * share).round() as usize).clamp(1, n - 1),
            };
            for (place, pick) in
                key.with(class as u64).shuffled(of_class.len()).into_iter().enumerate()
            {
                let i = of_class[pick as usize];
                let half = match images[i as usize].1 {
                    Some(half) => half,
                    None if place < tested => Half::Test,
                    None => Half::Train,
                };
                halves[half as usize].push(i);
                match half {
                    Half::Train => count.train += 1,
                    Half::Test => count.test += 1,
                }
            }
            if count.train == 0 {
                let part = if count.test > 0 { "training " } else { "" };
                let fault = match count.unreadable {
                    0 => format!("holds no {part}pictures: add some, or take the folder away"),
                    n => format!(
                        "none of its {n} {part}pictures can be read: mend them, or take the folder away"
                    ),
                };
                return Err(Error::data(self.folder.join(&listing.classes[class]), fault));
            }
        }
        if halves[1].is_empty() {
            return Err(Error::data(
                &self.folder,
                "no class has two pictures, so that one could be tested on: add some",
            ));
        }
        let order = key.with(u64::MAX);
        Ok([(Half::Train, &halves[0]), (Half::Test, &halves[1])].map(|(half, images)| {
            let order = order.with(half as u64).shuffled(images.len());
            order.into_iter().map(|i| images[i as usize]).collect()
        }))
    }
}

/// Where the set is going to be.
struct Target {
    path: PathBuf,
    parent: PathBuf,
}

impl Target {
    /// Refuses a folder that is not free, before minutes of work.
    fn free(out: &Path, folder: &Path) -> Result<Self> {
        let refuse = |fault: &str| Err(Error::Usage(format!("{}: {fault}", out.display())));
        let path = match fs::read_dir(out).map(|mut entries| entries.next().is_none()) {
            Ok(false) => return refuse("the folder is not empty: name another for the set"),
            Ok(true) => out.canonicalize().map_err(Error::io(out))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if out.symlink_metadata().is_ok() {
                    return refuse("a link that leads nowhere: name another folder for the set");
                }
                real(out).map_err(Error::io(out))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return refuse("a file is there: name another folder for the set");
            }
            Err(error) => return Err(Error::io(out)(error)),
        };
        if folder.canonicalize().is_ok_and(|folder| path.starts_with(folder)) {
            return refuse(
                "lies within the folder of pictures, where it would be a class: name one outside it",
            );
        }
        match path.parent() {
            Some(parent) => Ok(Self { parent: parent.to_owned(), path }),
            None => refuse("the root of the file system: name another folder for the set"),
        }
    }

    /// An empty folder next to it.
    fn staging(&self) -> Result<TempDir> {
        temporary(".threadcount-import-", 0o777)
            .tempdir_in(&self.parent)
            .map_err(Error::io(&self.parent))
    }

    fn publish(self, staging: TempDir) -> Result<()> {
        // Only on Unix does a rename replace an empty folder, so it is removed; a folder that was filled
        // meanwhile is not.
        let _ = fs::remove_dir(&self.path);
        fs::rename(staging.path(), &self.path).map_err(Error::io(&self.path))?;
        // Nothing is left under the old name to be cleaned up.
        let _ = staging.keep();
        Ok(())
    }
}

/// A path without links; it need not exist.
fn real(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path) };
    match parent.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(real(parent)?.join(name)),
        parent => Ok(parent?.join(name)),
    }
}

/// Images in the order in which they were read, in a file without a name, so that memory stays small
/// whatever their number.
struct Spool {
    file: BufWriter<File>,
    folder: PathBuf,
    image_len: usize,
    /// Class and part of each.
    images: Vec<(u8, Option<Half>)>,
}

impl Spool {
    fn new(folder: &Path, import: &Import) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(Error::io(folder))?;
        Ok(Self {
            file: BufWriter::new(file),
            folder: folder.to_owned(),
            image_len: import.image_len(),
            images: Vec::new(),
        })
    }

    fn put(&mut self, picture: &Picture, image: &[u8]) -> Result<()> {
        self.file.write_all(image).map_err(Error::io(&self.folder))?;
        self.images.push((picture.class, picture.half));
        Ok(())
    }

    fn write_images(
        &mut self,
        path: &Path,
        import: &Import,
        picks: &[u32],
        look: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let [height, width] = import.size;
        let shape = match import.colours {
            Colours::Grey => vec![picks.len(), height, width],
            Colours::Rgb => vec![picks.len(), height, width, 3],
        };
        self.file.flush().map_err(Error::io(&self.folder))?;
        let spool = self.file.get_mut();
        let mut image = vec![0; self.image_len];
        let mut asked_to_stop = Ok(());
        write(path, |out| {
            out.write_all(&header_bytes(&shape))?;
            for (i, &pick) in picks.iter().enumerate() {
                if i % CHUNK_PICTURES == 0 {
                    asked_to_stop = look();
                    if asked_to_stop.is_err() {
                        return Ok(());
                    }
                }
                spool.seek(SeekFrom::Start(u64::from(pick) * image.len() as u64))?;
                spool.read_exact(&mut image)?;
                out.write_all(&image)?;
            }
            Ok(())
        })?;
        asked_to_stop
    }

    fn write_labels(&self, path: &Path, picks: &[u32]) -> Result<()> {
        let labels: Vec<u8> = picks.iter().map(|&pick| self.images[pick as usize].0).collect();
        write(path, |out| {
            out.write_all(&header_bytes(&[labels.len()]))?;
            out.write_all(&labels)
        })
    }
}

fn write(path: &Path, body: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let attempt = || {
        let mut out = BufWriter::new(File::create_new(path)?);
        body(&mut out)?;
        // Before the rename, or a power cut could leave the new name on empty files.
        out.into_inner()?.sync_all()
    };
    attempt().map_err(Error::io(path))
}
