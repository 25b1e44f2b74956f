//! A command line fit to be shown: arguments go in, one line without passwords and tokens comes out (law 10).
//!
//! Masked are the values of options and assignments whose name says that it is secret, passwords in URLs, `-pSECRET` of
//! MySQL's clients, credentials of headers, and inline programs (`python -c ...`), which may hold anything.

/// The line is at most this long, bytes.
const MAX_LINE: usize = 512;
const MASK: &str = "***";

/// Parts of names of secret options, after lower case and without `-` and `_`.
const SECRET: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "accountkey",
    "credential",
    "authorization",
    "bearer",
    "cookie",
    "signature",
    "sessionid",
    "masterauth",
    "proxyauth",
    "sas",
];
/// Programs whose `-p` holds a password without a space.
const MYSQL_CLIENTS: &[&str] = &[
    "mysql",
    "mariadb",
    "mysqldump",
    "mysqladmin",
    "mysqlimport",
    "mysqlcheck",
    "mysqlshow",
    "mysqlsh",
    "mysqlslap",
    "mycli",
    "xtrabackup",
    "mariabackup",
    "sshpass",
];
/// Programs whose next argument after this option is a secret.
const OPTIONS: &[(&str, &str)] = &[
    ("sshpass", "-p"),
    ("redis-cli", "-a"),
    ("mongo", "-p"),
    ("mongosh", "-p"),
    ("mongodump", "-p"),
    ("mosquitto_pub", "-P"),
    ("mosquitto_sub", "-P"),
    ("ldapsearch", "-w"),
    ("smbclient", "-U"),
    ("curl", "-u"),
    ("curl", "--user"),
    ("curl", "-U"),
    ("curl", "--proxy-user"),
    ("curl", "-b"),
    ("curl", "-d"),
    ("curl", "--data"),
];
/// Programs with options for an inline program, and these options.
const INLINE: &[(&str, &[&str])] = &[
    ("python", &["-c"]),
    ("node", &["-e", "--eval", "-p", "--print"]),
    ("perl", &["-e", "-E"]),
    ("ruby", &["-e"]),
    ("php", &["-r"]),
    ("sh", &["-c", "-ec", "-lc", "-xc"]),
    ("bash", &["-c", "-ec", "-lc", "-xc"]),
    ("dash", &["-c", "-ec", "-lc", "-xc"]),
    ("zsh", &["-c", "-lc"]),
    ("mysql", &["-e"]),
    ("psql", &["-c"]),
];

/// A command line without its secrets, shortened with `…`. Arguments are separated by spaces, as `ps` shows them.
pub fn masked(args: &[String]) -> String {
    let program = args.first().map(|first| first.rsplit('/').next().unwrap_or(first)).unwrap_or_default();
    let mut line = String::new();
    // What the next argument is, by the one before.
    let mut next = Next::Plain;
    for arg in args {
        let shown = match next {
            Next::Secret if !arg.starts_with("--") => MASK.to_string(),
            Next::Inline => "…".to_string(),
            _ => argument(program, arg),
        };
        next = if shown == MASK { Next::Plain } else { after(program, arg) };
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(shown.chars().map(|c| if c.is_control() { ' ' } else { c }));
        if line.len() > MAX_LINE {
            line.truncate(line.floor_char_boundary(MAX_LINE - '…'.len_utf8()));
            line.push('…');
            break;
        }
    }
    line
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Plain,
    Secret,
    Inline,
}

fn after(program: &str, option: &str) -> Next {
    if !option.starts_with('-') {
        return Next::Plain;
    }
    let is_inline = |(name, options): &(&str, &[&str])| {
        program.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
            && options.contains(&option)
    };
    if INLINE.iter().any(is_inline) {
        Next::Inline
    } else if OPTIONS.contains(&(program, option)) || !option.contains(['=', ' ', ':']) && is_secret(option) {
        Next::Secret
    } else {
        Next::Plain
    }
}

fn argument(program: &str, arg: &str) -> String {
    if MYSQL_CLIENTS.contains(&program) && arg.starts_with("-p") && arg.len() > 2 {
        return format!("-p{MASK}");
    }
    // `-uuser:password` of curl.
    if program == "curl" && (arg.starts_with("-u") || arg.starts_with("-U")) && arg.len() > 2 {
        return format!("{}{MASK}", &arg[..2]);
    }
    assignments(&userinfo(arg))
}

/// `scheme://user:password@` becomes `scheme://user:***@`.
fn userinfo(arg: &str) -> String {
    let mut parts = arg.split("://");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        out.push_str("://");
        // A password may hold anything, so the last `@` before a space ends it.
        let end = part.find(char::is_whitespace).unwrap_or(part.len());
        match part[..end].rfind('@') {
            Some(at) => {
                let user = part[..at].split(':').next().unwrap_or_default();
                // Without a password the name may be a token.
                let shown = if user.len() < at {
                    format!("{user}:{MASK}")
                } else if at > 16 {
                    MASK.into()
                } else {
                    user.into()
                };
                out.push_str(&shown);
                out.push_str(&part[at..]);
            }
            None => out.push_str(part),
        }
    }
    out
}

/// `name=value` and `name: value` with a secret's name, in options, DSNs, query strings and JSON.
fn assignments(arg: &str) -> String {
    let mut out = String::new();
    let mut rest = arg;
    while let Some(at) = rest.find(['=', ':']) {
        let (head, tail) = (&rest[..at], &rest[at..]);
        let name = head.rsplit(|c: char| c.is_whitespace() || "?&;,{(=:".contains(c)).next().unwrap_or(head);
        out.push_str(head);
        out.push_str(&tail[..1]);
        rest = &tail[1..];
        if is_secret(name) {
            out.push_str(MASK);
            // What ends a value depends on where it stands; the value of an option is all of the argument.
            let whole = name.len() == head.len() && out.len() == head.len() + 1 + MASK.len();
            let end = if whole { None } else { rest.find(['&', ';', ',', '}']) };
            rest = &rest[end.unwrap_or(rest.len())..];
        }
    }
    out.push_str(rest);
    out
}

/// Whether an option, variable or header of that name has a secret as its value.
fn is_secret(name: &str) -> bool {
    let name: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SECRET.iter().any(|part| name.contains(part)) && name != "sas"
        || name.ends_with("pass")
        || name.ends_with("auth")
        || name == "xkey"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(words: &str) -> String {
        masked(&words.split(' ').map(|word| word.replace('~', " ")).collect::<Vec<_>>())
    }

    #[test]
    fn secrets_are_masked() {
        for (words, want) in [
            ("app --password=hunter2 --port=80", "app --password=*** --port=80"),
            ("app --password=a&b~c", "app --password=***"),
            ("app --password hunter2 x", "app --password *** x"),
            ("app --api-key -k1 x", "app --api-key *** x"),
            ("app --token --verbose x", "app --token --verbose x"),
            ("app -Ddb.password=x -DAPI_TOKEN=y", "app -Ddb.password=*** -DAPI_TOKEN=***"),
            ("env MYSQL_PWD=x DB_PASS=y A=b", "env MYSQL_PWD=*** DB_PASS=*** A=b"),
            ("/usr/bin/mysql -uroot -phunter2 db", "/usr/bin/mysql -uroot -p*** db"),
            ("mysql -uroot -p db", "mysql -uroot -p db"),
            ("ssh -p2222 host", "ssh -p2222 host"),
            ("sshpass -p x ssh h", "sshpass -p *** ssh h"),
            ("redis-cli -a x get y", "redis-cli -a *** get y"),
            ("redis-server --requirepass x", "redis-server --requirepass ***"),
            ("app postgres://user:pa:s@s@host/db", "app postgres://user:***@host/db"),
            ("app --dsn=mysql://u:p@h:3306/db?ssl=1", "app --dsn=mysql://u:***@h:3306/db?ssl=1"),
            ("git clone https://ghp_0123456789abcdef@github.com/x", "git clone https://***@github.com/x"),
            ("ssh ssh://git@host/x", "ssh ssh://git@host/x"),
            ("app http://h/x?token=abc&a=b", "app http://h/x?token=***&a=b"),
            ("java jdbc:mysql://h/d?user=a&password=b", "java jdbc:mysql://h/d?user=a&password=***"),
            ("app host=x;Password=y;Port=1", "app host=x;Password=***;Port=1"),
            ("app {\"password\":\"x\",\"a\":1}", "app {\"password\":***,\"a\":1}"),
            (
                "curl -u user:pw -H Authorization:~Bearer~x http://h/",
                "curl -u *** -H Authorization:*** http://h/",
            ),
            ("curl -uuser:pw http://h/", "curl -u*** http://h/"),
            ("curl -H Cookie:~a=b", "curl -H Cookie:***"),
            ("python3 -c import~x;key='s' 8", "python3 -c … 8"),
            ("bash -c curl~secret", "bash -c …"),
            ("uvicorn main:app --host 0.0.0.0 --port 8000", "uvicorn main:app --host 0.0.0.0 --port 8000"),
            ("", ""),
        ] {
            assert_eq!(line(words), want, "{words}");
        }
    }

    #[test]
    fn the_line_is_short_and_has_no_control_characters() {
        let shown = masked(&["a\n\x1b[31m".into(), "é".repeat(2000)]);
        assert!(shown.len() <= MAX_LINE && shown.ends_with('…') && !shown.contains(['\n', '\x1b']));
    }

    proptest! {
        #[test]
        fn any_arguments(args in prop::collection::vec("\\PC{0,40}", 0..10)) {
            prop_assert!(masked(&args).len() <= MAX_LINE);
        }

        #[test]
        fn the_value_of_a_secret_option_never_shows(
            name in prop::sample::select(vec!["--password", "--db-passwd", "--apiKey", "--client_secret", "-token"]),
            around in "[a-z:/@=&;, ]{0,6}",
            is_apart: bool,
        ) {
            let value = format!("{around}zqzq{around}");
            let args = match is_apart {
                true => vec!["app".to_string(), name.into(), value],
                false => vec!["app".to_string(), format!("{name}={value}")],
            };
            prop_assert!(!masked(&args).contains("zqzq"), "{}", masked(&args));
        }
    }
}
