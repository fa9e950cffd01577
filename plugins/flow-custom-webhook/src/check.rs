//! What a policy must be before it is run: package `rego`, a rule `output`, only functions that
//! are offered, and no way to exhaust the stack.
//!
//! regorus looks functions up when they are called and evaluates by recursion on the caller's
//! stack, which nothing can catch when it overflows. So a policy is read here in full: unknown
//! functions are refused with their place, and so are functions that call themselves (as OPA does)
//! and rules that build on one another too deeply. Names are taken at face value: a variable with
//! the name of a rule counts as a use of it, which can only make the depth look greater.

use std::collections::{BTreeMap, BTreeSet};

use mortise_plugin::Problem;
use regorus::unstable::{BUILTINS as STOCK, Expr, Literal, Module, Query, Ref, Rule, RuleHead, Span};

use crate::builtins;
use crate::diagnose::{problem, problem_at};

/// How deep the expressions of one rule may be nested; a chain of operators counts each.
const MAX_NESTING: usize = 64;

/// How deep rules and functions may build on one another, counted in levels of expressions.
const MAX_DEPTH: usize = 256;

/// Builtins of regorus that are not offered, and why.
const WITHHELD: &[(&str, &str)] =
    &[("graph.reachable_paths", "its work grows exponentially with the graph")];

/// Every problem of a policy that regorus has parsed.
pub(crate) fn check(module: &Module) -> Vec<Problem> {
    let mut problems = Vec::new();
    let package = path(&module.package.refr);
    if package.as_deref() != Some("rego") {
        problems.push(problem_at(
            &module.package.span,
            format!(
                "the package must be `rego`, not `{}`",
                package.as_deref().unwrap_or(module.package.refr.span().text())
            ),
        ));
    }
    let rules: Vec<(&Rule, Head)> =
        module.policy.iter().filter_map(|rule| Some((&**rule, Head::of(rule)?))).collect();
    let heads = || rules.iter().map(|(_, head)| head);
    if !heads().any(|head| head.name == "output" && !head.function) {
        problems.push(problem("the policy has no rule `output`, which must give the result"));
    }

    let mut reader = Reader {
        functions: heads().filter(|head| head.function).map(|head| head.name).collect(),
        rules: heads().map(|head| head.name).collect(),
        graph: BTreeMap::new(),
        current: "",
        problems,
    };
    for (rule, head) in &rules {
        reader.current = head.name;
        reader.rule(rule);
    }
    let Reader { graph, mut problems, .. } = reader;
    problems.extend(recursion(&graph));
    if problems.is_empty() {
        problems.extend(depth(&graph));
    }
    problems
}

/// The name that a rule defines, and where.
struct Head<'m> {
    name: &'m str,
    function: bool,
}

impl<'m> Head<'m> {
    fn of(rule: &'m Ref<Rule>) -> Option<Head<'m>> {
        let (refr, function) = match &**rule {
            Rule::Spec { head: RuleHead::Compr { refr, .. }, .. } => (refr, false),
            Rule::Spec { head: RuleHead::Set { refr, .. }, .. } => (refr, false),
            Rule::Spec { head: RuleHead::Func { refr, .. }, .. } => (refr, true),
            Rule::Default { refr, args, .. } => (refr, !args.is_empty()),
        };
        Some(Head { name: root(refr)?, function })
    }
}

/// What is known about one rule or function.
#[derive(Default)]
struct Node<'m> {
    nesting: usize,
    uses: BTreeSet<&'m str>,
    calls: BTreeMap<&'m str, &'m Span>,
}

struct Reader<'m> {
    functions: BTreeSet<&'m str>,
    rules: BTreeSet<&'m str>,
    graph: BTreeMap<&'m str, Node<'m>>,
    current: &'m str,
    problems: Vec<Problem>,
}

impl<'m> Reader<'m> {
    fn node(&mut self) -> &mut Node<'m> {
        self.graph.entry(self.current).or_default()
    }

    fn rule(&mut self, rule: &'m Rule) {
        self.node();
        match rule {
            Rule::Spec { head, bodies, .. } => {
                match head {
                    RuleHead::Compr { refr, assign, .. } => {
                        self.head(refr);
                        self.all(assign.iter().map(|assign| &assign.value), 1);
                    }
                    RuleHead::Set { refr, key, .. } => {
                        self.head(refr);
                        self.all(key, 1);
                    }
                    RuleHead::Func { refr, args, assign, .. } => {
                        self.head(refr);
                        self.all(args, 1);
                        self.all(assign.iter().map(|assign| &assign.value), 1);
                    }
                }
                if let RuleHead::Compr { span, assign: None, .. }
                | RuleHead::Func { span, assign: None, .. } = head
                    && bodies.is_empty()
                {
                    let message = "this rule has neither a value nor a body";
                    self.problems.push(problem_at(span, message));
                }
                for body in bodies {
                    self.all(body.assign.iter().map(|assign| &assign.value), 1);
                    self.query(&body.query, 1);
                }
            }
            Rule::Default { args, value, .. } => {
                self.all(args, 1);
                self.expr(value, 1);
            }
        }
    }

    /// The keys of a head such as `output[key]`; its root is the rule itself.
    fn head(&mut self, refr: &'m Ref<Expr>) {
        let mut expr = refr;
        loop {
            match &**expr {
                Expr::RefDot { refr, .. } => expr = refr,
                Expr::RefBrack { refr, index, .. } => {
                    self.expr(index, 1);
                    expr = refr;
                }
                _ => return,
            }
        }
    }

    fn query(&mut self, query: &'m Query, depth: usize) {
        for statement in &query.stmts {
            match &statement.literal {
                Literal::SomeVars { .. } => {}
                Literal::SomeIn { key, value, collection, .. } => {
                    self.all(key, depth);
                    self.all([value, collection], depth);
                }
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => {
                    self.expr(expr, depth);
                }
                Literal::Every { domain, query, .. } => {
                    self.expr(domain, depth);
                    self.query(query, depth + 1);
                }
            }
            for with in &statement.with_mods {
                // A function put in the place of another may be called from anywhere below.
                if let Some(name) = root(&with.r#as)
                    && self.functions.contains(name)
                {
                    self.node().calls.insert(name, &with.span);
                }
                self.all([&with.refr, &with.r#as], depth);
            }
        }
    }

    fn all(&mut self, exprs: impl IntoIterator<Item = &'m Ref<Expr>>, depth: usize) {
        for expr in exprs {
            self.expr(expr, depth);
        }
    }

    fn expr(&mut self, expr: &'m Ref<Expr>, depth: usize) {
        let node = self.node();
        if node.nesting > MAX_NESTING {
            return;
        }
        node.nesting = node.nesting.max(depth);
        if depth > MAX_NESTING {
            self.problems.push(problem_at(
                expr.span(),
                "this is nested too deeply: at most 64 levels or operators in a row are allowed",
            ));
            return;
        }
        let depth = depth + 1;
        match &**expr {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => {}
            Expr::Var { span, .. } => self.uses(span.text()),
            Expr::Array { items, .. } | Expr::Set { items, .. } => self.all(items, depth),
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.all([key, value], depth);
                }
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.expr(term, depth);
                self.query(query, depth);
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                self.all([key, value], depth);
                self.query(query, depth);
            }
            Expr::Call { span, fcn, params, .. } => {
                self.call(span, fcn, params.len());
                self.all(params, depth);
            }
            Expr::UnaryExpr { expr, .. } => self.expr(expr, depth),
            Expr::RefDot { refr, field: (field, _), .. } => {
                if path(refr).as_deref() == Some("data.rego") {
                    self.uses(field.text());
                }
                self.expr(refr, depth);
            }
            Expr::RefBrack { refr, index, .. } => self.all([refr, index], depth),
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. }
            | Expr::AssignExpr { lhs, rhs, .. } => self.all([lhs, rhs], depth),
            Expr::Membership { key, value, collection, .. } => {
                self.all(key, depth);
                self.all([value, collection], depth);
            }
        }
    }

    fn uses(&mut self, name: &'m str) {
        if let Some(name) = self.rules.get(name).copied() {
            self.node().uses.insert(name);
        }
    }

    fn call(&mut self, span: &'m Span, function: &'m Ref<Expr>, operands: usize) {
        let Some(path) = path(function) else {
            self.problems.push(problem_at(span, "this is not the name of a function"));
            return;
        };
        let local = path.strip_prefix("data.rego.").unwrap_or(&path);
        if let Some(name) = self.functions.get(local).copied() {
            self.node().uses.insert(name);
            self.node().calls.insert(name, span);
            return;
        }
        if let Some(builtin) = builtins::all().find(|builtin| builtin.name == path) {
            // One operand more is the old way to write `result := f(operands)`.
            let arity = usize::from(builtin.arity);
            if operands != arity && operands != arity + 1 {
                self.problems.push(problem_at(
                    span,
                    format!("`{path}` takes {arity} operands, but {operands} are given"),
                ));
            }
            return;
        }
        if let Some((_, reason)) = WITHHELD.iter().find(|(name, _)| *name == path) {
            let message = format!("function `{path}` is not offered: {reason}");
            self.problems.push(problem_at(span, message));
        } else if !STOCK.contains_key(path.as_str()) && path != "print" {
            self.problems.push(problem_at(span, unknown_function(&path)));
        }
    }
}

fn unknown_function(path: &str) -> String {
    let offered = match path.split('.').next().unwrap_or_default() {
        "http" | "net" | "opa" | "rego" => "a policy sees its request and its parameters only",
        "crypto" | "io" => {
            "of the cryptographic functions there are crypto.hmac.{md5,sha1,sha256,sha512,equal} \
             and crypto.{md5,sha1,sha256}"
        }
        _ => "it is neither a builtin of Rego nor defined in the policy",
    };
    format!("function `{path}` is not offered: {offered}")
}

/// Functions that call themselves, directly or through others.
fn recursion(graph: &BTreeMap<&str, Node<'_>>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, node) in graph {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = node.calls.keys().copied().collect();
        while let Some(callee) = open.pop() {
            if callee == *name {
                let message = format!("function `{name}` calls itself, which Rego does not allow");
                let span = node.calls.values().next();
                problems.extend(span.map(|span| problem_at(span, message)));
                break;
            }
            if seen.insert(callee) {
                open.extend(graph.get(callee).iter().flat_map(|node| node.calls.keys().copied()));
            }
        }
    }
    problems
}

/// Rules that build on one another so deeply that the stack might not suffice.
fn depth(graph: &BTreeMap<&str, Node<'_>>) -> Option<Problem> {
    let mut known = BTreeMap::new();
    let mut deepest = ("", 0);
    for name in graph.keys() {
        let depth = depth_below(name, graph, &mut known);
        if depth > deepest.1 {
            deepest = (name, depth);
        }
    }
    let (name, depth) = deepest;
    (depth > MAX_DEPTH).then(|| {
        problem(format!(
            "rule `{name}` builds on other rules too deeply: all levels of expressions below it \
             together may be {MAX_DEPTH}, but there are {depth}"
        ))
    })
}

/// Levels of expressions below a rule. A rule in progress counts nothing: true cycles are seen by
/// regorus, and others are only names that two rules share with variables.
fn depth_below<'m>(
    name: &'m str,
    graph: &BTreeMap<&'m str, Node<'m>>,
    known: &mut BTreeMap<&'m str, usize>,
) -> usize {
    if let Some(depth) = known.get(name) {
        return *depth;
    }
    let Some(node) = graph.get(name) else { return 0 };
    known.insert(name, 0);
    let mut below = 0;
    for used in &node.uses {
        below = below.max(depth_below(used, graph, known));
    }
    known.insert(name, node.nesting + below);
    node.nesting + below
}

/// `a.b.c` for a plain reference of a sensible length.
fn path(expr: &Ref<Expr>) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut expr = expr;
    while parts.len() < MAX_NESTING {
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

/// The name that a reference starts with; for `data.rego.x` that is `x`.
fn root(expr: &Ref<Expr>) -> Option<&str> {
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

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
