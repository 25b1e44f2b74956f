//! The ports that a command line names, which tell instances of one program apart: arguments go in, values come out.
//!
//! `-p` and `-b` mean many things (`curl -b COOKIE`, `ab -p FILE`, `worker -p PROCESSES`), and each value that counts
//! makes a service. So a value counts only when it is a port, or an address with one.

/// Options whose value is a port or an address with one.
const PORTS: &[&str] = &[
    "--port",
    "-p",
    "-P",
    "--bind",
    "-b",
    "--listen",
    "--http-port",
    "--server.port",
    "--addr",
    "--http",
    "--http-socket",
    "--socket",
];

/// The least that a number behind an option of one letter must be: below is a number of processes, threads or tries.
/// HTTP's own port is the lowest that HTTP or MySQL is served on.
const LEAST: u16 = 80;

/// The ports and addresses of a command line, as written.
pub(super) fn of(cmdline: &[String]) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, arg) in cmdline.iter().enumerate().skip(1) {
        let (option, value) = match arg.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (arg.as_str(), cmdline.get(at + 1).map(String::as_str)),
        };
        if PORTS.contains(&option) {
            let least = if option.starts_with("--") { 1 } else { LEAST };
            found.extend(value.filter(|value| is_port(value, least)));
        }
    }
    found
}

/// `8000`, `host:8000`, `[::]:8000`, `:8000`, `tcp://host:8000`, `unix:/path`.
fn is_port(value: &str, least: u16) -> bool {
    if value.starts_with("unix:/") {
        return true;
    }
    let number =
        |text: &str| Some(text).filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?.parse::<u16>().ok();
    let value =
        value.split_once("://").filter(|(scheme, _)| is_socket(scheme)).map_or(value, |(_, rest)| rest);
    match value.rsplit_once(':') {
        Some((host, port)) => host.chars().all(is_of_host) && number(port).is_some(),
        None => number(value).is_some_and(|port| port >= least),
    }
}

/// Schemes of addresses to listen on; those of URLs that a client calls are not among them.
fn is_socket(scheme: &str) -> bool {
    matches!(scheme, "tcp" | "ssl" | "tls")
}

fn is_of_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.:[]*%".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str) -> Vec<String> {
        words.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn ports_and_addresses_count() {
        for (words, want) in [
            ("gunicorn -b 0.0.0.0:80 -b unix:/run/x shop:app", &["0.0.0.0:80", "unix:/run/x"][..]),
            ("uvicorn main:app --port 8000", &["8000"]),
            ("uvicorn main:app --port=8000", &["8000"]),
            ("mysqld --port=3306", &["3306"]),
            ("puma -b tcp://0.0.0.0:3000 -p 3001", &["tcp://0.0.0.0:3000", "3001"]),
            ("shop-api --addr :80 --listen [::]:81", &[":80", "[::]:81"]),
            ("uwsgi --plugin python3 --http-socket 127.0.0.1:21019 --processes 2", &["127.0.0.1:21019"]),
            ("dns --port 53", &["53"]),
        ] {
            assert_eq!(of(&line(words)), want, "{words}");
        }
    }

    #[test]
    fn what_else_such_options_mean_does_not() {
        for words in [
            "curl -b session=1 http://127.0.0.1:80/",
            "curl -b sid:abc http://127.0.0.1:80/",
            "curl -p http://127.0.0.1:8080",
            "ab -p post1.txt -n 100 http://127.0.0.1:80/",
            "worker.py -p 3",
            "worker.py -p 65536",
            "worker.py --port -1",
            "mysql -P",
            "mysqld --socket=/run/mysqld/mysqld2.sock",
            "app -p v8 -b",
            "app --port= --port",
        ] {
            assert!(of(&line(words)).is_empty(), "{words}: {:?}", of(&line(words)));
        }
    }
}
