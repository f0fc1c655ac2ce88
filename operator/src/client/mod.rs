//! The controller's API, as seen by someone who does not trust it: the answers are data to be verified.

pub(crate) mod api;
pub(crate) mod events;
mod transport;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::context::{Context, Endpoint};
use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};

/// Largest answer that is read, in bytes: 20,000 hosts with their details.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Longest wait for the head of an answer.
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

type Sender = SendRequest<Full<Bytes>>;

/// A client of one controller. Requests go one after the other over one connection.
pub(crate) struct Client {
    endpoint: Endpoint,
    authority: String,
    token: Option<String>,
    connection: Mutex<Option<Sender>>,
}

/// RFC 9457, as the controller fills it.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct ProblemJson {
    title: String,
    detail: String,
    code: String,
}

impl Client {
    /// A client of the context's controller; nothing is sent yet.
    pub(crate) fn new(context: &Context) -> Outcome<Self> {
        let (authority, token) = match &context.endpoint {
            Endpoint::Unix(_) => ("localhost".to_owned(), None),
            Endpoint::Https { authority, token_file, .. } => {
                let token = crate::files::read_text(token_file)?.trim().to_owned();
                (authority.clone(), Some(token))
            }
        };
        Ok(Self { endpoint: context.endpoint.clone(), authority, token, connection: Mutex::new(None) })
    }

    /// A client of an endpoint without a context.
    #[cfg(test)]
    pub(crate) fn for_tests(endpoint: Endpoint) -> Self {
        Self { endpoint, authority: "localhost".to_owned(), token: None, connection: Mutex::new(None) }
    }

    /// Where the controller is, for messages.
    pub(crate) fn address(&self) -> String {
        match &self.endpoint {
            Endpoint::Unix(path) => path.display().to_string(),
            Endpoint::Https { authority, .. } => authority.clone(),
        }
    }

    fn unreachable(&self) -> Problem {
        Problem::new("E0620", msg!("controller-unreachable", address = self.address()))
    }

    fn request(&self, method: Method, path: &str, body: Vec<u8>) -> Outcome<Request<Full<Bytes>>> {
        let mut builder = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.authority)
            .header("accept", "application/json, application/problem+json, text/event-stream");
        if let Some(token) = &self.token {
            builder = builder.header("authorization", format!("Bearer {token}"));
        }
        if !body.is_empty() {
            builder = builder.header("content-type", "application/json");
        }
        builder
            .body(Full::new(Bytes::from(body)))
            .or_problem(|| Problem::new("E0601", msg!("request-bad", path = path)))
    }

    /// Sends one request, over a new connection if the kept one was closed meanwhile.
    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Outcome<(StatusCode, Bytes)> {
        let mut kept = self.connection.lock().await;
        let mut reused = kept.take();
        if let Some(sender) = reused.as_mut()
            && sender.ready().await.is_err()
        {
            reused = None;
        }
        let mut sender = match reused {
            Some(sender) => sender,
            None => transport::connect(&self.endpoint).await?,
        };
        let request = self.request(method, path, body)?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, sender.send_request(request)).await;
        let answer = answer.or_problem(|| self.unreachable())?.or_problem(|| self.unreachable())?;
        let (status, bytes) = collect(answer).await?;
        *kept = Some(sender);
        Ok((status, bytes))
    }

    fn failure(&self, status: StatusCode, body: &[u8], path: &str) -> Problem {
        let problem: ProblemJson = serde_json::from_slice(body).unwrap_or_default();
        let said = [problem.detail, problem.title, status.to_string()].into_iter().find(|t| !t.is_empty());
        let said = said.unwrap_or_default();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Problem::new("E0621", msg!("controller-refuses", address = self.address())).because(said)
            }
            _ if crate::explain::entry(&problem.code).is_some() => {
                Problem::new(&problem.code, msg!("controller-says", said = said))
            }
            StatusCode::NOT_FOUND => {
                Problem::new("E0624", msg!("controller-not-found", path = path)).because(said)
            }
            _ => Problem::new("E0622", msg!("controller-error", status = status.as_str(), path = path))
                .because(said),
        }
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Vec<u8>) -> Outcome<T> {
        let (status, bytes) = self.send(method, path, body).await?;
        if !status.is_success() {
            return Err(self.failure(status, &bytes, path));
        }
        serde_json::from_slice(&bytes)
            .or_problem(|| Problem::new("E0623", msg!("controller-unreadable", path = path)))
    }

    /// GET.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        self.call(Method::GET, path, Vec::new()).await
    }

    /// POST of a JSON document.
    pub(crate) async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Outcome<T> {
        let body = serde_json::to_vec(body).or_problem(|| Problem::of("E0623"))?;
        self.call(Method::POST, path, body).await
    }

    /// POST of a JSON document; the answer's body is of no interest.
    pub(crate) async fn submit<B: Serialize>(&self, path: &str, body: &B) -> Outcome<()> {
        let body = serde_json::to_vec(body).or_problem(|| Problem::of("E0623"))?;
        let (status, bytes) = self.send(Method::POST, path, body).await?;
        if status.is_success() { Ok(()) } else { Err(self.failure(status, &bytes, path)) }
    }

    /// DELETE; the answer's body is of no interest.
    pub(crate) async fn delete(&self, path: &str) -> Outcome<()> {
        let (status, bytes) = self.send(Method::DELETE, path, Vec::new()).await?;
        if status.is_success() { Ok(()) } else { Err(self.failure(status, &bytes, path)) }
    }

    /// The body of an answer that goes on for ever, over a connection of its own.
    async fn stream(&self, path: &str, last_event: Option<&str>) -> Outcome<Incoming> {
        let mut sender = transport::connect(&self.endpoint).await?;
        let mut request = self.request(Method::GET, path, Vec::new())?;
        if let Some(value) = last_event.and_then(|id| id.parse().ok()) {
            request.headers_mut().insert("last-event-id", value);
        }
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, sender.send_request(request)).await;
        let answer = answer.or_problem(|| self.unreachable())?.or_problem(|| self.unreachable())?;
        if !answer.status().is_success() {
            let (status, bytes) = collect(answer).await?;
            return Err(self.failure(status, &bytes, path));
        }
        Ok(answer.into_body())
    }
}

async fn collect(answer: Response<Incoming>) -> Outcome<(StatusCode, Bytes)> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
    let body = body.or_problem(|| Problem::of("E0623"))?;
    Ok((status, body.to_bytes()))
}
