//! What regorus says about a policy, turned into a place and one plain sentence.
//!
//! regorus draws its errors with a line of the policy and sometimes with the values at hand. Both
//! may be secret (a token in the policy, a header of a request), so neither is passed on.

use mortise_plugin::{Location, Problem};
use regorus::unstable::Span;

/// The name under which the policy's text is known to regorus.
pub(crate) const FILE: &str = "policy";

/// A problem of the policy as a whole.
pub(crate) fn problem(message: impl Into<String>) -> Problem {
    Problem { path: "policy".to_owned(), message: message.into(), location: None }
}

/// A problem at one place of the policy.
pub(crate) fn problem_at(span: &Span, message: impl Into<String>) -> Problem {
    Problem { location: location(span.line, span.col), ..problem(message) }
}

/// The problem that an error of regorus tells of.
pub(crate) fn from_error(error: &anyhow::Error) -> Problem {
    let drawn = error.to_string();
    Problem { location: find_location(&drawn), ..problem(find_message(&drawn)) }
}

/// `line 3, column 7: message`, for logs.
pub(crate) fn sentence(problem: &Problem) -> String {
    match problem.location {
        Some(Location { line, column }) => {
            format!("line {line}, column {column}: {}", problem.message)
        }
        None => problem.message.clone(),
    }
}

fn location(line: u32, column: u32) -> Option<Location> {
    Some(Location { line: line.max(1), column: column.max(1) })
}

/// The first `--> policy:LINE:COLUMN`.
fn find_location(drawn: &str) -> Option<Location> {
    let (_, rest) = drawn.split_once(&format!("--> {FILE}:"))?;
    let mut numbers = rest.lines().next()?.split(':').map(str::parse);
    match (numbers.next()?, numbers.next()?) {
        (Ok(line), Ok(column)) => location(line, column),
        _ => None,
    }
}

/// The first line after the first `error: `, without the values that regorus quotes.
fn find_message(drawn: &str) -> String {
    let message = match drawn.split_once("\nerror: ") {
        Some((_, message)) => message,
        None => drawn,
    };
    let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown error");
    let mut line = line.trim();
    for quoted in [" Got ", " (path ", "function produced multiple outputs "] {
        if let Some(at) = line.find(quoted) {
            let keep = if quoted.starts_with(' ') { at } else { at + quoted.len() };
            line = line[..keep].trim_end();
        }
    }
    line.trim_end_matches(['.', ':']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawings_become_sentences() {
        let drawn = "\n--> policy:3:7\n  |\n3 | secret := \"s3cret\"\n  |       ^\n\
                     error: expecting `{` while parsing rule.";
        let problem = from_error(&anyhow::anyhow!(drawn.to_owned()));
        assert_eq!(sentence(&problem), "line 3, column 7: expecting `{` while parsing rule");
        assert_eq!(problem.path, "policy");
    }

    #[test]
    fn values_are_not_quoted() {
        let drawn = "\n--> policy:1:1\n |\nerror: `add` expects numeric argument. Got `\"s3cret\"`";
        assert_eq!(from_error(&anyhow::anyhow!(drawn)).message, "`add` expects numeric argument");
        let scopes = "error: var x is unsafe (path [\"x\"], scopes [{\"token\": \"s3cret\"}])";
        assert_eq!(from_error(&anyhow::anyhow!(format!("\n{scopes}"))).message, "var x is unsafe");
        assert_eq!(from_error(&anyhow::anyhow!("plain")).message, "plain");
    }
}
