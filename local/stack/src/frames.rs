//! A WebSocket's frames as they pass, held to what API Gateway takes from a client.

/// The longest payload of one frame, in bytes.
const LONGEST_FRAME: u64 = 32 * 1024;
/// The longest message, in bytes, all its frames together.
const LONGEST_MESSAGE: u64 = 128 * 1024;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// Why API Gateway closes a socket, as the code of its close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A binary frame: it takes text alone.
    Binary = 1003,
    /// A frame over 32 KB, or a message over 128 KB.
    TooBig = 1009,
}

impl Refusal {
    /// A client's close frame with this code. The mask of zeros is one that changes nothing.
    pub(crate) fn close_frame(self) -> [u8; 8] {
        let [high, low] = (self as u16).to_be_bytes();
        [0x88, 0x82, 0, 0, 0, 0, high, low]
    }
}

/// Follows what a client sends, frame by frame; payload is not kept.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// What came of the next frame's head.
    head: Vec<u8>,
    /// Bytes of the frame's payload that are still to come.
    left: u64,
    /// Bytes of the message so far, with the frame that is passing.
    message: u64,
}

impl Frames {
    /// Appends to `out` what of `input` may go on: all of it, or what stands before the first frame that is refused.
    /// Nothing may be passed after a refusal.
    ///
    /// # Errors
    /// The [`Refusal`].
    pub(crate) fn pass(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        while let Some(next) = input.first() {
            if self.left > 0 {
                let here = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
                let (payload, rest) = input.split_at(here);
                out.extend_from_slice(payload);
                self.left -= here as u64;
                input = rest;
                continue;
            }
            self.head.push(*next);
            input = &input[1..];
            if let Some(length) = payload_length(&self.head) {
                self.judge(self.head[0] & 0x0f, length)?;
                out.append(&mut self.head);
                self.left = length;
            }
        }
        Ok(())
    }

    fn judge(&mut self, opcode: u8, length: u64) -> Result<(), Refusal> {
        match opcode {
            BINARY => return Err(Refusal::Binary),
            TEXT => self.message = length,
            CONTINUATION => self.message = self.message.saturating_add(length),
            // Control frames may stand between a message's frames, and are short.
            _ => return Ok(()),
        }
        if length > LONGEST_FRAME || self.message > LONGEST_MESSAGE {
            return Err(Refusal::TooBig);
        }
        Ok(())
    }
}

/// The payload's length, once the head is complete: two bytes, an extended length of none, two or eight bytes, and the
/// mask where there is one.
fn payload_length(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    if head.len() < 2 + extended + mask {
        return None;
    }
    Some(match extended {
        0 => u64::from(second & 0x7f),
        _ => head[2..2 + extended]
            .iter()
            .fold(0, |length, byte| length << 8 | u64::from(*byte)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | length as u8),
            length @ 126..=65_535 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([1, 2, 3, 4]);
        frame.extend(payload);
        frame
    }

    /// In pieces of every size that cuts heads apart.
    fn passed(stream: &[u8], piece: usize) -> (Vec<u8>, Option<Refusal>) {
        let (mut frames, mut out) = (Frames::default(), Vec::new());
        for part in stream.chunks(piece) {
            if let Err(refusal) = frames.pass(part, &mut out) {
                return (out, Some(refusal));
            }
        }
        (out, None)
    }

    #[test]
    fn what_api_gateway_takes_passes_byte_for_byte() {
        let longest = vec![b'a'; LONGEST_FRAME as usize];
        let stream = [
            frame(0x81, b"{}"),
            frame(0x81, b""),
            frame(0x81, &longest),
            // A message of four such frames, a ping in the middle.
            frame(0x01, &longest),
            frame(0x89, b"ping"),
            frame(0x00, &longest),
            frame(0x00, &longest),
            frame(0x80, &longest),
            frame(0x88, &[3, 232]),
        ]
        .concat();
        for piece in [1, 3, 7, 1_000, stream.len()] {
            assert_eq!(passed(&stream, piece), (stream.clone(), None), "{piece}");
        }
    }

    #[test]
    fn what_it_does_not_take_ends_the_stream_behind_the_frames_before() {
        let longest = vec![b'a'; LONGEST_FRAME as usize];
        let good = [frame(0x81, b"before"), frame(0x01, &longest)].concat();
        let too_long_together = [&longest, &longest, &longest, &vec![b'a'; 1]].map(|part| frame(0x00, part));
        for (bad, refusal) in [
            (frame(0x82, b"x"), Refusal::Binary),
            (frame(0x81, &vec![b'a'; 32 * 1024 + 1]), Refusal::TooBig),
            (frame(0x81, &vec![b'a'; 70_000]), Refusal::TooBig),
        ] {
            for piece in [1, 5, 100_000] {
                let stream = [good.clone(), bad.clone(), frame(0x81, b"after")].concat();
                assert_eq!(passed(&stream, piece), (good.clone(), Some(refusal)));
            }
        }
        let stream = [good.clone(), too_long_together.concat()].concat();
        let (out, refusal) = passed(&stream, 4_096);
        assert_eq!(refusal, Some(Refusal::TooBig));
        assert_eq!(out, stream[..stream.len() - 7], "all but the last, short frame");
    }
}
