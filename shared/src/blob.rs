//! Where parts are kept between download and load. Rows say what exists; nothing here lists a folder
//! but the clean-up of a whole export.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use clap::ValueEnum;
use futures::TryStreamExt as _;
use object_store::{
    GetResultPayload, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, local::LocalFileSystem, path::Path as Key,
};
use tokio_util::io::{StreamReader, SyncIoBridge};
use uuid::Uuid;

/// How blobs are written. How one is read is told by its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// As they came: least work
    #[default]
    None,
    /// Much less space, for some work
    Zstd,
}

impl Compression {
    /// What a blob's key ends with.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Zstd => ZSTD,
        }
    }
}

const ZSTD: &str = ".zst";
/// The fastest that is not a special mode.
const ZSTD_LEVEL: i32 = 1;

/// The store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    folder: PathBuf,
    compression: Compression,
}

/// Why a blob could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("the file is not in the blob store")]
    Missing,
    #[error("no space is left in the blob store (BULK_DATA_DIR); make room or point it elsewhere")]
    Full,
    #[error("the blob store (BULK_DATA_DIR) cannot be used: {0}")]
    Other(String),
}

/// A blob that is being written, piece by piece. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    store: Arc<dyn ObjectStore>,
    key: Key,
    /// Many blobs are one piece: those need no upload in parts.
    first: Option<Bytes>,
    upload: Option<Box<dyn MultipartUpload>>,
    packed: bool,
}

/// On a thread of its own: a piece may be 64 MiB, and a worker's other tasks must not wait for it.
async fn pack(piece: Bytes) -> Result<Bytes, BlobError> {
    let packed = tokio::task::spawn_blocking(move || zstd::bulk::compress(&piece, ZSTD_LEVEL)).await;
    packed.map_err(std::io::Error::other).flatten().map(Bytes::from).map_err(|error| BlobError::Other(error.to_string()))
}

impl BlobWriter {
    /// Adds a piece.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        // Each piece is a frame of its own: frames one after the other are a zstd file (RFC 8878, 3).
        let piece = if self.packed { pack(piece).await? } else { piece };
        let Some(upload) = &mut self.upload else {
            let Some(first) = self.first.replace(piece.clone()) else { return Ok(()) };
            self.first = None;
            let upload = self.upload.insert(self.store.put_multipart(&self.key).await?);
            upload.put_part(first.into()).await?;
            upload.put_part(piece.into()).await?;
            return Ok(());
        };
        upload.put_part(piece.into()).await?;
        Ok(())
    }

    /// On disk, or in the store, when it returns.
    pub async fn finish(mut self) -> Result<(), BlobError> {
        if let Some(upload) = &mut self.upload {
            upload.complete().await?;
            return Ok(());
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.key, self.first.unwrap_or_default().into(), options).await {
            // Keys hold the claim's random id: what stands there already is this very write, repeated.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives it up: what was written goes.
    pub async fn abort(mut self) -> Result<(), BlobError> {
        if let Some(upload) = &mut self.upload {
            upload.abort().await?;
        }
        Ok(())
    }
}

impl From<object_store::Error> for BlobError {
    fn from(error: object_store::Error) -> Self {
        if matches!(error, object_store::Error::NotFound { .. }) {
            return Self::Missing;
        }
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(next) = cause {
            if next.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull) {
                return Self::Full;
            }
            cause = next.source();
        }
        Self::Other(error.to_string())
    }
}

impl Blobs {
    /// A folder; made if it is not there. Each write is on disk before it counts (fsync).
    pub fn in_folder(folder: &Path, compression: Compression) -> Result<Self, BlobError> {
        std::fs::create_dir_all(folder).map_err(|e| BlobError::Other(format!("{}: {e}", folder.display())))?;
        let store = LocalFileSystem::new_with_prefix(folder)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), folder: folder.to_owned(), compression })
    }

    /// How new blobs are written: their keys must end with its suffix.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// A new blob under a key that was never used before; it is there once its writer has finished.
    pub fn create(&self, key: &str) -> BlobWriter {
        BlobWriter { store: Arc::clone(&self.store), key: Key::from(key), first: None, upload: None, packed: key.ends_with(ZSTD) }
    }

    /// A blob, to be read on a thread that may block.
    pub async fn open(&self, key: &str) -> Result<Box<dyn Read + Send>, BlobError> {
        let stored: Box<dyn Read + Send> = match self.store.get(&Key::from(key)).await?.payload {
            GetResultPayload::File(file, _) => Box::new(file),
            GetResultPayload::Stream(stream) => Box::new(SyncIoBridge::new(StreamReader::new(stream.map_err(std::io::Error::other)))),
        };
        if !key.ends_with(ZSTD) {
            return Ok(stored);
        }
        let unpacked = zstd::stream::read::Decoder::new(stored).map_err(|e| BlobError::Other(e.to_string()))?;
        Ok(Box::new(unpacked))
    }

    /// Removes a blob; one that is gone already is fine.
    pub async fn delete(&self, key: &str) -> Result<(), BlobError> {
        match self.store.delete(&Key::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes all blobs of an export, and what a killed process left half-written beside them: the store does not list that, so
    /// the folder itself goes. Says whether there was one.
    pub async fn delete_export(&self, export_id: Uuid) -> Result<bool, BlobError> {
        let folder = self.folder.join(export_id.to_string());
        match tokio::fs::remove_dir_all(&folder).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(BlobError::Other(format!("{}: {error}", folder.display()))),
        }
    }

    /// Exports that have blobs nobody has touched for so long.
    pub async fn exports_older_than(&self, age: Duration) -> Result<Vec<Uuid>, BlobError> {
        let other = |error: std::io::Error| BlobError::Other(format!("{}: {error}", self.folder.display()));
        let mut found = Vec::new();
        let mut entries = tokio::fs::read_dir(&self.folder).await.map_err(other)?;
        while let Some(entry) = entries.next_entry().await.map_err(other)? {
            let Some(export_id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let touched = entry.metadata().await.and_then(|meta| meta.modified()).map_err(other)?;
            if touched.elapsed().is_ok_and(|since| since > age) {
                found.push(export_id);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn round_trip(compression: Compression, pieces: &[&[u8]]) -> (Vec<u8>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path(), compression).unwrap();
        let key = format!("a/b/1.ndjson{}", compression.suffix());
        let mut writer = blobs.create(&key);
        for piece in pieces {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert!(matches!(blobs.open(&key).await, Err(BlobError::Missing)), "it is not there before it is whole");
        writer.finish().await.unwrap();
        let mut blob = blobs.open(&key).await.unwrap();
        let mut read = Vec::new();
        blob.read_to_end(&mut read).unwrap();
        (read, std::fs::metadata(folder.path().join(key)).unwrap().len())
    }

    #[tokio::test]
    async fn what_was_written_is_read_however_it_is_kept() {
        let (one, two) = (br#"{"resourceType":"Patient"}"#.repeat(1000), br#"{"resourceType":"Condition"}"#.repeat(1000));
        for pieces in [vec![one.as_slice()], vec![&one, &two, &one]] {
            let all = pieces.concat();
            let (plain, size) = round_trip(Compression::None, &pieces).await;
            assert_eq!((plain == all, size), (true, all.len() as u64));
            let (unpacked, size) = round_trip(Compression::Zstd, &pieces).await;
            assert!(unpacked == all && size < all.len() as u64 / 20, "{size} bytes for {}", all.len());
        }
    }

    #[tokio::test]
    async fn a_blob_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::in_folder(folder.path(), Compression::None).unwrap();
        let mut writer = blobs.create("a/1");
        for _ in 0..3 {
            writer.write(Bytes::from_static(b"{}")).await.unwrap();
        }
        writer.abort().await.unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("a")).unwrap().count(), 0);
    }
}
