//! Large payloads of an executor process: calls of their own on its connection, awaited by slots.

use std::sync::mpsc;
use std::sync::{Arc, RwLock};

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::engine::Carrier;
use super::log_tail::LogTail;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::TaskId;
use crate::rpc::client::Client;
use crate::rpc::limits::CHUNK_BYTES;
use crate::rpc::status::from_status;
use crate::rpc::v1::{self, fetch_request};

/// Fetches and uploads at once, each way.
const AT_ONCE: usize = 4;

pub(super) struct Remote {
    handle: Handle,
    client: RwLock<Client>,
    fetches: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
    log_tail: Option<Arc<LogTail>>,
}

impl Remote {
    pub(super) fn new(handle: Handle, client: Client, log_tail: Option<Arc<LogTail>>) -> Arc<Remote> {
        let semaphore = || Arc::new(Semaphore::new(AT_ONCE));
        Arc::new(Remote {
            handle,
            client: RwLock::new(client),
            fetches: semaphore(),
            uploads: semaphore(),
            log_tail,
        })
    }

    pub(super) fn reconnected(&self, client: Client) {
        *self.client.write().unwrap_or_else(std::sync::PoisonError::into_inner) = client;
    }

    fn client(&self) -> Client {
        self.client.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Carrier for Remote {
    fn fetch(&self, blob: u64) -> Result<Bytes> {
        let gone = |_| Error::new(ErrorKind::Unavailable, "the executor ends");
        self.fetch_ahead(blob).recv().map_err(gone)?
    }

    fn fetch_ahead(&self, blob: u64) -> mpsc::Receiver<Result<Bytes>> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (client, fetches) = (self.client(), Arc::clone(&self.fetches));
        self.handle.spawn(async move {
            let _permit = fetches.acquire().await;
            // Whoever asked may be gone.
            let _ = sender.send(fetch(client, blob).await);
        });
        receiver
    }

    fn upload(&self, task: TaskId, attempt: u32, value: Bytes) -> Result<u64> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (client, uploads) = (self.client(), Arc::clone(&self.uploads));
        self.handle.spawn(async move {
            let _permit = uploads.acquire().await;
            let _ = sender.send(upload(client, task, attempt, value).await);
        });
        receiver.recv().map_err(|_| Error::new(ErrorKind::Unavailable, "the executor ends"))?
    }

    fn log_tail(&self) -> Vec<u8> {
        self.log_tail.as_ref().map(|tail| tail.get().into_bytes()).unwrap_or_default()
    }
}

async fn fetch(mut client: Client, blob: u64) -> Result<Bytes> {
    let mut bytes = BytesMut::new();
    let mut total = None;
    let request = v1::FetchRequest { what: Some(fetch_request::What::Blob(blob)), offset: 0 };
    let mut chunks = client.fetch(request).await.map_err(|status| from_status(&status))?.into_inner();
    while let Some(chunk) = chunks.message().await.map_err(|status| from_status(&status))? {
        if total.is_none() {
            total = Some(chunk.total);
            bytes.reserve(usize::try_from(chunk.total).unwrap_or(0).min(1 << 30));
        }
        bytes.extend_from_slice(&chunk.bytes);
    }
    if total != Some(bytes.len() as u64) {
        return Err(Error::new(ErrorKind::Unavailable, "the fetch ended early")
            .with("blob", blob)
            .with("bytes", bytes.len())
            .with("of", total.unwrap_or(0)));
    }
    Ok(bytes.freeze())
}

async fn upload(mut client: Client, task: TaskId, attempt: u32, value: Bytes) -> Result<u64> {
    let total = value.len() as u64;
    let count = value.len().div_ceil(CHUNK_BYTES).max(1);
    let chunks = (0..count).map(move |index| {
        let start = index * CHUNK_BYTES;
        let bytes = value.slice(start..value.len().min(start + CHUNK_BYTES));
        if index == 0 {
            v1::UploadChunk { task: task.0, attempt, total, bytes }
        } else {
            v1::UploadChunk { bytes, ..v1::UploadChunk::default() }
        }
    });
    let answer = client.upload(tokio_stream::iter(chunks)).await.map_err(|status| from_status(&status))?;
    Ok(answer.into_inner().blob)
}
