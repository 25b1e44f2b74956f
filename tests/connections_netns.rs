//! Two network namespaces with the same addresses in both: what is in one is never taken for what is in the other.

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{ClientCase, Netns, Recording, Report};
use serde_json::{Value, json};

const HOST: &str = "10.77.0.1";
const PORT: u16 = 8080;

/// A namespace with a server in it and clients, some of whose connections were there before.
struct Place {
    netns: Netns,
    server: ClientCase,
    before: ClientCase,
    /// How many were open before, how many are opened, and how many requests each carries.
    sizes: [u64; 3],
}

fn settings(count: u64, each: u64) -> Value {
    json!({ "host": HOST, "port": PORT, "count": count, "each": each })
}

impl Place {
    /// A namespace with processes of its own, or with more of those of another place's services.
    fn make(sizes: [u64; 3], like: Option<&Self>) -> Result<Self> {
        let netns = Netns::make(&[&format!("{HOST}/24")])?;
        let start = |case: &str, called: &str, like: Option<&ClientCase>, settings: &Value| match like {
            Some(like) => like.another(&netns, case, settings),
            None => ClientCase::start_in(Some(&netns), case, called, settings),
        };
        let here = settings(sizes[0], sizes[2]);
        let mut server = start("serve", "namespaced_server", like.map(|place| &place.server), &here)?;
        server.at("listening")?;
        let like = like.map(|place| &place.before);
        let mut before = start("conversations", "namespaced_clients", like, &here)?;
        before.at("opened")?;
        Ok(Self { netns, server, before, sizes })
    }

    /// Opens the new connections and uses them and the old ones; leaves them open.
    fn use_all(&mut self) -> Result<ClientCase> {
        let [_, opened, each] = self.sizes;
        let mut new = self.before.another(&self.netns, "conversations", &settings(opened, each))?;
        new.pass("opened")?;
        new.at("used")?;
        self.before.pass("opened")?;
        self.before.at("used")?;
        Ok(new)
    }
}

fn row<'a>(report: &'a Report, role: &str, peer: &str, place: &Place, pid: u32) -> Result<&'a Value> {
    let inode = place.netns.inode()?;
    report
        .rows("connections")
        .of(&[pid])
        .role(role)
        .with("peer", peer)
        .with("netns", inode)
        .only()
        .with_context(|| format!("the {role}'s in namespace {inode}"))
}

#[test]
fn the_same_address_in_two_namespaces_is_two() -> Result<()> {
    let first = Place::make([2, 7, 3], None)?;
    let second = Place::make([4, 5, 6], Some(&first))?;
    let mut places = [first, second];
    ensure!(places[0].netns.inode()? != places[1].netns.inode()?, "one namespace");
    let recording = Recording::start(&[])?;
    let mut new = Vec::new();
    for place in &mut places {
        new.push(place.use_all()?);
    }
    // In the second one they are closed.
    let last = new.pop().context("no clients")?;
    last.go_on("used")?;
    let mut last = last;
    last.pass("closed")?;
    let last_pid = last.pid();
    last.finish()?;
    let report = recording.finish()?;
    ensure!(report.lost().is_empty(), "lost: {:?}", report.lost());

    let address = format!("{HOST}:{PORT}");
    for (place, (pid, closed)) in places.iter().zip([(new[0].pid(), 0), (last_pid, places[1].sizes[1])]) {
        let [before, opened, each] = place.sizes;
        // Both services' processes are in both namespaces: their rows are told apart by the namespace alone.
        let client = row(&report, "client", &address, place, pid)?;
        let server = row(&report, "server", HOST, place, place.server.pid())?;
        for row in [client, server] {
            for (field, expected) in [
                ("preexisting", before),
                ("established", opened),
                ("closed", closed),
                ("live", before + opened - closed),
                ("peak", before + opened),
                ("exchanges", (before + opened) * each),
            ] {
                ensure!(row[field] == expected, "{field} is not {expected}: {row:#}");
            }
        }
        let listeners =
            report.rows("listeners").of(&[place.server.pid()]).with("netns", place.netns.inode()?);
        let listener = listeners.with("address", address.clone()).only()?;
        ensure!(listener["requests"] == (before + opened) * each, "{listener:#}");
    }
    let both = report.rows("connections").of(&[new[0].pid(), places[0].server.pid()]);
    ensure!(both.iter().count() == 4, "other rows: {both:#?}");
    new.into_iter().try_for_each(ClientCase::stop)?;
    // The first place's come last: the scripts are theirs.
    for place in places.into_iter().rev() {
        place.before.stop()?;
        place.server.stop()?;
    }
    Ok(())
}
