//! Keeps the secrets of a run out of what people read: logs and errors.
//!
//! A function may log its whole event, tokens and keyrings included, and many do. Results are left
//! alone: they are the function's answer to its caller.

use crate::functions::outcome::{Failure, Outcome, RunReport};

const MASK: &str = "[secret]";
/// Shorter texts occur by chance and tell nothing when they are masked.
const SHORTEST: usize = 6;

pub(super) struct Redactor<'a> {
    secrets: &'a [String],
}

/// Masks secrets that became known only while the run was on.
pub fn mask(report: RunReport, secrets: &[String]) -> RunReport {
    if secrets.is_empty() {
        return report;
    }
    let redactor = Redactor::new(secrets);
    let RunReport { outcome, mut logs, duration } = report;
    for line in &mut logs {
        redactor.text(&mut line.message);
    }
    RunReport { outcome: redactor.outcome(outcome), logs, duration }
}

impl Redactor<'_> {
    pub(super) fn new(secrets: &[String]) -> Redactor<'_> {
        Redactor { secrets }
    }

    pub(super) fn text(&self, text: &mut String) {
        for secret in self.secrets.iter().filter(|it| it.len() >= SHORTEST) {
            if text.contains(secret.as_str()) {
                *text = text.replace(secret.as_str(), MASK);
            }
        }
    }

    pub(super) fn outcome(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Failed(mut failure) => {
                let Failure { name, message, stack, kind: _, retry: _, refresh: _ } = &mut failure;
                for text in [Some(name), Some(message), stack.as_mut()].into_iter().flatten() {
                    self.text(text);
                }
                Outcome::Failed(failure)
            }
            Outcome::Succeeded { result } => Outcome::Succeeded { result },
            Outcome::Interrupted { reason } => Outcome::Interrupted { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::outcome::FailureKind;

    #[test]
    fn secrets_are_masked_wherever_people_read() {
        let secrets = ["tok-123456".to_owned(), "ab".to_owned()];
        let redactor = Redactor::new(&secrets);
        let mut failure = Failure::new(FailureKind::Thrown, "401 for tok-123456, about ab");
        failure.stack = Some("at tok-123456".to_owned());
        let Outcome::Failed(failure) = redactor.outcome(Outcome::Failed(failure)) else {
            panic!("it stays a failure");
        };
        assert_eq!(failure.message, "401 for [secret], about ab");
        assert_eq!(failure.stack.as_deref(), Some("at [secret]"));
    }
}
