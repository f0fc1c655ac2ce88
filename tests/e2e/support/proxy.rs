//! A controller that lies to operators: the real one's answers, changed on their way.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::{Ran, Scene, api};

/// Changes an answer; given are the path that was asked for and the answer's JSON.
type Change = dyn Fn(&str, &mut Value) + Send + Sync;

impl Scene {
    /// Runs `digue` against a controller whose answers are changed by `change`.
    pub(crate) fn digue_lied_to(
        &self,
        words: &[&str],
        change: impl Fn(&str, &mut Value) + Send + Sync + 'static,
    ) -> Ran {
        let socket = self.file("liar.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).expect("listening");
        let (real, change): (_, Arc<Change>) = (self.api_socket(), Arc::new(change));
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (real, change) = (real.clone(), Arc::clone(&change));
                std::thread::spawn(move || serve(stream, &real, &*change));
            }
        });
        // The same context, but for the socket: people's keys, trust roots and invitations stay.
        let file = self.config_dir().join("contexts").join("lab.toml");
        let honest = std::fs::read_to_string(&file).expect("the context");
        let lied = honest.replace(super::text(&self.api_socket()), super::text(&socket));
        assert_ne!(lied, honest, "the context names the socket");
        std::fs::write(&file, lied).expect("written");
        let ran = self.digue(words);
        std::fs::write(&file, honest).expect("written");
        ran
    }
}

fn serve(stream: UnixStream, real: &Path, change: &Change) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((_, value)) = line.to_ascii_lowercase().split_once("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let answer = api::request(real, method, path, &body).ok()?;
    let text = match serde_json::from_str(&answer.text) {
        Ok(mut value) => {
            change(path, &mut value);
            value.to_string()
        }
        Err(_) => answer.text.clone(),
    };
    let head = format!(
        "HTTP/1.1 {} Told\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.status,
        answer.content_type,
        text.len()
    );
    (&stream).write_all(&[head.as_bytes(), text.as_bytes()].concat()).ok()
}
