//! Just enough HTTP/1.1 for a master: whole requests in, plain answers or a chunked stream out.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) trait Line: AsyncRead + AsyncWrite + Unpin + Send {}
impl<A: AsyncRead + AsyncWrite + Unpin + Send> Line for A {}

pub(crate) struct Request {
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The next one of a connection; `None` at its end.
    pub(crate) async fn read(line: &mut impl Line) -> Option<Request> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
                break end;
            }
            let mut piece = [0; 4096];
            let count = line.read(&mut piece).await.ok().filter(|count| *count > 0)?;
            bytes.extend_from_slice(&piece[..count]);
        };
        let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
        let mut lines = text.split("\r\n");
        let first = lines.next()?.to_owned();
        let headers = lines.filter_map(|it| it.split_once(": "));
        let headers: Vec<_> =
            headers.map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned())).collect();
        let mut request = Request { line: first, headers, body: bytes[head + 4..].to_vec() };
        let length: usize = request.header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        while request.body.len() < length {
            let mut piece = [0; 4096];
            let count = line.read(&mut piece).await.ok().filter(|count| *count > 0)?;
            request.body.extend_from_slice(&piece[..count]);
        }
        Some(request)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) async fn answer(
    line: &mut impl Line,
    status: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    line.write_all(head.as_bytes()).await?;
    line.write_all(body).await?;
    line.flush().await
}

/// Sends bytes of a chunked stream, torn into pieces of any size: records know nothing of chunks.
pub(crate) async fn torn(line: &mut impl Line, bytes: &[u8], seed: &mut u64) -> std::io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let cut = ((*seed >> 33) as usize % 40 + 1).min(rest.len());
        line.write_all(format!("{cut:x}\r\n").as_bytes()).await?;
        line.write_all(&rest[..cut]).await?;
        line.write_all(b"\r\n").await?;
        line.flush().await?;
        tokio::task::yield_now().await;
        rest = &rest[cut..];
    }
    Ok(())
}
