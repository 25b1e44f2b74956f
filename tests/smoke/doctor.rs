//! What `hostprof doctor` says here, and what `record` says where it cannot run.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::hostprof::binary;
use serde_json::Value;

use crate::{
    fact::{Fact, Facts},
    kernel::{Kernel, WAYS},
};

/// How the checks of hooks begin; the rest is the hook's name.
const HOOK: &str = "hook-";

/// Its answer.
#[derive(Debug)]
pub(crate) struct Doctor {
    findings: Value,
    success: bool,
}

impl Doctor {
    pub(crate) fn ask() -> Result<Self> {
        let output = run(&["doctor", "--format", "json"])?;
        let findings = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("doctor printed no JSON: {}", String::from_utf8_lossy(&output.stderr).trim_end())
        })?;
        Ok(Self { findings, success: output.status.success() })
    }

    /// Ids and results of the checks, in order.
    fn checks(&self) -> impl Iterator<Item = (&str, bool, &Value)> {
        let checks = self.findings["checks"].as_array().into_iter().flatten();
        checks.filter_map(|check| Some((check["id"].as_str()?, check["ok"].as_bool()?, check)))
    }

    /// The ways to see sockets that work here.
    pub(crate) fn socket_hooks(&self) -> Vec<String> {
        let works = |way: &str| self.checks().any(|(id, ok, _)| ok && id.strip_prefix(HOOK) == Some(way));
        WAYS.into_iter().filter(|way| works(way)).map(str::to_owned).collect()
    }

    pub(crate) fn judge(&self, kernel: &Kernel, facts: &mut Facts) {
        let can = self.findings["can_record"] == true;
        let reasons: Vec<_> = self
            .checks()
            .filter(|(_, ok, _)| !ok)
            .map(|(id, _, check)| format!("{id}: {}", check["reason"]))
            .collect();
        let reasons = reasons.join(", ");
        facts.say(Fact::is(
            "doctor",
            "can record",
            can && self.success,
            kernel.socket_hooks().is_some(),
            reasons,
        ));
        for (id, ok, check) in self.checks() {
            let Some(hook) = id.strip_prefix(HOOK) else { continue };
            let detail = check["reason"].as_str().unwrap_or("it is there");
            facts.say(Fact::is("doctor", hook, ok, kernel.gives(hook), detail));
        }
    }
}

/// Where nothing can be recorded, `record` says so in one line that names the reason, and fails.
pub(crate) fn refusal(facts: &mut Facts) -> Result<()> {
    let output = run(&["record", "-d", "1s"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
    let names_it = output.status.code() == Some(1) && lines.len() == 1 && said.contains("confidentiality");
    facts.say(Fact::is(
        "lockdown",
        "refused in one line",
        names_it,
        true,
        format!("{}: {}", output.status, lines.join(" / ")),
    ));
    Ok(())
}

fn run(arguments: &[&str]) -> Result<Output> {
    let mut hostprof = Command::new(binary()?);
    hostprof.args(arguments).env("NO_COLOR", "1");
    let output = hostprof.output().with_context(|| format!("failed to run {hostprof:?}"))?;
    ensure!(output.status.code().is_some(), "{hostprof:?} was killed: {}", output.status);
    Ok(output)
}
