//! What is said of a peer at which connections failed, or of a crowd of them.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::peer::{Peer, listed};
use super::super::{Facts, Rule, Said, evidence};
use super::advice::{advice, meaning};
use super::failures::Failures;
use crate::output::style::units::{self, rate};

/// Peers of a service that have a finding each; more are one finding.
pub(super) const HANDFUL: usize = 8;
/// So many of those are named.
const NAMED: usize = 10;

/// By service: its peers at which something went wrong.
pub(super) type Crowds<'a, 'b> = BTreeMap<&'a str, Vec<(&'b Peer<'a>, Failures)>>;

/// A finding for each, or one for all.
pub(super) fn of<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    crowd: Vec<(&Peer<'a>, Failures)>,
) -> Vec<Said<'a>> {
    if crowd.len() > HANDFUL {
        return Vec::from_iter(said_of_many(rule, facts, crowd));
    }
    let each =
        crowd.into_iter().map(|(peer, all)| with_peer(said(rule, facts, peer, &peer.name(), &all), peer));
    each.collect()
}

/// Why each, or all of them, cannot be judged.
pub(super) fn too_little(crowd: &[(&Peer<'_>, Failures)], least: f64) -> Vec<String> {
    let reason = |all: &Failures, whom: &str| format!("{} at {whom}; it takes {least} to judge", all.few());
    if crowd.len() > HANDFUL {
        return vec![reason(&Failures::sum(crowd), &peers_of(crowd)) + " at one"];
    }
    crowd.iter().map(|(peer, all)| reason(all, &peer.name())).collect()
}

/// `10,000 peers`.
fn peers_of<T>(crowd: &[T]) -> String {
    units::things(crowd.len() as u64, "peer", "peers")
}

/// So many that they are one finding, with the worst by name.
fn said_of_many<'a>(
    rule: &'a dyn Rule,
    facts: &Facts<'a>,
    mut crowd: Vec<(&Peer<'a>, Failures)>,
) -> Option<Said<'a>> {
    crowd.sort_by_key(|(_, all)| std::cmp::Reverse(all.failed + all.cut()));
    let sum = Failures::sum(&crowd);
    let (worst, _) = crowd.first()?;
    let mut said = said(rule, facts, worst, &peers_of(&crowd), &sum);
    let named = crowd.iter().take(NAMED);
    let list: Vec<_> = named
        .clone()
        .map(|(peer, all)| format!("{} {}x", peer.name(), units::count(all.failed + all.cut())))
        .collect();
    let others = crowd.len() - list.len();
    said.detail.push_str(&format!(" Most at {}", list.join(", ")));
    if others > 0 {
        said.detail.push_str(&format!(" and {}", units::things(others as u64, "other", "others")));
    }
    said.detail.push('.');
    let worst: Vec<_> = named
        .map(|(peer, all)| json!({ "peer": peer.address, "failed": all.failed, "cut": all.cut() }))
        .collect();
    said.evidence.insert("peers".into(), json!(crowd.len()));
    said.evidence.insert("worst".into(), json!(worst));
    said.subject = "peers".into();
    Some(said)
}

/// About one peer.
fn with_peer<'a>(mut said: Said<'a>, peer: &Peer<'a>) -> Said<'a> {
    said.evidence.insert("peer".into(), json!(peer.address));
    said.evidence.extend(peer.looked_up().map(|name| ("peer_name".to_owned(), json!(name))));
    said
}

/// What happened at a peer, or at all that are called `whom`.
fn said<'a>(rule: &'a dyn Rule, facts: &Facts<'a>, peer: &Peer<'a>, whom: &str, all: &Failures) -> Said<'a> {
    let (name, window) = (facts.name(peer.service), facts.window.seconds);
    let title = if all.failed >= all.cut() {
        format!(
            "{name}: {} of {} connects to {} failed: {}",
            units::count(all.failed),
            units::count(all.attempted),
            whom,
            meaning(all.most())
        )
    } else if all.hung_up > all.resets + all.timeouts {
        let requests = units::things(all.hung_up, "request", "requests");
        format!("{name}: {} hung up in the middle of {requests}", whom)
    } else {
        format!("{name}: {} in the middle of an exchange, with {}", all.cuts(), whom)
    };
    let mut sentences = Vec::new();
    if all.failed > 0 {
        sentences.push(format!("Connects: {}; {}.", listed(&all.connects), rate(all.failed, window)));
    }
    if all.cut() > 0 {
        sentences.push(format!(
            "Of {}, {} in the middle of an exchange; {}.",
            units::things(all.connections, "connection", "connections"),
            all.cuts(),
            rate(all.cut(), window)
        ));
    }
    let mut evidence = evidence([
        ("failed", json!(all.connects)),
        ("attempted", json!(all.attempted)),
        ("failures_per_second", json!((all.failed + all.cut()) as f64 / window)),
        ("resets", json!(all.resets)),
        ("timeouts", json!(all.timeouts)),
        ("hung_up", json!(all.hung_up)),
        ("cut", json!(all.cut())),
        ("connections", json!(all.connections)),
    ]);
    if all.attempted > 0 {
        evidence.insert("failed_share".into(), json!(all.failed as f64 / all.attempted as f64));
    }
    Said {
        title,
        detail: sentences.join(" "),
        evidence,
        advice: advice(all.worst(), peer),
        count: all.failed + all.cut(),
        ..Said::of(rule, facts, peer.service, peer.address)
    }
}
