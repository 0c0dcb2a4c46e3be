//! TensorBoard's event files (feature `tensorboard`): records of protocol buffers with scalars.
//!
//! A record is, as TensorFlow's `record_writer.h` has it, the length of its data as a little-endian `u64`, the
//! masked CRC-32C of these eight bytes, the data, and the masked CRC-32C of the data. The data are an `Event`
//! of `event.proto`; of a scalar, it holds a `Summary` with one `Value`.

use super::folder_contents::EVENTS;
use super::history::Epoch;
use crate::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that scalars are appended to.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
}

/// A figure of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scalar {
    /// What it is: `loss/training`. TensorBoard groups tags by what stands before the slash.
    pub tag: &'static str,
    /// Its value.
    pub value: f32,
}

impl EventWriter {
    /// A new file in a run's folder, from which TensorBoard reads it with those that are there already.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(folder: &Path) -> Result<Self> {
        let now = now();
        // Names of a resumed run are in the order of time, and no two are the same.
        let name = format!("{EVENTS}{}.{:09}.threadcount", now.as_secs(), now.subsec_nanos());
        let path = folder.join(name);
        let file = File::create_new(&path).map_err(Error::io(&path))?;
        let mut writer = Self { file, path };
        let mut event = Vec::new();
        put_double(&mut event, 1, now.as_secs_f64());
        put_bytes(&mut event, 3, b"brain.Event:2");
        writer.write(&event)?;
        Ok(writer)
    }

    /// Appends scalars of a step, at this moment.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn scalars(&mut self, step: usize, scalars: &[Scalar]) -> Result<()> {
        for scalar in scalars {
            self.write(&event(now().as_secs_f64(), step as u64, scalar))?;
        }
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.file.write_all(&record(data)).map_err(Error::io(&self.path))
    }
}

/// The figures of an epoch.
pub fn of_epoch(epoch: &Epoch) -> [Scalar; 4] {
    let scalar = |tag, value: f64| Scalar { tag, value: value as f32 };
    [
        scalar("loss/training", epoch.loss),
        scalar("loss/validation", epoch.val_loss),
        scalar("accuracy/training", epoch.accuracy),
        scalar("accuracy/validation", epoch.val_accuracy),
    ]
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// An `Event` with one scalar: wall time (field 1), step (2) and summary (5), in which one value (1) has a tag (1)
/// and a `simple_value` (2).
fn event(seconds: f64, step: u64, scalar: &Scalar) -> Vec<u8> {
    let mut value = Vec::new();
    put_bytes(&mut value, 1, scalar.tag.as_bytes());
    put_float(&mut value, 2, scalar.value);
    let mut summary = Vec::new();
    put_bytes(&mut summary, 1, &value);
    let mut event = Vec::new();
    put_double(&mut event, 1, seconds);
    put_key(&mut event, 2, Wire::Varint);
    put_varint(&mut event, step);
    put_bytes(&mut event, 5, &summary);
    event
}

/// How protocol buffers write a value.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Eight = 1,
    Bytes = 2,
    Four = 5,
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_key(out: &mut Vec<u8>, field: u64, wire: Wire) {
    put_varint(out, field << 3 | wire as u64);
}

fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_key(out, field, Wire::Eight);
    out.extend(value.to_le_bytes());
}

fn put_float(out: &mut Vec<u8>, field: u64, value: f32) {
    put_key(out, field, Wire::Four);
    out.extend(value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, Wire::Bytes);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// A record of these data.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

/// The checksum of bytes, turned and moved as TensorFlow's `crc32c.h` does, so that checksums of checksums
/// are sound.
fn masked(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-32C bit by bit: the polynomial 0x1EDC6F41, reflected.
    fn crc_bit_by_bit(bytes: &[u8]) -> u32 {
        let mut crc = !0_u32;
        for &byte in bytes {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = crc >> 1 ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
            }
        }
        !crc
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4: 32 bytes of zeros, of ones, and ascending ones.
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, crc) in
            [(&[0; 32][..], 0x8a91_36aa_u32), (&[0xff; 32], 0x62a8_ab43), (&ascending, 0x46dd_794e)]
        {
            assert_eq!(crc_bit_by_bit(bytes), crc);
            // Two of them side by side, of which a turn takes a window.
            let turned = (u64::from(crc) << 32 | u64::from(crc)) >> 15;
            let masked_crc = (turned as u32).wrapping_add(0xa282_ead8);
            assert_eq!(masked(bytes), masked_crc.to_le_bytes());
        }
    }

    /// A reader of its own: the data of every record.
    fn records(mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let unmasked = |at: usize| {
                let masked = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
                masked.wrapping_sub(0xa282_ead8).rotate_left(15)
            };
            assert_eq!(unmasked(8), crc_bit_by_bit(&bytes[..8]));
            let data = &bytes[12..12 + length];
            assert_eq!(unmasked(12 + length), crc_bit_by_bit(data));
            all.push(data);
            bytes = &bytes[12 + length + 4..];
        }
        all
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    /// The fields of a message: their numbers and their bytes; of a varint its eight bytes.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let length = match key & 7 {
                0 => {
                    all.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                2 => varint(&mut bytes) as usize,
                5 => 4,
                wire => panic!("wire type {wire}"),
            };
            all.push((key >> 3, bytes[..length].to_vec()));
            bytes = &bytes[length..];
        }
        all
    }

    #[test]
    fn what_was_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let before = now().as_secs_f64();
        let mut writer = EventWriter::create(folder.path()).unwrap();
        let epoch =
            Epoch { epoch: 300, accuracy: 0.5, loss: 0.25, val_accuracy: 0.75, val_loss: 1e9 };
        writer.scalars(300, &of_epoch(&epoch)).unwrap();
        writer.scalars(0, &[Scalar { tag: "x", value: f32::NAN }]).unwrap();
        let bytes = std::fs::read(&writer.path).unwrap();
        let events: Vec<_> = records(&bytes).into_iter().map(fields).collect();
        assert_eq!(events.len(), 6);
        for event in &events {
            assert_eq!(event[0].0, 1);
            let time = f64::from_le_bytes(event[0].1[..].try_into().unwrap());
            assert!((before..=now().as_secs_f64()).contains(&time), "{time}");
        }
        assert_eq!(events[0][1], (3, b"brain.Event:2".to_vec()));
        let scalars: Vec<_> = events[1..]
            .iter()
            .map(|event| {
                assert_eq!((event[1].0, event[2].0, event.len()), (2, 5, 3));
                let step = u64::from_le_bytes(event[1].1[..].try_into().unwrap());
                let value = fields(&fields(&event[2].1)[0].1);
                assert_eq!((value[0].0, value[1].0, value.len()), (1, 2, 2));
                let tag = String::from_utf8(value[0].1.clone()).unwrap();
                (step, tag, f32::from_le_bytes(value[1].1[..].try_into().unwrap()))
            })
            .collect();
        let expected = [
            ("loss/training", 0.25),
            ("loss/validation", 1e9),
            ("accuracy/training", 0.5),
            ("accuracy/validation", 0.75),
        ];
        for ((step, tag, value), expected) in scalars.iter().zip(expected) {
            assert_eq!((*step, tag.as_str(), *value), (300, expected.0, expected.1));
        }
        assert!(scalars[4].0 == 0 && scalars[4].2.is_nan());
    }

    #[test]
    fn long_numbers_take_more_bytes() {
        let written = |value| {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(varint(&mut &out[..]), value);
            out.len()
        };
        assert_eq!([0, 127, 128, 16_383, 16_384, u64::MAX].map(written), [1, 1, 2, 2, 3, 10]);
    }
}
