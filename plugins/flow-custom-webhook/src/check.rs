//! What a policy must be before it is run: package `rego`, a rule `output`, only functions that
//! are offered, no variable without a value.
//!
//! regorus looks functions and most variables up when they are needed, so that a typing error
//! would show with the first request. Here the policy is read in full and every name is resolved,
//! as OPA does when it compiles. Scopes inside one rule are not told apart: a variable that gets a
//! value anywhere in its rule has one.
//!
//! What is used by what goes to [`crate::graph`].

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use mortise_plugin::Problem;
use regorus::unstable::{
    AssignOp, BUILTINS as STOCK, Expr, Literal, Module, Query, Ref, Rule, RuleHead, Span,
};

use crate::builtins;
use crate::diagnose::{problem, problem_at};
use crate::graph::{self, Node};
use crate::names::{Head, alias, path, root, start};

/// How deep the expressions of one rule may be nested; a chain of operators counts each.
const MAX_NESTING: usize = 64;

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
        imports: module.imports.iter().filter_map(alias).collect(),
        graph: BTreeMap::new(),
        current: "",
        bound: BTreeSet::new(),
        used: Vec::new(),
        binding: false,
        problems,
    };
    for (rule, head) in &rules {
        reader.current = head.name;
        reader.node().plain &= head.plain;
        reader.rule(rule);
        reader.resolve();
    }
    let Reader { graph, mut problems, .. } = reader;
    problems.extend(graph::problems(&graph));
    problems
}

struct Reader<'m> {
    functions: BTreeSet<&'m str>,
    rules: BTreeSet<&'m str>,
    imports: BTreeSet<&'m str>,
    graph: BTreeMap<&'m str, Node<'m>>,
    /// The rule that is read.
    current: &'m str,
    /// Its variables that get a value somewhere in it.
    bound: BTreeSet<&'m str>,
    /// All names that it uses.
    used: Vec<&'m Span>,
    /// Whether a variable that is met now may get its value there.
    binding: bool,
    problems: Vec<Problem>,
}

impl<'m> Reader<'m> {
    fn node(&mut self) -> &mut Node<'m> {
        self.graph.entry(self.current).or_default()
    }

    /// Finds out what the names of the rule just read stand for.
    fn resolve(&mut self) {
        let bound = mem::take(&mut self.bound);
        for span in mem::take(&mut self.used) {
            let name = span.text();
            if bound.contains(name) || self.imports.contains(name) {
                continue;
            }
            if self.rules.contains(name) {
                self.node().uses.insert(name, span);
            } else if !["_", "input", "data"].contains(&name) {
                let message = format!(
                    "variable `{name}` has no value: it is neither a rule nor \
                                       set in this one"
                );
                self.problems.push(problem_at(span, message));
            }
        }
    }

    fn rule(&mut self, rule: &'m Rule) {
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
                        self.bind(args, 1);
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
                self.bind(args, 1);
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
                Literal::SomeVars { vars, .. } => self.bound.extend(vars.iter().map(Span::text)),
                Literal::SomeIn { key, value, collection, .. } => {
                    self.bind(key, depth);
                    self.bind([value], depth);
                    self.expr(collection, depth);
                }
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => {
                    self.expr(expr, depth);
                }
                Literal::Every { key, value, domain, query, .. } => {
                    self.bound.extend(key.iter().map(Span::text));
                    self.bound.insert(value.text());
                    self.expr(domain, depth);
                    self.query(query, depth + 1);
                }
            }
            for with in &statement.with_mods {
                // What is replaced is no variable, and neither is a function that replaces it. Such
                // a function may be called from anywhere below.
                self.bound.extend(root(&with.refr));
                match root(&with.r#as) {
                    Some(name) if self.functions.contains(name) => {
                        self.node().uses.insert(name, &with.span);
                    }
                    Some(name) if path(&with.r#as).is_some_and(|path| is_function(&path)) => {
                        self.bound.insert(name);
                    }
                    _ => {}
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

    /// Reads a place where variables may get their values.
    fn bind(&mut self, exprs: impl IntoIterator<Item = &'m Ref<Expr>>, depth: usize) {
        let outer = mem::replace(&mut self.binding, true);
        self.all(exprs, depth);
        self.binding = outer;
    }

    /// Reads a place where variables need a value, inside one where they may get it.
    fn need(&mut self, exprs: impl IntoIterator<Item = &'m Ref<Expr>>, depth: usize) {
        let outer = mem::replace(&mut self.binding, false);
        self.all(exprs, depth);
        self.binding = outer;
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
            Expr::Var { span, .. } if self.binding => {
                self.bound.insert(span.text());
            }
            Expr::Var { span, .. } => self.used.push(span),
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
            Expr::Call { fcn, params, .. } => {
                self.call(start(fcn), fcn, params.len());
                match params.split_last() {
                    // The last operand may be where the result goes: `walk(x, [path, value])`.
                    Some((last, others)) if !others.is_empty() => {
                        self.need(others, depth);
                        self.bind([last], depth);
                    }
                    _ => self.need(params, depth),
                }
            }
            Expr::UnaryExpr { expr, .. } => self.expr(expr, depth),
            Expr::RefDot { refr, field: (field, _), .. } => {
                if path(refr).as_deref() == Some("data.rego") && self.rules.contains(field.text()) {
                    self.node().uses.insert(field.text(), field);
                }
                self.need([refr], depth);
            }
            Expr::RefBrack { refr, index, .. } => {
                self.need([refr], depth);
                self.bind([index], depth);
            }
            Expr::BinExpr { lhs, rhs, .. }
            | Expr::BoolExpr { lhs, rhs, .. }
            | Expr::ArithExpr { lhs, rhs, .. } => self.need([lhs, rhs], depth),
            Expr::AssignExpr { op: AssignOp::Eq, lhs, rhs, .. } => self.bind([lhs, rhs], depth),
            Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } => {
                self.bind([lhs], depth);
                self.need([rhs], depth);
            }
            Expr::Membership { key, value, collection, .. } => {
                self.all(key, depth);
                self.all([value, collection], depth);
            }
        }
    }

    fn call(&mut self, span: &'m Span, function: &'m Ref<Expr>, operands: usize) {
        let Some(path) = path(function) else {
            self.problems.push(problem_at(span, "this is not the name of a function"));
            return;
        };
        let local = path.strip_prefix("data.rego.").unwrap_or(&path);
        if let Some(name) = self.functions.get(local).copied() {
            self.node().uses.insert(name, span);
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
        } else if !is_function(&path) {
            self.problems.push(problem_at(span, unknown_function(&path)));
        }
    }
}

fn is_function(path: &str) -> bool {
    STOCK.contains_key(path) || path == "print" || builtins::all().any(|b| b.name == path)
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
