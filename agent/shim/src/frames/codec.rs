//! Frames to bytes and back.
//!
//! Invariant: a peer that sends rubbish costs at most [`MAX_FRAME`] of memory and its connection,
//! never the service that the shim looks after.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest JSON of a frame, in bytes.
pub const MAX_FRAME: usize = 4 << 20;

const LENGTH: usize = 4;

/// Why the bytes of a connection are no frames. There is no going on after it.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is over [`MAX_FRAME`].
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// Its JSON is not one of ours.
    #[error("a frame that is not understood: {0}")]
    NotUnderstood(#[from] serde_json::Error),
}

/// A frame's bytes.
///
/// What is longer than [`MAX_FRAME`] is refused by the peer's [`Decoder`], not here.
pub fn encode(frame: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![0; LENGTH];
    // Our frames are made of strings, numbers, lists and maps with string keys, and a Vec takes
    // every write, so there is nothing that could fail but a path that is not UTF-8; the peer then
    // sees an empty frame and ends the connection.
    if serde_json::to_writer(&mut bytes, frame).is_err() {
        bytes.truncate(LENGTH);
    }
    let length = u32::try_from(bytes.len() - LENGTH).unwrap_or(u32::MAX);
    bytes[..LENGTH].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Puts the frames of a connection together from whatever pieces arrive.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// With nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that were pushed and make no whole frame yet, or were not asked for.
    pub fn pending(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing is left of what was pushed.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next whole frame; None: more bytes are needed.
    ///
    /// Errors: the connection is of no more use.
    #[expect(clippy::should_implement_trait, reason = "it fails, and gives what it is asked for")]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(head) = self.bytes.first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > MAX_FRAME {
            return Err(FrameError::TooLong(length));
        }
        let Some(json) = self.bytes.get(LENGTH..LENGTH + length) else { return Ok(None) };
        let frame = serde_json::from_slice(json)?;
        self.bytes.drain(..LENGTH + length);
        if self.bytes.is_empty() {
            // A large frame is rare and a shim lives long.
            self.bytes = Vec::new();
        }
        Ok(Some(frame))
    }
}
