//! The kit's files over HTTP, for managers whose nodes fetch them (Mesos, YARN), as a driver serves them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use convoke_core::{Error, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request longer than this is not a fetcher's.
const MOST_REQUEST_BYTES: u64 = 16 << 10;

/// Serves files by a number, to whoever asks: they are public bytes, by their digest.
#[derive(Debug)]
pub(crate) struct FileServer {
    address: String,
    files: Arc<Mutex<Vec<PathBuf>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FileServer {
    pub(crate) async fn start(reached_at: &str) -> Result<FileServer> {
        let host = if reached_at == "127.0.0.1" { "127.0.0.1" } else { "0.0.0.0" };
        let trouble = |error| Error::host("can't listen for those who fetch files", error);
        let listener = TcpListener::bind((host, 0)).await.map_err(trouble)?;
        let port = listener.local_addr().map_err(trouble)?.port();
        let files = Arc::<Mutex<Vec<PathBuf>>>::default();
        let served = files.clone();
        let serving = tokio::spawn(async move {
            let mut answers = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                        answers.spawn(answer(stream, served.clone()));
                    },
                    Some(_) = answers.join_next() => {} // who hangs up half-way asks again
                }
            }
        });
        Ok(FileServer { address: format!("{reached_at}:{port}"), files, serving })
    }

    /// Serves this file from now on; answers where.
    pub(crate) fn url(&self, path: &Path) -> String {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.push(path.to_owned());
        format!("http://{}/{}", self.address, files.len() - 1)
    }
}

async fn answer(stream: TcpStream, files: Arc<Mutex<Vec<PathBuf>>>) -> std::io::Result<()> {
    let (asked, mut out) = stream.into_split();
    let mut lines = BufReader::new(asked.take(MOST_REQUEST_BYTES)).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|header| !header.is_empty()) {}
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let file = path
        .strip_prefix('/')
        .and_then(|number| number.parse::<usize>().ok())
        .and_then(|number| files.lock().unwrap_or_else(PoisonError::into_inner).get(number).cloned());
    let opened = match file {
        Some(file) if method == "GET" || method == "HEAD" => {
            tokio::task::spawn_blocking(move || std::fs::read(file)).await?
        }
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    match opened {
        Ok(bytes) => {
            let length = bytes.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            out.write_all(head.as_bytes()).await?;
            if method == "GET" {
                out.write_all(&bytes).await?;
            }
        }
        Err(_) => {
            out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await?;
        }
    }
    out.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_served_can_be_fetched_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a file");
        std::fs::write(&path, b"its bytes").unwrap();
        let server = FileServer::start("127.0.0.1").await.unwrap();
        let url = server.url(&path);
        let (address, place) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let fetch = |address: String, path: String| {
            tokio::task::spawn_blocking(move || crate::scan::fetch(&address, &path).unwrap())
        };
        let got = fetch(address.to_owned(), format!("/{place}")).await.unwrap();
        assert!(got.starts_with(b"HTTP/1.1 200") && got.ends_with(b"\r\n\r\nits bytes"), "{got:?}");
        for other in ["/1", "/", "/../etc/passwd"] {
            let got = fetch(address.to_owned(), other.to_owned()).await.unwrap();
            assert!(got.starts_with(b"HTTP/1.1 404"), "{other}: {got:?}");
        }
    }
}
