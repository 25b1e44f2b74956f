//! A thousand requests of every kind that HTTP/1.1 has, in an order that is the same each time.

use anyhow::{Result, ensure};

use crate::{
    address::Address,
    http_client::{Exchange, HttpClient},
};

/// Requests of one run, the streams among them.
pub const REQUESTS: usize = 1000;
/// Server-sent events: counted as streams, in no row.
pub const STREAMS: u64 = 2;

/// Largest body of a request; responses to it are as large.
const LARGEST: usize = 300_000;

/// Sends the requests over one connection, anew when it was closed, and returns what the client saw.
pub fn run(address: &Address) -> Result<Vec<Exchange>> {
    let mut client = HttpClient::new(address);
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for n in 0..REQUESTS {
        one(&mut client, n, &mut random)?;
    }
    ensure!(client.log().len() == REQUESTS, "{} exchanges", client.log().len());
    Ok(client.log().to_vec())
}

fn one(client: &mut HttpClient, n: usize, random: &mut Random) -> Result<()> {
    match n {
        // What takes the server's time is asked for now and then.
        100 | 600 => return client.get("/sse").map(drop),
        _ if n % 150 == 20 => return client.get("/stream").map(drop),
        0 => return echo(client, &vec![b'b'; LARGEST], HttpClient::post),
        1 => return echo(client, &[], HttpClient::post),
        _ => {}
    }
    match n % 10 {
        0 => echo(client, &body(random), HttpClient::post),
        1 => echo(client, &body(random), chunked),
        2 => echo(client, &[b'e'; 1 + 40_000], HttpClient::post_expecting),
        3 => client.get(&format!("/bytes/{}", random.below(LARGEST))).map(drop),
        4 => client.send("HEAD", "/items/7", &[]).map(drop),
        5 => client.get("/status/404").map(drop),
        6 => client.get("/status/500").map(drop),
        7 => client.exchange(b"GET /items/8 HTTP/1.1\r\nConnection: close\r\nHost: test\r\n\r\n").map(drop),
        8 => client.get("/no-such-route").map(drop),
        _ => client.get(&format!("/items/{}?secret=1234", random.below(1000))).map(drop),
    }
}

fn echo(
    client: &mut HttpClient,
    body: &[u8],
    send: impl Fn(&mut HttpClient, &str, &[u8]) -> Result<crate::Response>,
) -> Result<()> {
    let response = send(client, "/echo", body)?;
    ensure!(response.status == 200 && response.body == body, "the echo of {} bytes differs", body.len());
    Ok(())
}

/// A body in chunks of growing size, with an extension and a trailer.
fn chunked(client: &mut HttpClient, target: &str, body: &[u8]) -> Result<crate::Response> {
    let mut request =
        format!("POST {target} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    let (mut rest, mut size) = (body, 1);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        request.extend_from_slice(format!("{:X};part\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
        (rest, size) = (after, size * 8);
    }
    request.extend_from_slice(b"0\r\n\r\n");
    client.exchange(&request)
}

/// Text that looks like a request and like a response, of any length: most are short.
fn body(random: &mut Random) -> Vec<u8> {
    let longest = [64, 1_000, 20_000, LARGEST][random.below(4)];
    let text = b"GET /body HTTP/1.1\r\nHost: x\r\n\r\nHTTP/1.1 418 No\r\nContent-Length: 9\r\n\r\n";
    text.iter().copied().cycle().take(1 + random.below(longest)).collect()
}

/// Marsaglia's xorshift: any numbers, but the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}
