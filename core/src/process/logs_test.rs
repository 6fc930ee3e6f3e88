use super::*;
use crate::manager::{LogFrom, LogLimits, LogPosition, LogRequest, Missing};
use crate::units::MiB;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

const MIB: usize = 1 << 20;

fn limits(rolled: u32) -> LogLimits {
    LogLimits { file: MiB(1), rolled }
}

/// Bytes that tell their position.
fn numbered(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|position| (position % 251) as u8).collect()
}

fn read_all(folder: &Path, from: &LogFrom) -> (u64, Vec<u8>, Option<LogPosition>) {
    let mut reader = LogReader::open(folder, LogStream::Stdout, from).unwrap();
    let (mut missing, mut bytes, mut end) = (0, Vec::new(), None);
    while let Some(chunk) = reader.next_chunk().unwrap() {
        if let Missing::Bytes(count) = chunk.missing {
            missing += count;
        }
        bytes.extend_from_slice(&chunk.bytes);
        end = Some(chunk.end);
    }
    (missing, bytes, end)
}

#[test]
fn positions_count_from_the_beginning_through_roll_overs() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(folder.path(), LogStream::Stdout, &limits(2)).unwrap();
    let total = 5 * MIB + 1000;
    for start in (0..total).step_by(7777) {
        writer.write(&numbered(start, 7777.min(total - start))).unwrap();
    }
    assert_eq!(writer.position(), total as u64);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);

    let (missing, bytes, end) = read_all(folder.path(), &LogFrom::Start);
    assert_eq!(missing, 3 * MIB as u64);
    assert!(bytes == numbered(3 * MIB, 2 * MIB + 1000));
    assert_eq!(end, Some(LogPosition(total.to_string())));

    let (missing, bytes, _) = read_all(folder.path(), &LogFrom::Last(1010));
    assert_eq!(missing, 0);
    assert!(bytes == numbered(total - 1010, 1010), "over the border of two files");

    let after = LogFrom::After(LogPosition((4 * MIB - 3).to_string()));
    let (missing, bytes, _) = read_all(folder.path(), &after);
    assert_eq!(missing, 0);
    assert!(bytes == numbered(4 * MIB - 3, MIB + 1003));

    let (missing, bytes, _) = read_all(folder.path(), &LogFrom::After(LogPosition("1000".into())));
    assert_eq!(missing, 3 * MIB as u64 - 1000);
    assert_eq!(bytes.len(), 2 * MIB + 1000);

    let (_, bytes, _) = read_all(folder.path(), &LogFrom::Last(u64::MAX));
    assert_eq!(bytes.len(), 2 * MIB + 1000);
}

#[test]
fn a_writer_that_is_opened_again_goes_on_counting() {
    let folder = tempfile::tempdir().unwrap();
    for part in 0..3 {
        let mut writer = LogWriter::open(folder.path(), LogStream::Stdout, &limits(2)).unwrap();
        writer.write(&numbered(part * 1000, 1000)).unwrap();
    }
    let (missing, bytes, end) = read_all(folder.path(), &LogFrom::Start);
    assert_eq!((missing, end), (0, Some(LogPosition("3000".into()))));
    assert!(bytes == numbered(0, 3000));
}

#[test]
fn a_reader_keeps_up_with_a_writer_that_rolls_over_under_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(folder.path(), LogStream::Stdout, &limits(1)).unwrap();
    let mut reader = LogReader::open(folder.path(), LogStream::Stdout, &LogFrom::Start).unwrap();
    assert!(reader.next_chunk().unwrap().is_none());
    let mut position = 0;
    for start in (0..4 * MIB).step_by(MIB / 4) {
        writer.write(&numbered(start, MIB / 4)).unwrap();
        while let Some(chunk) = reader.next_chunk().unwrap() {
            assert_eq!(chunk.missing, Missing::Nothing);
            assert!(chunk.bytes[..] == numbered(position, chunk.bytes.len()));
            position += chunk.bytes.len();
        }
    }
    assert_eq!(position, 4 * MIB);
    // One that fell behind is told what it missed, and reads on: the file that it holds open is whole to it.
    writer.write(&numbered(4 * MIB, 4 * MIB)).unwrap();
    let chunk = reader.next_chunk().unwrap().unwrap();
    assert_eq!(chunk.missing, Missing::Bytes(2 * MIB as u64));
    assert!(chunk.bytes[..] == numbered(6 * MIB, chunk.bytes.len()));
}

#[test]
fn a_gap_of_a_full_disk_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::open(folder.path(), LogStream::Stdout, &limits(3)).unwrap();
    writer.write(&numbered(0, MIB)).unwrap();
    // A folder under the next file's name stands in for a disk that takes no more.
    let in_the_way = path(folder.path(), LogStream::Stdout, MIB as u64);
    std::fs::create_dir(&in_the_way).unwrap();
    assert!(writer.write(b"lost").is_err(), "the first failure is told");
    assert_eq!(writer.lost(), 4);
    writer.write(b"after").unwrap();
    std::fs::remove_dir(&in_the_way).unwrap();
    let (missing, bytes, end) = read_all(folder.path(), &LogFrom::Start);
    assert_eq!((missing, &bytes[MIB..]), (4, &b"after"[..]));
    assert_eq!(end, Some(LogPosition((MIB + 9).to_string())));
}

#[test]
fn a_position_that_nobody_gave_is_refused_and_no_folder_is_an_empty_stream() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let bad = LogFrom::After(LogPosition("../x".into()));
    let error = LogReader::open(&nowhere, LogStream::Stdout, &bad).unwrap_err();
    assert_eq!(error.field(), Some("from"));
    assert_eq!(read_all(&nowhere, &LogFrom::Start), (0, Vec::new(), None));
}

#[tokio::test]
async fn a_follower_sees_everything_up_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let ended = CancellationToken::new();
    let request = LogRequest { stream: LogStream::Stdout, from: LogFrom::Start, follow: true };
    let mut chunks = LogReader::stream(folder.path(), &request, ended.clone()).unwrap();
    let mut writer = LogWriter::open(folder.path(), LogStream::Stdout, &limits(1)).unwrap();
    let mut seen = Vec::new();
    for part in 0..4 {
        writer.write(&numbered(part * 100, 100)).unwrap();
        while seen.len() < (part + 1) * 100 {
            seen.extend_from_slice(&chunks.next().await.unwrap().unwrap().bytes);
        }
    }
    writer.write(b"last words").unwrap();
    ended.cancel();
    assert_eq!(chunks.next().await.unwrap().unwrap().bytes, "last words");
    assert!(chunks.next().await.is_none());
}

#[test]
fn the_tail_keeps_the_last_bytes() {
    let mut tail = Tail::new(10);
    tail.push(b"0123");
    tail.push(b"456789ab");
    assert_eq!(tail.to_vec(), b"23456789ab");
    tail.push(&[b'x'; 100]);
    assert_eq!(tail.to_vec(), [b'x'; 10]);
    tail.push(b"");
    assert_eq!(tail.to_vec().len(), 10);
}
