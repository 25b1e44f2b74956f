//! Titles that programs write over their arguments: a command line goes in, the name in its title comes out.
//!
//! | title | name |
//! | --- | --- |
//! | `nginx: worker process`, `postgres: app db idle` | `nginx`, `postgres` |
//! | `gunicorn: worker [shop]`, `puma 6.4 (tcp://...) [shop]` | `gunicorn shop`, `puma shop` |
//! | `php-fpm: pool www` | `php-fpm www` |
//! | `[celeryd: celery@host:MainProcess] -active- (-A shop worker)` | `celery shop` |

use super::identity::join;
use super::tool::tool;

/// The name in a title, if the command line is one.
pub(super) fn titled(cmdline: &[String]) -> Option<String> {
    let [title] = cmdline else {
        return None;
    };
    let title = title.strip_prefix('[').unwrap_or(title);
    let (head, rest) = title.split_once([':', ' '])?;
    let is_word = !head.is_empty() && head.chars().all(|c| c.is_alphanumeric() || "-_.+".contains(c));
    if !is_word || rest.is_empty() || rest.starts_with('/') {
        return None;
    }
    // Titles end in the application's name, if in any: `[shop]`, or `pool www`, or repeat the arguments.
    let app = match head {
        "gunicorn" | "puma" | "uwsgi" => rest.rsplit_once('[').and_then(|(_, app)| app.strip_suffix(']')),
        "celery" | "celeryd" => {
            let words = rest.split([' ', '(', ')', ']']).filter(|word| !word.is_empty());
            return Some(tool("celery", &words.skip(1).map(str::to_owned).collect::<Vec<_>>()));
        }
        _ if head.starts_with("php-fpm") => rest.trim_start().strip_prefix("pool "),
        _ => None,
    };
    Some(join(head, app.unwrap_or_default()))
}
