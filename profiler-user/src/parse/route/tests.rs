//! Paths by the table, patterns by the table, and the bounds.

use proptest::prelude::*;

use super::*;

fn template(path: &str) -> String {
    let (route, source) = Routes::new(Vec::new()).route(1, path);
    assert_eq!(source, RouteSource::Template, "{path}");
    route.to_string()
}

#[test]
fn names_stay() {
    for path in [
        "/",
        "/health",
        "/api/v1/items",
        "/api/v2.3/items/",
        "/apis/apps/v1beta1/deployments",
        "/oauth2/token",
        "/s3/buckets",
        "/base64/encode",
        "/hash/sha256",
        "/index.html",
        "/static/app.js",
        "/static/app.min.js",
        "/fonts/icons.woff2",
        "/.well-known/openid-configuration",
        "/users/me/profile",
        "/_search",
        "/getUserByIdAndName",
        "/OAuth2Callback",
        "/items:batchGet",
        "/@babel/core",
        "/$metadata",
        "/en-US/about",
        "/getting-started-guide",
        "/api/graphql",
        "/aspects",
        "/entitiesV2",
        "/robots.txt",
        "/wp-login.php",
        "/decade",
        "/internationalization",
        "/x86_64",
    ] {
        assert_eq!(template(path), path);
    }
}

#[test]
fn values_are_placeholders() {
    for value in [
        "0",
        "42",
        "-5",
        "3.14",
        "2024-01-31",
        "2024-01-31T10:00:00Z",
        "10:30",
        "192.168.0.1",
        "fe80::1",
        "550e8400-e29b-41d4-a716-446655440000",
        "550E8400E29B41D4A716446655440000",
        "deadbeef01",
        "d41d8cd98f00b204e9800998ecf8427e",
        "507f1f77bcf86cd799439011",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "dQw4w9WgXcQ",
        "cus_NffrFeUfNV2Hib",
        "user-17",
        "user_1234",
        "ORD-2024-0001",
        "a@b.example",
        "hello%20world",
        "caf\u{e9}",
        "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N",
        "10-ways-to-cook-an-egg-in-a-hurry",
        "how-to-cook-an-egg-at-home",
        "bot123456:ABC-DEF1234ghIkl",
        "1,2,3",
        "key=secret",
        "xkcdqwrtpsdfg",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ] {
        assert_eq!(template(&format!("/items/{value}/parts")), "/items/{id}/parts", "{value}");
    }
}

#[test]
fn values_with_something_to_keep() {
    for (path, want) in [
        ("/static/main.3f2a1b9c.js", "/static/{id}.js"),
        ("/img/12345.png", "/img/{id}.png"),
        ("/odata/Products(5)", "/odata/Products({id})"),
        ("/entitiesV2/urn%3Ali%3Adataset%3A(urn%3Ali%3AdataPlatform%3Ahive,x,PROD)", "/entitiesV2/{urn}"),
        ("/aspects/urn:li:corpuser:jdoe?aspect=x", "/aspects/{urn}"),
        ("/a;jsessionid=12345/b", "/a/b"),
        ("//a///b", "/a/b"),
        ("/search?q=secret#x", "/search"),
        ("", "/"),
        ("?x=1", "/"),
        ("*", "*"),
        ("http://host:8080/a/5?x", "/a/{id}"),
        ("http://user:secret@host", "/"),
        ("host.example:443", "{authority}"),
    ] {
        assert_eq!(template(path), want, "{path}");
    }
}

#[test]
fn patterns_come_first() {
    let patterns =
        ["/api/items/new", "/api/items/{id}", "/static/*", "/f/{name}.json", "/x/*/y", "/r/{*rest}"];
    let mut routes = Routes::new(patterns.iter().map(|p| p.parse().unwrap()).collect());
    for (path, want) in [
        ("/api/items/new", "/api/items/new"),
        ("/api/items/abc?x=1", "/api/items/{id}"),
        ("/api/items/abc/", "/api/items/{id}"),
        ("http://h/api/items/7", "/api/items/{id}"),
        ("/static", "/static/*"),
        ("/static/a/b/c.js", "/static/*"),
        ("/f/report.json", "/f/{name}.json"),
        ("/x/q/y", "/x/*/y"),
        ("/r/1/2/3", "/r/{*rest}"),
    ] {
        assert_eq!(routes.route(1, path), (want.into(), RouteSource::Pattern), "{path}");
    }
    for path in ["/api/items", "/api/items/a/b", "/f/.json", "/x/y"] {
        assert_eq!(routes.route(1, path).1, RouteSource::Template, "{path}");
    }
}

#[test]
fn wrong_patterns_say_what_is_wrong() {
    for (pattern, want) in [
        ("api", "does not begin with '/'"),
        ("", "does not begin with '/'"),
        ("/a?x=1", "contains '?'"),
        ("/a b", "contains ' '"),
        ("/a/{id", "a brace of \"{id\""),
        ("/a/id}", "a brace of \"id}\""),
        ("/a/{}", "\"\" is no name"),
        ("/a/{i/d}", "a brace of \"{i\""),
        ("/a/{x}{y}", "more than one placeholder"),
        ("/a*/b", "'*' must be a segment"),
        ("/{*rest}/b", "'*' must be a segment"),
    ] {
        let error = pattern.parse::<Pattern>().unwrap_err().to_string();
        assert!(error.contains(want), "{pattern}: {error}");
    }
}

#[test]
fn a_position_takes_so_many_names() {
    let mut routes = Routes::new(Vec::new());
    let letters = |n: u8| [char::from(b'b' + n / 10), 'a', char::from(b'b' + n % 10), 'o'];
    let name = |n: u8| format!("/u/{}", letters(n).iter().collect::<String>());
    for n in 0..MAX_CHILDREN as u8 {
        assert_eq!(routes.route(1, &name(n)), (name(n).into(), RouteSource::Template));
    }
    assert_eq!(routes.route(1, "/u/late"), ("/u/{any}".into(), RouteSource::Overflow));
    assert_eq!(routes.route(1, "/u/late/orders"), ("/u/{any}/orders".into(), RouteSource::Overflow));
    // What was known stays, so do values and other scopes.
    assert_eq!(routes.route(1, &name(3)), (name(3).into(), RouteSource::Template));
    assert_eq!(routes.route(1, "/u/42"), ("/u/{id}".into(), RouteSource::Template));
    assert_eq!(routes.route(2, "/u/late"), ("/u/late".into(), RouteSource::Template));
}

#[test]
fn deep_paths_end_in_any() {
    let deep = "/a".repeat(MAX_DEPTH + 5);
    let (route, source) = Routes::new(Vec::new()).route(1, &deep);
    assert_eq!(
        (&*route, source),
        (format!("{}/{{any}}", "/a".repeat(MAX_DEPTH)).as_str(), RouteSource::Overflow)
    );
}

#[test]
fn memory_is_bounded_against_made_up_paths() {
    let mut routes = Routes::new(Vec::new());
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    for scope in 0..20 {
        for n in 0..3_000 {
            let path: String = (0..6)
                .map(|d| format!("/{}{}", letter(n / 26usize.pow(d % 3)), letter(n + d as usize)))
                .collect();
            routes.route(scope, &path);
        }
    }
    assert!(routes.nodes <= MAX_NODES + 1, "{}", routes.nodes);
    assert!(routes.scopes.values().all(|scope| scope.nodes <= MAX_SCOPE_NODES + 1));
    for scope in 100..200 {
        assert_eq!(routes.route(scope, "/x").1, RouteSource::Overflow);
    }
    assert!(routes.scopes.len() <= 21);
}

proptest! {
    #[test]
    fn any_target_has_a_route_without_its_query(target in "\\PC{0,60}", query in "\\PC{1,20}") {
        let mut routes = Routes::new(Vec::new());
        let (route, _) = routes.route(1, &target);
        prop_assert!(!route.is_empty() && !route.contains(['?', '#', ';']));
        let (again, _) = routes.route(1, &format!("{target}?{query}"));
        prop_assert_eq!(route, again);
    }

    #[test]
    fn numbers_and_uuids_make_no_new_route(a: u64, b: u64, c: u128) {
        let mut routes = Routes::new(Vec::new());
        let uuid = format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", c >> 96, c >> 80 & 0xffff, c >> 64 & 0xffff, c >> 48 & 0xffff, c & 0xffff_ffff_ffff);
        let route = routes.route(1, &format!("/a/{a}")).0;
        prop_assert_eq!(&route, &routes.route(1, &format!("/a/{b}")).0);
        prop_assert_eq!(&*routes.route(1, &format!("/a/{uuid}")).0, "/a/{id}");
    }

    #[test]
    fn parsing_a_pattern_never_panics(pattern in "/[a-z{}*/?]{0,20}") {
        let _ = pattern.parse::<Pattern>();
    }
}
