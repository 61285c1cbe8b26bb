//! What only a real socket shows: bounds on what is read of an answer's head and of a compressed body.
//!
//! That a body whose length is announced is not read beyond [`BODY_BYTES_MAX`] is held in `io::http`.

use spotscale::io::{
    http::HttpNet,
    net::{BODY_BYTES_MAX, Net, NetError, Request},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Longer than all this takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// Serves one answer to each request, one connection after the other; says where.
async fn serve(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut read, mut head) = (vec![0; 4_096], Vec::new());
            while !head.ends_with(b"\r\n\r\n") {
                let count = stream.read(&mut read).await.unwrap();
                head.extend_from_slice(&read[..count]);
            }
            // Whoever has read enough hangs up.
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    });
    base_url
}

fn asked() -> Request {
    Request::get("/list")
}

/// A good answer, and nothing after it on that connection.
fn good() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}".to_vec()
}

/// An answer with these headers.
fn with_headers(headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{headers}content-length: 2\r\nconnection: close\r\n\r\n{{}}").into_bytes()
}

#[tokio::test]
async fn a_head_beyond_the_bound_is_a_lost_answer_and_the_next_is_read() {
    let many: String = (0..5_000).map(|place| format!("x-header-{place}: {place}\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(4 * 1024 * 1024));
    for head in [with_headers(&many), with_headers(&long), b"HTTP/1.1 200 OK\r\nx\0y: 1\r\n\r\n".to_vec()] {
        let base_url = serve(vec![head, good()]).await;
        let net = HttpNet::new(&base_url).unwrap();
        let lost = net.send(asked(), DEADLINE).await;
        assert!(matches!(lost, Err(NetError::Lost(_))), "{lost:?}");
        assert_eq!(net.send(asked(), DEADLINE).await.unwrap().body, b"{}");
    }
    let base_url = serve(vec![with_headers("x-do-orig-status: 500\r\nretry-after: 7\r\n")]).await;
    let answer = HttpNet::new(&base_url).unwrap().send(asked(), DEADLINE).await.unwrap();
    assert_eq!((answer.header("x-do-orig-status"), answer.header("retry-after")), (Some("500"), Some("7")));
}

/// Bits, the least significant first, as deflate packs them.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, bit: u8) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= bit << (self.used % 8);
        }
        self.used += 1;
    }

    /// A Huffman code, its first bit first.
    fn code(&mut self, code: &str) {
        code.bytes().for_each(|bit| self.push(bit - b'0'));
    }
}

/// Gzip of at least so many spaces, in about a hundred and sixtieth of them: one space, then "the last byte again, 258
/// times" over and over, in fixed codes.
fn bomb(spaces: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    // The last block, with fixed codes.
    bits.code("110");
    // A space is the literal 32: eight bits, from 00110000 on.
    bits.code("01010000");
    for _ in 0..spaces / 258 + 1 {
        // Length 258 is the code 285, distance 1 is the code 0.
        bits.code("11000101");
        bits.code("00000");
    }
    bits.code("0000000");
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    // The checksum is wrong; nobody who stops at the bound gets there.
    [&head[..], &bits.bytes, &[0; 8]].concat()
}

#[tokio::test]
async fn a_compressed_body_is_not_read_beyond_the_bound_of_what_it_becomes() {
    let body = bomb(BODY_BYTES_MAX * 2);
    assert!(body.len() < BODY_BYTES_MAX / 50);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
    let base_url = serve(vec![[head.as_bytes(), &body].concat(), good()]).await;
    let net = HttpNet::new(&base_url).unwrap();
    let lost = net.send(asked(), DEADLINE).await;
    assert_eq!(lost, Err(NetError::Lost(format!("the answer is larger than {BODY_BYTES_MAX} bytes"))));
    assert_eq!(net.send(asked(), DEADLINE).await.unwrap().body, b"{}");
}

#[tokio::test]
async fn a_body_without_an_announced_length_is_not_read_beyond_the_bound() {
    let mut endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 0x0010_0000], b"\r\n"].concat();
    (0..=BODY_BYTES_MAX / 0x0010_0000).for_each(|_| endless.extend_from_slice(&chunk));
    let base_url = serve(vec![endless]).await;
    let lost = HttpNet::new(&base_url).unwrap().send(asked(), DEADLINE).await;
    assert_eq!(lost, Err(NetError::Lost(format!("the answer is larger than {BODY_BYTES_MAX} bytes"))));
}
