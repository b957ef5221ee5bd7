//! A file from one of several mirrors: what is there already is used, what was begun is gone on with, and what isn't the file is
//! thrown away.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use md5::{Digest, Md5};

use super::http;

/// A file of a set.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    pub name: &'a str,
    /// Its MD5, as the set's authors publish it.
    pub checksum: &'a str,
}

/// No file of a set is larger.
const LARGEST: u64 = 1 << 30;
/// How often a connection that breaks is taken up again.
const TRIES: usize = 5;

/// Brings a file to a folder, if it isn't there. Says whether it had to be fetched.
pub fn fetch(
    wanted: Wanted,
    mirrors: &[String],
    folder: &Path,
    patience: Option<Duration>,
    quiet: bool,
) -> Result<bool> {
    let path = folder.join(wanted.name);
    if path.exists() {
        if sum(&path)? == wanted.checksum {
            return Ok(false);
        }
        bail!(
            "{}: this isn't the file that belongs there (its checksum differs); move it away",
            path.display()
        );
    }
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let part = folder.join(format!("{}.part", wanted.name));
    let mut failures = Vec::new();
    for mirror in mirrors {
        let url = format!("{}/{}", mirror.trim_end_matches('/'), wanted.name);
        match from_mirror(&url, &part, wanted, patience, quiet) {
            Ok(()) => {
                fs::rename(&part, &path).with_context(|| path.display().to_string())?;
                return Ok(true);
            }
            Err(error) => failures.push(format!("  {url}: {error:#}")),
        }
    }
    bail!("{} couldn't be fetched:\n{}", wanted.name, failures.join("\n"))
}

fn from_mirror(
    url: &str,
    part: &PathBuf,
    wanted: Wanted,
    patience: Option<Duration>,
    quiet: bool,
) -> Result<()> {
    let mut tries = 0;
    loop {
        let before = fs::metadata(part).map_or(0, |about| about.len());
        match download(url, part, before, patience, wanted.name, quiet) {
            Ok(()) => break,
            Err(error) => {
                tries += 1;
                let after = fs::metadata(part).map_or(0, |about| about.len());
                if tries == TRIES || after <= before {
                    return Err(error);
                }
            }
        }
    }
    if sum(part)? == wanted.checksum {
        return Ok(());
    }
    fs::remove_file(part).with_context(|| part.display().to_string())?;
    bail!("what came isn't the file (its checksum differs); it is thrown away")
}

/// Downloads from a byte on, to the end of a file that has so many.
fn download(
    url: &str,
    part: &Path,
    from: u64,
    patience: Option<Duration>,
    name: &str,
    quiet: bool,
) -> Result<()> {
    let mut answer = http::get(url, from, patience)?;
    let (mut file, start) = match answer.status {
        206 => (OpenOptions::new().append(true).open(part)?, from),
        // A server that knows no ranges sends all of it.
        200 => (File::create(part).with_context(|| part.display().to_string())?, 0),
        // There is nothing behind what is there: it is whole, or it isn't the file.
        416 => return Ok(()),
        status => bail!("the server answers {status}"),
    };
    let whole = answer.length.map(|length| start + length);
    let bar = if quiet { ProgressBar::hidden() } else { bar(name, whole) };
    bar.set_position(start);
    let (mut buffer, mut done) = (vec![0; 64 << 10], start);
    loop {
        let read = answer.read(&mut buffer).context("the connection broke")?;
        if read == 0 {
            break;
        }
        done += read as u64;
        if done > LARGEST {
            bail!("more came than the file can have");
        }
        file.write_all(&buffer[..read]).with_context(|| part.display().to_string())?;
        bar.set_position(done);
    }
    file.sync_all()?;
    bar.finish_and_clear();
    match whole {
        Some(whole) if done < whole => bail!("the connection broke after {done} of {whole} bytes"),
        _ => Ok(()),
    }
}

fn bar(name: &str, whole: Option<u64>) -> ProgressBar {
    let bar = whole.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let style = ProgressStyle::with_template(
        "{msg} {bar:24.cyan/dim} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
    );
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
    bar.set_message(name.to_string());
    bar
}

fn sum(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let (mut digest, mut buffer) = (Md5::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer).with_context(|| path.display().to_string())? {
            0 => break,
            read => digest.update(&buffer[..read]),
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// What a server does with its nth request, which asks from a byte on.
    type Manner = dyn Fn(usize, u64) -> Reply + Send + Sync;

    enum Reply {
        /// Status, headers, body.
        Say(&'static str, String, Vec<u8>),
        /// Nothing, for long.
        Stall,
    }

    /// A server in a thread of its own, and how often it was asked.
    fn server(manner: impl Fn(usize, u64) -> Reply + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, manner): (_, Arc<Manner>) = (asked.clone(), Arc::new(manner));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), manner) = (stream, manner.clone()) else { continue };
                let number = count.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let lines: Vec<String> = BufReader::new(&stream)
                        .lines()
                        .map_while(Result::ok)
                        .take_while(|line| !line.is_empty())
                        .collect();
                    let range = lines
                        .iter()
                        .find_map(|line| line.strip_prefix("Range: bytes=")?.strip_suffix('-')?.parse().ok());
                    match manner(number, range.unwrap_or(0)) {
                        Reply::Say(status, headers, body) => {
                            let _ = write!(stream, "HTTP/1.1 {status}\r\n{headers}\r\n");
                            let _ = stream.write_all(&body);
                        }
                        Reply::Stall => std::thread::sleep(Duration::from_secs(5)),
                    }
                });
            }
        });
        (url, asked)
    }

    fn content() -> Vec<u8> {
        (0..200_000u32).map(|at| (at * 7 % 251) as u8).collect()
    }

    fn length(bytes: usize) -> String {
        format!("Content-Length: {bytes}\r\n")
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("kiln-fetch-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Folder(path)
        }

        fn fetch(&self, mirrors: &[String]) -> Result<bool> {
            let checksum: String = Md5::digest(content()).iter().map(|byte| format!("{byte:02x}")).collect();
            let wanted = Wanted { name: "file.gz", checksum: &checksum };
            fetch(wanted, mirrors, &self.0, Some(Duration::from_millis(300)), true)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn whole() -> (String, Arc<AtomicUsize>) {
        server(|_, from| {
            let rest = content()[from as usize..].to_vec();
            let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
            Reply::Say(status, length(rest.len()), rest)
        })
    }

    #[test]
    fn a_file_is_fetched_once() {
        let folder = Folder::new("once");
        let (url, asked) = whole();
        assert!(folder.fetch(std::slice::from_ref(&url)).unwrap());
        assert_eq!(fs::read(folder.0.join("file.gz")).unwrap(), content());
        assert!(!folder.fetch(&[url]).unwrap());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        fs::write(folder.0.join("file.gz"), "mine").unwrap();
        assert!(folder.fetch(&[]).unwrap_err().to_string().contains("move it away"));
        assert_eq!(fs::read(folder.0.join("file.gz")).unwrap(), b"mine");
    }

    #[test]
    fn a_broken_connection_is_taken_up_where_it_broke() {
        let folder = Folder::new("resume");
        let (url, asked) = server(|number, from| {
            let rest = &content()[from as usize..];
            let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
            // Says it has all, and sends a part, but for the third time.
            let sent = if number < 2 { &rest[..60_000] } else { rest };
            Reply::Say(status, length(rest.len()), sent.to_vec())
        });
        folder.fetch(&[url]).unwrap();
        assert_eq!(fs::read(folder.0.join("file.gz")).unwrap(), content());
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn wrong_bytes_lead_to_the_next_mirror() {
        let folder = Folder::new("wrong");
        let (wrong, _) = server(|_, _| Reply::Say("200 OK", length(5), b"wrong".to_vec()));
        let (missing, _) = server(|_, _| Reply::Say("404 Not Found", length(0), Vec::new()));
        let (good, _) = whole();
        folder.fetch(&[wrong.clone(), missing.clone(), good]).unwrap();
        fs::remove_file(folder.0.join("file.gz")).unwrap();
        let error = folder.fetch(&[wrong, missing]).unwrap_err().to_string();
        assert!(error.contains("checksum differs") && error.contains("404"), "{error}");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0, "nothing wrong is left");
    }

    #[test]
    fn servers_of_every_manner_are_borne() {
        let folder = Folder::new("manner");
        // In chunks; without a length; without ranges; elsewhere.
        let (chunked, _) = server(|_, _| {
            let mut body = Vec::new();
            for chunk in content().chunks(7000) {
                body.extend(format!("{:x}\r\n", chunk.len()).bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            Reply::Say("200 OK", "Transfer-Encoding: chunked\r\n".to_string(), body)
        });
        let (endless, _) = server(|_, _| Reply::Say("200 OK", String::new(), content()));
        let (all, _) = server(|_, _| Reply::Say("200 OK", length(content().len()), content()));
        let place = all.clone();
        let (elsewhere, _) =
            server(move |_, _| Reply::Say("302 Found", format!("Location: {place}/x\r\n"), Vec::new()));
        for url in [chunked, endless, all, elsewhere] {
            fs::create_dir_all(&folder.0).unwrap();
            fs::write(folder.0.join("file.gz.part"), &content()[..1000]).unwrap();
            folder.fetch(&[url]).unwrap();
            assert_eq!(fs::read(folder.0.join("file.gz")).unwrap(), content());
            fs::remove_file(folder.0.join("file.gz")).unwrap();
        }
    }

    #[test]
    fn servers_that_do_not_serve_are_given_up() {
        let folder = Folder::new("bad");
        let (stalls, _) = server(|_, _| Reply::Stall);
        let (circles, _) =
            server(|_, _| Reply::Say("302 Found", "Location: /again\r\n".to_string(), Vec::new()));
        let (secure, _) =
            server(|_, _| Reply::Say("301 Moved", "Location: https://x.y/\r\n".to_string(), Vec::new()));
        let (noise, _) = server(|_, _| Reply::Say("\u{0}\u{1}", "x".repeat(100_000), vec![7; 100_000]));
        let nobody = "http://127.0.0.1:1".to_string();
        let error = folder.fetch(&[stalls, circles, secure, noise, nobody]).unwrap_err().to_string();
        for part in ["without end", "isn't plain HTTP", "can't be reached"] {
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(error.lines().count(), 6, "{error}");
    }
}
