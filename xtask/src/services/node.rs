//! npm packages for the Node clients, found by `NODE_PATH=target/services/node/node_modules`.

use std::process::Command;

use anyhow::Result;

use super::place::Place;
use crate::command::output;

const PACKAGES: &[&str] = &["mysql2@3.24.5"];

pub(super) fn install(place: &Place) -> Result<()> {
    place.step("node", &PACKAGES.join(" "), |dir| {
        let options = ["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
        output(Command::new("npm").args(options).arg(dir).args(PACKAGES))?;
        Ok(())
    })?;
    Ok(())
}
