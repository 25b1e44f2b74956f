//! Names for paths: the target of a request goes in, a route comes out, of which there are only so many.
//!
//! A route is, in this order: the first of the user's patterns that matches, or our template of the path, in which
//! `{id}` stands for a segment that is a value (a number, a UUID, a token, ...), `{urn}` for a URN, `{any}` for what
//! exceeds the bounds, `{authority}` for the target of a CONNECT. The templates of a scope grow as a tree: a position
//! takes at most [`MAX_CHILDREN`] different names, a scope and all scopes together take a fixed number of nodes, so a
//! client that makes up paths cannot grow memory (law 9). Query strings and fragments never come in (law 10).

mod pattern;
mod segment;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::report::RouteSource;
pub use pattern::{Pattern, PatternError};
use segment::Kind;

/// Different names that one position of a scope takes; the next one is `{any}`.
pub const MAX_CHILDREN: usize = 50;
/// Segments of a path that are looked at; what is deeper is one `{any}`.
pub const MAX_DEPTH: usize = 16;
/// Nodes of one scope's tree, so that one service cannot use up the room of the others.
const MAX_SCOPE_NODES: usize = 2_000;
/// Nodes of all trees: some 200 bytes each, and at worst [`MAX_DEPTH`] names of 48 bytes for its route.
const MAX_NODES: usize = 20_000;

/// What the rest of a path is called where a bound was reached.
const ANY: &str = "{any}";

/// Finds routes, and remembers which ones there are.
#[derive(Debug)]
pub struct Routes {
    patterns: Vec<Pattern>,
    scopes: FxHashMap<u64, Scope>,
    nodes: usize,
    fixed: Fixed,
}

/// Routes that are no paths.
#[derive(Debug)]
struct Fixed {
    any: Arc<str>,
    authority: Arc<str>,
    asterisk: Arc<str>,
}

#[derive(Debug, Default)]
struct Scope {
    root: Node,
    nodes: usize,
}

#[derive(Debug, Default)]
struct Node {
    /// By name or placeholder; `{any}` is one of them.
    children: FxHashMap<Box<str>, Node>,
    /// How many of the children are names.
    names: usize,
    /// The route that ends here, made when it is first needed.
    route: Option<Arc<str>>,
}

impl Routes {
    /// Routes with the user's patterns, the first match wins.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        let fixed =
            Fixed { any: Arc::from("/{any}"), authority: Arc::from("{authority}"), asterisk: Arc::from("*") };
        Self { patterns, scopes: FxHashMap::default(), nodes: 0, fixed }
    }

    /// The route of a request's target in any of its forms (RFC 9112, 3.2), and where its name comes from.
    /// `scope` is whatever has paths of its own, such as a service.
    pub fn route(&mut self, scope: u64, target: &str) -> (Arc<str>, RouteSource) {
        let path = match form(target) {
            Form::Path(path) => path,
            Form::Authority => return (self.fixed.authority.clone(), RouteSource::Template),
            Form::Asterisk => return (self.fixed.asterisk.clone(), RouteSource::Template),
        };
        if let Some(pattern) = self.patterns.iter().find(|pattern| pattern.matches(path)) {
            return (pattern.name(), RouteSource::Pattern);
        }
        self.template(scope, path)
    }

    fn template(&mut self, scope: u64, path: &str) -> (Arc<str>, RouteSource) {
        if !self.scopes.contains_key(&scope) && self.nodes >= MAX_NODES {
            return (self.fixed.any.clone(), RouteSource::Overflow);
        }
        let nodes = &mut self.nodes;
        let Scope { root, nodes: scope_nodes } = self.scopes.entry(scope).or_insert_with(|| {
            *nodes += 1;
            Scope::default()
        });
        let mut node = root;
        let mut overflow = false;
        let mut route = String::new();
        for (depth, segment) in segments(path).enumerate() {
            let kind = if depth < MAX_DEPTH { segment::classify(segment) } else { Kind::Value(ANY.into()) };
            let (name, is_name) = match &kind {
                Kind::Name(name) => (*name, true),
                // With a part of its own (`Products({id})`) it is as new as a name.
                Kind::Value(placeholder) => (placeholder.as_ref(), matches!(placeholder, Cow::Owned(_))),
            };
            // Past a bound there is one child for everything; the path ends there when even that has no room.
            let full = *nodes >= MAX_NODES || *scope_nodes >= MAX_SCOPE_NODES;
            let known = node.children.contains_key(name);
            let name = if known || !(full || is_name && node.names >= MAX_CHILDREN) { name } else { ANY };
            overflow |= name == ANY;
            route.push('/');
            route.push_str(name);
            if !node.children.contains_key(name) {
                if full {
                    // Not remembered, and so not told apart from others that end here.
                    return (self.fixed.any.clone(), RouteSource::Overflow);
                }
                *nodes += 1;
                *scope_nodes += 1;
                node.names += usize::from(is_name && name != ANY);
            }
            node = node.children.entry(name.into()).or_default();
            if depth >= MAX_DEPTH {
                break;
            }
        }
        if route.is_empty() {
            route.push('/');
        } else if path.ends_with('/') && !overflow {
            route.push('/');
            // `/a/` may be another resource than `/a`: a nameless child, as bounded as its parent.
            *nodes += usize::from(!node.children.contains_key(""));
            node = node.children.entry("".into()).or_default();
        }
        let route = node.route.get_or_insert_with(|| route.into()).clone();
        (route, if overflow { RouteSource::Overflow } else { RouteSource::Template })
    }
}

enum Form<'t> {
    Path(&'t str),
    Authority,
    Asterisk,
}

/// Tells the forms of a target apart and leaves only the path, without query and fragment.
fn form(target: &str) -> Form<'_> {
    let target = &target[..target.find(['?', '#']).unwrap_or(target.len())];
    if target.starts_with('/') || target.is_empty() {
        return Form::Path(target);
    }
    if target == "*" {
        return Form::Asterisk;
    }
    match target.split_once("://") {
        Some((_, rest)) => Form::Path(rest.find('/').map_or("", |at| &rest[at..])),
        // Not a path, so either the authority of a CONNECT or nothing that HTTP knows.
        None => Form::Authority,
    }
}

/// The segments with something in them, without matrix parameters, which may be session identifiers.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default())
        .filter(|segment| !segment.is_empty())
}
