//! The names in a parsed policy: what a rule, an import or a reference is called.
//!
//! Works for references of any length without recursion. Knows nothing of what the names stand for.

use regorus::unstable::{Expr, Import, Ref, Rule, RuleHead, Span};

/// Longest path that is taken for one name.
const MAX_PARTS: usize = 64;

/// What a rule defines.
pub(crate) struct Head<'m> {
    /// The first part of its name.
    pub(crate) name: &'m str,
    /// It takes operands.
    pub(crate) function: bool,
    /// The head is the name alone, not a path such as `a.b`.
    pub(crate) plain: bool,
}

impl<'m> Head<'m> {
    /// The head of `rule`.
    pub(crate) fn of(rule: &'m Ref<Rule>) -> Option<Head<'m>> {
        let (refr, function) = match &**rule {
            Rule::Spec { head: RuleHead::Compr { refr, .. }, .. } => (refr, false),
            Rule::Spec { head: RuleHead::Set { refr, .. }, .. } => (refr, false),
            Rule::Spec { head: RuleHead::Func { refr, .. }, .. } => (refr, true),
            Rule::Default { refr, args, .. } => (refr, !args.is_empty()),
        };
        let plain = !matches!(&**refr, Expr::RefDot { .. });
        Some(Head { name: root(refr)?, function, plain })
    }
}

/// The name under which an import is known.
pub(crate) fn alias(import: &Import) -> Option<&str> {
    match (&import.r#as, &*import.refr) {
        (Some(alias), _) => Some(alias.text()),
        (None, Expr::RefDot { field: (field, _), .. }) => Some(field.text()),
        _ => None,
    }
}

/// `a.b.c` for a plain reference of a sensible length.
pub(crate) fn path(expr: &Ref<Expr>) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut expr = expr;
    while parts.len() < MAX_PARTS {
        match &**expr {
            Expr::Var { span, .. } => {
                parts.push(span.text().to_owned());
                parts.reverse();
                return Some(parts.join("."));
            }
            Expr::RefDot { refr, field: (field, _), .. } => {
                parts.push(field.text().to_owned());
                expr = refr;
            }
            Expr::RefBrack { refr, index, .. } => match &**index {
                Expr::String { value, .. } | Expr::RawString { value, .. } => {
                    parts.push(value.as_string().ok()?.to_string());
                    expr = refr;
                }
                _ => return None,
            },
            _ => return None,
        }
    }
    None
}

/// Where a reference starts; its own span is that of its last dot.
pub(crate) fn start(expr: &Ref<Expr>) -> &Span {
    let mut expr = expr;
    while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = &**expr {
        expr = refr;
    }
    expr.span()
}

/// The name that a reference starts with; for `data.rego.x` that is `x`.
pub(crate) fn root(expr: &Ref<Expr>) -> Option<&str> {
    let mut expr = expr;
    let mut last_fields = ["", ""];
    loop {
        match &**expr {
            Expr::Var { span, .. } if span.text() == "data" && last_fields[0] == "rego" => {
                return Some(last_fields[1]);
            }
            Expr::Var { span, .. } => return Some(span.text()),
            Expr::RefDot { refr, field: (field, _), .. } => {
                last_fields = [field.text(), last_fields[0]];
                expr = refr;
            }
            Expr::RefBrack { refr, .. } => {
                last_fields = ["", last_fields[0]];
                expr = refr;
            }
            _ => return None,
        }
    }
}
