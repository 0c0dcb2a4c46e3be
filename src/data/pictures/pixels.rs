//! From a file to the pixels of one image.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
    error::LimitErrorKind,
};

use super::jpeg::reaches_its_end;
use super::{Colours, Picture, Tones, invert};

/// The most bytes of a file, and of the decoded picture.
const MAX_BYTES: u64 = 256 << 20;
/// The most pixels of a picture: decoders need several bytes of memory for each byte that they return.
const MAX_PIXELS: u64 = 1 << 26;
/// The longest side of a picture: between the two directions of resizing, a column of floats is held for each
/// of its columns.
const MAX_PICTURE_SIDE: u32 = 1 << 15;
/// Pictures of more pixels are decoded one at a time, so that memory does not grow with threads.
const LARGE: u64 = 1 << 24;

static ONE_LARGE: Mutex<()> = Mutex::new(());

/// The image that this picture becomes: `[H, W, channels]`. The fault is returned as text, for the caller to
/// add the file's name.
pub(super) fn read(
    path: &Path,
    size: [usize; 2],
    colours: Colours,
    tones: Tones,
) -> Result<Picture, String> {
    let picture = decode(&bytes_of(path)?)?;
    let was = [picture.height(), picture.width()].map(|side| side as usize);
    let [height, width] = size.map(|side| side as u32);
    let mut pixels = match colours {
        Colours::Grey => {
            imageops::resize(&grey(picture), width, height, FilterType::Triangle).into_raw()
        }
        Colours::Rgb => {
            imageops::resize(&rgb(picture), width, height, FilterType::Triangle).into_raw()
        }
    };
    if tones == Tones::Inverted {
        invert(&mut pixels);
    }
    Ok(Picture { pixels, was })
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // Before it is opened: a pipe would wait for its writer.
    let metadata = path.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("a pipe, socket or device, not a file".into());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 {
        0 => Err("the file is empty".into()),
        len if len > MAX_BYTES => {
            Err(format!("longer than {} MiB: make it smaller", MAX_BYTES >> 20))
        }
        _ => Ok(bytes),
    }
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    // The contents tell the format: pictures often have the ending of another one.
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| error.to_string())?;
    match reader.format() {
        Some(ImageFormat::Jpeg) if !reaches_its_end(bytes) => {
            return Err("cut short: it ends before its JPEG data does".into());
        }
        Some(ImageFormat::Png | ImageFormat::Jpeg) => {}
        Some(other) => {
            return Err(format!("holds {other:?} data under its name: convert it to PNG or JPEG"));
        }
        None => return Err("neither PNG nor JPEG: its first bytes are of no picture".into()),
    }
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_PICTURE_SIDE);
    limits.max_image_height = Some(MAX_PICTURE_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(told)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS || decoder.total_bytes() > MAX_BYTES {
        return Err(too_large());
    }
    // If a thread panicked with the lock, nothing is half done: the lock guards no data.
    let _alone = (pixels > LARGE).then(|| ONE_LARGE.lock().unwrap_or_else(PoisonError::into_inner));
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(told)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

fn told(error: ImageError) -> String {
    match &error {
        ImageError::Limits(limit)
            if matches!(
                limit.kind(),
                LimitErrorKind::DimensionError | LimitErrorKind::InsufficientMemory
            ) =>
        {
            too_large()
        }
        _ => format!("cannot be decoded: {error}").replace(['\n', '\r'], " "),
    }
}

fn too_large() -> String {
    format!(
        "too large: more than {} million pixels, {} MiB decoded, or {MAX_PICTURE_SIDE} on a side; make \
         it smaller",
        MAX_PIXELS / 1_000_000,
        MAX_BYTES >> 20
    )
}

fn rgb(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    let (width, height) = picture.dimensions();
    RgbImage::from_fn(width, height, |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0;
        [red, green, blue].map(|colour| on_white(colour, alpha)).into()
    })
}

fn grey(picture: DynamicImage) -> GrayImage {
    // The weights would leave a grey picture as it is, in twice the memory.
    if !picture.color().has_color() {
        let picture = picture.into_luma_alpha8();
        let (width, height) = picture.dimensions();
        return GrayImage::from_fn(width, height, |x, y| {
            let [grey, alpha] = picture.get_pixel(x, y).0;
            [on_white(grey, alpha)].into()
        });
    }
    let picture = rgb(picture);
    let (width, height) = picture.dimensions();
    GrayImage::from_fn(width, height, |x, y| [luma(picture.get_pixel(x, y).0)].into())
}

/// A colour over white paper, by its opacity.
fn on_white(colour: u8, alpha: u8) -> u8 {
    let (colour, alpha) = (u32::from(colour), u32::from(alpha));
    ((colour * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// ITU-R BT.601 in sixteen bits, rounded: the bits of Pillow's `convert("L")`.
fn luma([red, green, blue]: [u8; 3]) -> u8 {
    let [red, green, blue] = [red, green, blue].map(u32::from);
    ((red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_and_transparency_by_hand() {
        // 0.299, 0.587 and 0.114 of 255.
        assert_eq!([[255, 0, 0], [0, 255, 0], [0, 0, 255]].map(luma), [76, 150, 29]);
        assert_eq!((luma([0; 3]), luma([255; 3]), luma([77; 3])), (0, 255, 77));
        assert!((0..=255).all(|grey| luma([grey; 3]) == grey));
        assert_eq!((on_white(40, 255), on_white(40, 0), on_white(0, 51)), (40, 255, 204));
        // 55.78 and 50.2 + 127.
        assert_eq!((on_white(1, 200), on_white(100, 128)), (56, 177));
    }
}
