//! What handshakes cost a service's requests: the time spent to open connections to each peer, as a share of the time that
//! its HTTP requests took. Pure.

use rustc_hash::FxHashMap;

use crate::report::{ConnectionRow, Distribution, HttpRow, Role};

/// Gives the rows of clients their share, where the service has served HTTP requests.
pub fn shares(rows: &mut [ConnectionRow], http: &[HttpRow]) {
    let sum = |d: Option<Distribution>| d.map_or(0.0, |d| d.sum);
    let mut served: FxHashMap<&str, f64> = FxHashMap::default();
    for row in http.iter().filter(|row| row.role == Role::Server) {
        *served.entry(&row.service).or_default() += sum(row.duration);
    }
    for row in rows.iter_mut().filter(|row| row.role == Role::Client) {
        let took = served.get(row.service.as_str()).copied().filter(|took| *took > 0.0);
        let cost = sum(row.connect) + sum(row.handshake);
        row.handshake_share = took.filter(|_| cost > 0.0).map(|took| cost / took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::text::sample::{distribution, http_row};

    #[test]
    fn the_share_of_what_requests_took() {
        let mut served = http_row("GET", "/", Some(200), 10, 0.4);
        (served.role, served.service) = (Role::Server, "shop".into());
        served.duration = Some(Distribution { sum: 4.0, ..distribution(10, 0.4) });
        let cost = |sum: f64| Some(Distribution { sum, ..distribution(10, 0.01) });
        let row = |service: &str, role| ConnectionRow {
            service: service.into(),
            role,
            connect: cost(0.2),
            handshake: cost(0.8),
            ..ConnectionRow::default()
        };
        let idle = ConnectionRow { connect: None, handshake: None, ..row("shop", Role::Client) };
        let mut rows =
            [row("shop", Role::Client), row("shop", Role::Server), row("cron", Role::Client), idle];
        shares(&mut rows, &[served]);
        assert_eq!(rows.map(|row| row.handshake_share), [Some(0.25), None, None, None]);
    }
}
