//! The demo's HTTP server: HTTP/1.1 with keep-alive on one event loop of one thread, so that whoever blocks it blocks
//! everybody.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::child;
use super::shop::{Response, Shop};

/// A longer head is not from the demo's load.
const LONGEST_HEAD: usize = 8 << 10;

/// Listens on a free port and serves until the process ends.
pub(super) fn run(mysql_port: u16) -> io::Result<()> {
    child::attend(c"demo-http", || ())?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let shop = Shop::open(mysql_port).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        child::announce(listener.local_addr()?.port())?;
        serve(listener, shop).await
    })
}

/// Accepts for ever.
pub(super) async fn serve(listener: TcpListener, shop: Shop) -> io::Result<()> {
    let shop = Arc::new(shop);
    loop {
        let (stream, _) = listener.accept().await?;
        let shop = Arc::clone(&shop);
        tokio::spawn(async move {
            // A client that goes away in the middle is its own affair.
            let _ = converse(stream, &shop).await;
        });
    }
}

/// One connection: request by request until either end closes.
async fn converse(mut stream: TcpStream, shop: &Shop) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        let Some(end) = head_end(&buffer) else {
            if buffer.len() > LONGEST_HEAD {
                let response = Response::new("431 Request Header Fields Too Large", "");
                return send(&mut stream, response, false).await;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        let mut first = head.lines().next().unwrap_or_default().split(' ');
        let (response, keep) = match (first.next(), first.next()) {
            (Some("GET"), Some(target)) => {
                let path = target.split('?').next().unwrap_or_default();
                (shop.get(path).await, !head.to_ascii_lowercase().contains("\r\nconnection: close"))
            }
            // The body that may follow is not read, so the connection is of no further use.
            _ => (Response::new("405 Method Not Allowed", ""), false),
        };
        send(&mut stream, response, keep).await?;
        if !keep {
            return Ok(());
        }
    }
}

async fn send(stream: &mut TcpStream, response: Response, keep: bool) -> io::Result<()> {
    let Response { status, body } = response;
    let connection = if keep { "keep-alive" } else { "close" };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: {connection}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await
}

/// Where a complete head ends.
fn head_end(buffer: &[u8]) -> Option<usize> {
    buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}
