//! Tricky statements by the table, and what must hold for any bytes at all.

use proptest::prelude::*;

use super::*;

/// The digest where the server has not said what backslashes mean.
fn digest(sql: &[u8], truncated: bool) -> Digest {
    super::digest(sql, truncated, Backslash::Unknown)
}

fn text(sql: &str) -> String {
    digest(sql.as_bytes(), false).text
}

#[test]
fn tricky_statements() {
    for (sql, want) in [
        ("select 1", "SELECT ?"),
        ("SELECT  *\n\tFROM `orders` WHERE id=5;", "SELECT * FROM orders WHERE id = ?"),
        ("select * from orders where id = ?", "SELECT * FROM orders WHERE id = ?"),
        ("select a.b, `c d`.`order` from x", "SELECT a.b, `c d`.`order` FROM x"),
        // Strings.
        (r"select 'it\'s', 'it''s', '', '\\'", "SELECT ?, ?, ?, ?"),
        (r#"select "s""x", "it\"s""#, "SELECT ?, ?"),
        ("select 'a' 'b'\n'c' from t", "SELECT ? FROM t"),
        (
            "select N'x', n'x', x'ff', X'ff', b'01', B'1', _utf8mb4'x', _binary 'x'",
            "SELECT ?, ?, ?, ?, ?, ?, ?, ?",
        ),
        ("select DATE '2020-01-01', timestamp'2020-01-01 00:00:00'", "SELECT ?, ?"),
        ("select {d '2020-01-01'}", "SELECT { d ? }"),
        ("select $$ a 'b $$, $t$ $$ x $t$ from t", "SELECT ?, ? FROM t"),
        // Numbers.
        ("select 1.5, .5, 1., 1e5, 1e-5, 1.5E+10, 0xFF, 0b01", "SELECT ?, ?, ?, ?, ?, ?, ?, ?"),
        ("select -1, +1, - 1, a-1, a - -1, (a)-1, - a", "SELECT ?, ?, ?, a - ?, a - ?, (a) - ?, - a"),
        ("select t.5e3, 2fast from t2", "SELECT t.?, ? FROM t2"),
        ("limit 10,20", "LIMIT ?, ?"),
        ("select 5--3", "SELECT ? - ?"),
        // NULL, TRUE and FALSE are values where a value stands.
        (
            "update t set a=NULL, b=true where c is null and d is not null",
            "UPDATE t SET a = ?, b = ? WHERE c IS NULL AND d IS NOT NULL",
        ),
        // Comments.
        ("select 1 -- 'secret\n, 2 # 'x\n, 3 /* ' */ , 4", "SELECT ?, ?, ?, ?"),
        ("select /*+ MAX_EXECUTION_TIME(1000) SET_VAR(a='*/ x') */ a", "SELECT a"),
        (
            "create /*!50110 temporary */ table t /*!40101 comment='x' */",
            "CREATE temporary TABLE t comment = ?",
        ),
        ("select /*!99999 ' */ secret", "SELECT …"),
        ("select /* never closed secret", "SELECT …"),
        // Lists and rows.
        ("select * from t where a in (1)", "SELECT * FROM t WHERE a IN (...)"),
        ("select * from t where a in (1, -2, 'x')", "SELECT * FROM t WHERE a IN (...)"),
        ("select * from t where (a,b) in ((1,2),(3,4))", "SELECT * FROM t WHERE (a, b) IN (...)"),
        ("a in (f(1), f(2), f(3))", "a IN (f(?), ...)"),
        ("a in (select b from c where d in (1,2))", "a IN (SELECT b FROM c WHERE d IN (...))"),
        ("a in (b, 1)", "a IN (b, ?)"),
        ("insert into t (a,b) values (1,'x')", "INSERT INTO t(a, b) VALUES (?, ?)"),
        ("insert into t (a,b) values (1,'x'),(2,NOW()) , (3,default)", "INSERT INTO t(a, b) VALUES (?, ?)"),
        ("insert into t values row(1,2), row(3,4)", "INSERT INTO t VALUES ROW (?, ?)"),
        (
            "insert into t(a) values (1),(2) on duplicate key update a=values(a), b=b+1",
            "INSERT INTO t(a) VALUES (?) ON DUPLICATE KEY UPDATE a = VALUES (a), b = b + ?",
        ),
        ("order by field(id,1,2,3,4,5,6)", "ORDER BY FIELD(id, ?, ...)"),
        // Names and operators.
        ("select count( * ), Count(x) from t as T", "SELECT COUNT(*), COUNT(x) FROM t AS T"),
        ("select @a:=1, @@sql_mode, a->>'$.x'", "SELECT @a := ?, @@sql_mode, a ->> ?"),
        ("grant all on *.* to 'root'@'localhost'", "GRANT ALL ON *.* TO ? @?"),
        ("select größe from größen", "SELECT größe FROM größen"),
        ("select\0a\0from t", "SELECT a FROM t"),
        ("", ""),
        (";;", ""),
    ] {
        assert_eq!(super::digest(sql.as_bytes(), false, Backslash::Escapes).text, want, "{sql}");
    }
}

#[test]
fn names_that_no_server_takes_are_values() {
    let token = "A".repeat(65);
    for sql in [
        format!("select {token}"),
        format!("select `{token}`"),
        "select `a'b`".into(),
        "select `a``b`".into(),
    ] {
        assert_eq!(text(&sql), "SELECT ?", "{sql}");
    }
    assert_eq!(digest(b"select \xff\xfe from t", false).text, "SELECT ? FROM t");
    assert_eq!(text("select a\u{9b}31m"), "SELECT ?");
}

#[test]
fn a_cut_statement_ends_in_an_ellipsis() {
    for (sql, want) in [
        ("select secr", "SELECT …"),
        ("select * from orders where id = 12", "SELECT * FROM orders WHERE id = ? …"),
        ("select * from orders where name = 'secr", "SELECT * FROM orders WHERE name = ? …"),
        ("select * from orders where id in (1,2,", "SELECT * FROM orders WHERE id IN (... …"),
        ("select * from orders where id in (", "SELECT * FROM orders WHERE id IN (... …"),
        ("insert into t values (1,2),(3,'x", "INSERT INTO t VALUES (?, ?) …"),
        ("insert into t values (1,2),", "INSERT INTO t VALUES (?, ?) …"),
        ("insert into t values (1, 'x", "INSERT INTO t VALUES (... …"),
        ("select a from `ord", "SELECT a FROM …"),
        ("select a from `ord`", "SELECT a FROM …"),
        ("select a /* secr", "SELECT a …"),
        ("", "…"),
    ] {
        assert_eq!(digest(sql.as_bytes(), true).text, want, "{sql}");
    }
}

#[test]
fn where_a_string_ends_in_doubt_nothing_follows() {
    // With NO_BACKSLASH_ESCAPES these are two strings.
    let sql = br"select * from t where a = 'x\' and b = 'secret'";
    for unknown in [&sql[..], br"select * from t where a = 'it\'s' and b = 1"] {
        assert_eq!(digest(unknown, false).text, "SELECT * FROM t WHERE a = ? …");
    }
    assert_eq!(super::digest(sql, false, Backslash::Escapes).text, "SELECT * FROM t WHERE a = ? …");
    assert_eq!(super::digest(sql, false, Backslash::Literal).text, "SELECT * FROM t WHERE a = ? AND b = ?");
    assert_eq!(digest(br"select 'x\', 'secret', 'y\', 'more'", true).text, "SELECT ? …");
    // Where the evidence is cut off, or hidden in a comment, only the server's word helps.
    assert_eq!(digest(br"select 'x\', ' secret # '", false).text, "SELECT ? …");
    let cut = br"select 'x\', ' secret from";
    assert_eq!(digest(cut, true).text, "SELECT ? …");
    assert_eq!(super::digest(cut, true, Backslash::Literal).text, "SELECT ?, ? …");
    // The other way round: believed to be two strings, and one.
    assert_eq!(super::digest(br"select 'x\' secret \' y', a", false, Backslash::Literal).text, "SELECT ? …");
}

#[test]
fn the_text_is_bounded_and_the_hash_is_not() {
    let columns = |last: &str| {
        let names: Vec<String> = (0..900).map(|n| format!("column_{n}")).collect();
        digest(format!("select {}, {last} from t", names.join(", ")).as_bytes(), false)
    };
    let (a, b) = (columns("a"), columns("b"));
    assert!(a.text.len() <= MAX_TEXT && a.text.ends_with(", …"), "{}", a.text);
    assert_eq!(a.text, b.text);
    assert_ne!(a.hash, b.hash);
}

#[test]
fn the_hash_is_fnv1a() {
    assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    assert_eq!(digest(b"select 1", false).hash, fnv1a(b"SELECT ?"));
}

#[test]
fn summaries() {
    for (sql, want) in [
        ("select * from orders where id = 1", "SELECT orders"),
        ("select * from shop.orders o, items as i, x where 1", "SELECT shop.orders items x"),
        ("select a from b join c on b.x=c.x left join d using (x)", "SELECT b c d"),
        ("insert into archive (a) select a from orders", "INSERT archive SELECT orders"),
        ("insert ignore t values (1) on duplicate key update a=1", "INSERT t"),
        ("update a, b set a.x=b.x", "UPDATE a b"),
        ("delete from t where x in (select y from z)", "DELETE t SELECT z"),
        ("select extract(year from d), trim('x' from y) from t for update", "SELECT t"),
        ("(select 1 from a) union (select 2 from b)", "SELECT a SELECT b"),
        ("with c as (select 1 from a) select * from c", "SELECT a SELECT c"),
        ("replace into t values (replace(a,b,c))", "REPLACE t"),
        ("create table if not exists t (a int)", "CREATE TABLE t"),
        ("drop table `order`", "DROP TABLE `order`"),
        ("truncate t", "TRUNCATE t"),
        ("call p(1)", "CALL p"),
        ("set names utf8mb4", "SET"),
        ("commit", "COMMIT"),
        ("select 1", "SELECT"),
        ("gibberish", ""),
        ("", ""),
    ] {
        assert_eq!(digest(sql.as_bytes(), false).summary, want, "{sql}");
    }
}

/// A literal that holds the marker `s3cr3t` or `zqzq`, in one of the ways the dialect has.
fn literal() -> impl Strategy<Value = String> {
    let inside = prop_oneof![
        Just(String::new()),
        "[ -~]{0,12}".prop_map(|s| s.replace('\\', r"\\").replace('\'', "''").replace('"', r#"\""#)),
        Just(r"\' and x = \'".to_string()),
        Just("''".to_string()),
        Just(" -- /* # ` ".to_string()),
        Just("*/".to_string()),
    ];
    (inside.clone(), inside, 0..8usize).prop_map(|(before, after, kind)| {
        let double = |s: &str| s.replace(r#"\""#, r#"\\\""#).replace("''", "'");
        match kind {
            0..3 => format!("'{before}zqzq{after}'"),
            3 => format!(
                "\"{}zqzq{}\"",
                double(&before).replace(r#"\\\""#, r#"\""#),
                double(&after).replace(r#"\\\""#, r#"\""#)
            ),
            4 => format!("_utf8mb4 '{before}zqzq'"),
            5 => format!("N'zqzq{after}'"),
            6 => "0x7a717a71zqzq".to_string(),
            _ => "5zqzqe-5".to_string(),
        }
    })
}

fn statement(literal: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let template = prop::sample::select(vec![
        "select * from t where a = {} and b in ({}, {}) order by c",
        "insert into t (a, b, c) values ({}, {}, {}), (1, {}, null) on duplicate key update a = {}",
        "update t set a={},b=-{} where c={}/* it's */ or c like {}",
        "select {}{} -- {}\n, /*+ hint({}) */ {} from `t`",
        "call p({},{})#{}",
        "select {} union select concat({}, {})",
    ]);
    (template, prop::collection::vec(literal, 5)).prop_map(|(template, literals)| {
        let mut parts = template.split("{}");
        let mut sql = parts.next().unwrap_or_default().to_string();
        for (part, literal) in parts.zip(literals.iter().cycle()) {
            sql += literal;
            sql += part;
        }
        sql
    })
}

/// A string as NO_BACKSLASH_ESCAPES has it, with the marker `zqzq`.
fn plain_string() -> impl Strategy<Value = String> {
    let inside = prop_oneof![
        Just(String::new()),
        "[ -~]{0,8}".prop_map(|s| s.replace('\'', "''")),
        r"[ ,\\]{0,4}",
        Just(r"\".to_string()),
    ];
    (inside.clone(), inside).prop_map(|(before, after)| format!("'{before}zqzq{after}'"))
}

/// The head of the marker is enough: a cut must not let part of it through.
fn leaks(digest: &Digest) -> bool {
    digest.text.contains("zq") || digest.summary.contains("zq")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_literal_comes_through_wherever_it_is_cut(sql in statement(literal())) {
        for cut in 0..=sql.len() {
            for backslash in [Backslash::Unknown, Backslash::Escapes] {
                let digest = super::digest(&sql.as_bytes()[..cut], cut < sql.len(), backslash);
                prop_assert!(!leaks(&digest), "{} -> {}", &sql[..cut], digest.text);
            }
        }
    }

    #[test]
    fn nor_where_a_backslash_means_nothing(sql in statement(plain_string())) {
        for cut in 0..=sql.len() {
            for backslash in [Backslash::Unknown, Backslash::Literal] {
                let digest = super::digest(&sql.as_bytes()[..cut], cut < sql.len(), backslash);
                prop_assert!(!leaks(&digest), "{} -> {}", &sql[..cut], digest.text);
            }
        }
    }

    #[test]
    fn any_bytes_give_a_bounded_line(sql in prop::collection::vec(any::<u8>(), 0..300), truncated: bool) {
        let digest = digest(&sql, truncated);
        prop_assert!(digest.text.len() <= MAX_TEXT && digest.summary.len() <= 255);
        prop_assert!(!digest.text.contains(|c: char| c.is_control()));
        prop_assert!(!truncated || digest.text.ends_with('…'));
    }

    #[test]
    fn a_digest_is_its_own_digest(
        sql in "([-?,;.@`'\"#/*!$\\\\(){}=<>:|&…a-cN0-9 \n]|in |values |select |row |null |\\.\\.\\.|date |null ){0,40}",
        truncated: bool,
    ) {
        let once = digest(sql.as_bytes(), truncated);
        let twice = digest(once.text.as_bytes(), false);
        prop_assert_eq!(&twice.text, &once.text);
        prop_assert_eq!(twice.hash, once.hash);
    }

    #[test]
    fn the_number_of_elements_makes_no_new_digest(n in 1..50usize, m in 1..50usize) {
        let list = |n: usize| format!("select 1 from t where a in ({})", vec!["7"; n].join(","));
        let rows = |n: usize| format!("insert into t values {}", vec!["(1, 'x')"; n].join(","));
        prop_assert_eq!(digest(list(n).as_bytes(), false), digest(list(m).as_bytes(), false));
        prop_assert_eq!(digest(rows(n).as_bytes(), false), digest(rows(m).as_bytes(), false));
    }
}
