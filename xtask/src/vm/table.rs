//! What became of guests, in words: one sentence for each as it ends, one table of all.

use std::fmt::Write as _;

use super::{
    Row,
    guest::{End, Ended},
};

/// How one guest ended.
pub(super) fn sentence(ended: &Ended) -> String {
    let Ended { end, booted, took, .. } = ended;
    let mut text = match end {
        End::Exited(status) => format!("the command ended with status {status}"),
        End::Died(words) => {
            format!("the guest ended before its command. Its last words:\n{words}vm: it ended")
        }
        End::TimedOut => "given up".to_owned(),
        End::Interrupted(signal) => format!("ended by signal {signal}"),
    };
    let _ = write!(text, " after {:.1} s", took.as_secs_f64());
    if let Some(booted) = booted {
        let _ = write!(text, ", {:.1} s of it the boot", booted.as_secs_f64());
    }
    text
}

/// All of them.
pub(super) fn results(rows: &[Row]) -> String {
    let mut text = format!("{:<8} {:<16} {:>7} {:>7}  RESULT\n", "KERNEL", "LOCKDOWN", "BOOT s", "ALL s");
    for Row { setup, release, ended } in rows {
        let result = match &ended.end {
            End::Exited(0) => "passed".to_owned(),
            End::Exited(status) => format!("FAILED: status {status}"),
            End::Died(_) => "FAILED: the guest died".to_owned(),
            End::TimedOut => "FAILED: timeout".to_owned(),
            End::Interrupted(_) => "interrupted".to_owned(),
        };
        let booted = ended.booted.map_or_else(|| "-".to_owned(), |time| format!("{:.1}", time.as_secs_f64()));
        let (series, lockdown, all) = (setup.series, setup.lockdown.name(), ended.took.as_secs_f64());
        let _ = writeln!(text, "{series:<8} {lockdown:<16} {booted:>7} {all:>7.1}  {result} ({release})");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{Setup, machine::Lockdown},
        *,
    };

    fn row(series: &str, end: End) -> Row {
        let booted = (end == End::Exited(0)).then(|| Duration::from_millis(5_120));
        Row {
            setup: Setup { series: series.parse().unwrap(), lockdown: Lockdown::Integrity },
            release: format!("{series}.9-cloud-amd64"),
            ended: Ended { end, booted, took: Duration::from_secs(75), output: Vec::new() },
        }
    }

    #[test]
    fn every_guest_has_a_line_with_its_times_and_its_end() {
        let rows = [row("5.10", End::Exited(0)), row("6.1", End::Exited(3)), row("7.2", End::TimedOut)];
        let expected = "KERNEL   LOCKDOWN          BOOT s   ALL s  RESULT\n\
                        5.10     integrity            5.1    75.0  passed (5.10.9-cloud-amd64)\n\
                        6.1      integrity              -    75.0  FAILED: status 3 (6.1.9-cloud-amd64)\n\
                        7.2      integrity              -    75.0  FAILED: timeout (7.2.9-cloud-amd64)\n";
        assert_eq!(results(&rows), expected);
    }

    #[test]
    fn a_guest_that_died_is_quoted() {
        let died = row("6.1", End::Died("Kernel panic\n".to_owned()));
        assert!(sentence(&died.ended).contains("Its last words:\nKernel panic\n"));
        assert_eq!(
            sentence(&row("6.1", End::Exited(0)).ended),
            "the command ended with status 0 after 75.0 s, 5.1 s of it the boot"
        );
    }
}
