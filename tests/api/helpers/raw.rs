//! Requests that no client library would send: every byte as it stands.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends `method path` with a token and gives the head and the body of the answer.
pub async fn send_raw(address: SocketAddr, method: &str, path: &[u8], token: &str) -> (String, String) {
    let mut request = method.as_bytes().to_vec();
    request.push(b' ');
    request.extend_from_slice(path);
    let rest = format!(" HTTP/1.1\r\nHost: test\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n");
    request.extend_from_slice(rest.as_bytes());
    let mut stream = TcpStream::connect(address).await.expect("the service listens");
    stream.write_all(&request).await.expect("the request can be sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    read.expect("the service answers and closes").expect("the answer arrives");
    let answer = String::from_utf8(answer).expect("answers are UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    (head.to_owned(), body.to_owned())
}
