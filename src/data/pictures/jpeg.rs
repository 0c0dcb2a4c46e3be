//! Whether a JPEG file is complete. Decoders fill what is missing with grey and report no error.

/// Whether the file reaches its end-of-image marker: walks from segment to segment, and through the coded
/// data of each scan (ITU-T T.81, annex B). Bytes after that marker are ignored.
pub(super) fn reaches_its_end(bytes: &[u8]) -> bool {
    // After the start-of-image marker.
    let mut at = 2;
    loop {
        // Skips coded data and fill bytes up to the next marker. In coded data ff is followed by 00; d0 to d7
        // are restarts within a scan.
        let marker = loop {
            let Some(found) = bytes.get(at..).and_then(|left| left.iter().position(|&b| b == 0xff))
            else {
                return false;
            };
            at += found + 1;
            match bytes.get(at) {
                None => return false,
                Some(0xff) => {}
                Some(0x00 | 0x01 | 0xd0..=0xd7) => at += 1,
                Some(&marker) => break marker,
            }
        };
        if marker == 0xd9 {
            return true;
        }
        // The length counts itself but not the marker. If it is too short, the walk goes on inside it: its
        // zeros are not a marker.
        let Some(&[high, low]) = bytes.get(at + 1..at + 3) else { return false };
        at += 1 + usize::from(u16::from_be_bytes([high, low]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbnails_restarts_and_stuffed_bytes_are_no_end() {
        let mut whole = vec![0xff, 0xd8];
        // An application segment that holds an end-of-image marker, as thumbnails do.
        whole.extend([0xff, 0xe1, 0, 6, 0xff, 0xd9, 1, 2]);
        // A segment that is shorter than its own length.
        whole.extend([0xff, 0xe2, 0, 0]);
        // A scan: header, then coded data with a stuffed ff, a restart and a marker without a segment. Bytes
        // after each of these, read as a length, would reach beyond the end.
        whole.extend([
            0xff, 0xda, 0, 4, 0, 0, 7, 0xff, 0x00, 0xd9, 0xff, 0xd0, 8, 9, 0xff, 0x01, 8, 9,
        ]);
        assert!(!reaches_its_end(&whole));
        whole.extend([0xff, 0xff, 0xd9]);
        assert!(reaches_its_end(&whole));
        whole.extend([0; 9]);
        assert!(reaches_its_end(&whole));
        for len in 0..whole.len() - 9 {
            assert!(!reaches_its_end(&whole[..len]), "{len}");
        }
    }
}
