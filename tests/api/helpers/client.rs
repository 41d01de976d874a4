//! An HTTP client with a method for every endpoint.

use std::net::SocketAddr;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// The password of every user.
pub const PASSWORD: &str = "correct horse";

/// A client of a single instance.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// An HTTP answer, read completely.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client can be built");
        Self { http, base: format!("http://{address}") }
    }

    /// A request to `path`. The path is sent unchanged.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a test names a method");
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request. An empty token means no `Authorization` header.
    pub async fn send(&self, method: &str, path: &str, token: &str, body: Option<&str>) -> Answer {
        let mut request = self.request(method, path);
        if !token.is_empty() {
            request = request.header("Authorization", token);
        }
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        Answer::of(request).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, token, None).await
    }

    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send("POST", path, token, Some(&body.to_string())).await
    }

    pub async fn put(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.send("PUT", path, token, Some(&body.to_string())).await
    }

    /// Registers a user with [`PASSWORD`].
    pub async fn register(&self, name: &str, kind: &str) -> Answer {
        self.post("/api/users", "", &json!({"username": name, "password": PASSWORD, "kind": kind})).await
    }

    pub async fn log_in(&self, name: &str, password: &str) -> Answer {
        self.post("/api/auth", "", &json!({"username": name, "password": password})).await
    }

    /// Registers a user and returns the session token.
    pub async fn user(&self, name: &str, kind: &str) -> String {
        let answer = self.register(name, kind).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let answer = self.log_in(name, PASSWORD).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("Authorization").to_owned()
    }

    /// Creates a coupon that can be claimed at once.
    pub async fn create_coupon(&self, saler: &str, token: &str, name: &str, amount: u32) {
        let body = json!({"name": name, "amount": amount, "description": "of a test", "stock": 10});
        let answer = self.post(&format!("/api/users/{saler}/coupons"), token, &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    pub async fn claim(&self, saler: &str, name: &str, token: &str) -> Answer {
        self.send("PATCH", &format!("/api/users/{saler}/coupons/{name}"), token, None).await
    }

    /// Like [`Client::claim`]. `None` if the connection breaks.
    pub async fn try_claim(&self, saler: &str, name: &str, token: &str) -> Option<Answer> {
        let request = self.request("PATCH", &format!("/api/users/{saler}/coupons/{name}"));
        let response = request.header("Authorization", token).send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Some(Answer { status, headers, text: response.text().await.ok()? })
    }

    pub async fn list(&self, name: &str, token: &str) -> Answer {
        self.get(&format!("/api/users/{name}/coupons"), token).await
    }

    pub async fn is_ready(&self) -> bool {
        match self.request("GET", "/readyz").send().await {
            Ok(response) => response.status() == 200,
            Err(_) => false,
        }
    }
}

impl Answer {
    /// Sends `request` and reads the answer.
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the service answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("the body arrives") }
    }

    /// A header's value. Empty if the header is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("headers are ASCII"))
    }

    /// The `Claim-Result` header.
    pub fn result(&self) -> &str {
        self.header("Claim-Result")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn message(&self) -> String {
        self.json()["errMsg"].as_str().expect("every body has errMsg").to_owned()
    }

    /// Status, `errMsg` and `code`, to compare with a row of the wire contract.
    pub fn error(&self) -> (u16, String, String) {
        (self.status, self.message(), self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}
