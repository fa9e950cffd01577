//! Which rules of a policy use which, and what must not be: no rule depends on itself, and none
//! builds on others so deeply that the stack might not suffice.
//!
//! regorus evaluates by recursion on the caller's stack, and nothing can catch an overflow: a
//! function that calls itself would end the daemon. So this is decided before a policy is run.
//! Cycles of values alone are seen by regorus too, so that rules such as `a.b` and `a.c`, which
//! share a name here, may use one another.

use std::collections::BTreeMap;

use mortise_plugin::Problem;
use regorus::unstable::Span;

use crate::diagnose::{problem, problem_at};

/// How deep rules and functions may build on one another, counted in levels of expressions: half
/// of what overflows a stack of 2 MiB in the worst case of the tests.
const MAX_DEPTH: usize = 256;

/// What a step from one rule into another costs, in levels.
const STEP: usize = 2;

/// What is known about one rule or function.
pub(crate) struct Node<'m> {
    /// Levels of expressions in it.
    pub(crate) nesting: usize,
    /// Rules and functions that it uses, and where.
    pub(crate) uses: BTreeMap<&'m str, &'m Span>,
    /// All its heads are the name alone. Rules such as `a.b` and `a.c` share the name `a` and may
    /// use one another.
    pub(crate) plain: bool,
}

impl Default for Node<'_> {
    fn default() -> Self {
        Node { nesting: 0, uses: BTreeMap::new(), plain: true }
    }
}

/// What must not be.
pub(crate) fn problems(graph: &BTreeMap<&str, Node<'_>>) -> Vec<Problem> {
    let mut walk = Walk { graph, known: BTreeMap::new(), problems: Vec::new() };
    let mut deepest = ("", 0);
    for name in graph.keys() {
        let depth = walk.depth(name);
        if depth > deepest.1 {
            deepest = (name, depth);
        }
    }
    let (name, depth) = deepest;
    if walk.problems.is_empty() && depth > MAX_DEPTH {
        walk.problems.push(problem(format!(
            "`{name}` builds on other rules too deeply: all levels of expressions below it \
             together may be {MAX_DEPTH}, but there are {depth}"
        )));
    }
    walk.problems
}

/// One walk over all rules, depth first. Its own recursion is as deep as there are rules; the
/// thread that compiles has the stack for that.
struct Walk<'g, 'm> {
    graph: &'g BTreeMap<&'m str, Node<'m>>,
    /// Levels below each rule that was left; `None` while it is being visited.
    known: BTreeMap<&'m str, Option<usize>>,
    problems: Vec<Problem>,
}

impl<'m> Walk<'_, 'm> {
    fn depth(&mut self, name: &'m str) -> usize {
        if let Some(known) = self.known.get(name) {
            return known.unwrap_or(0);
        }
        let Some(node) = self.graph.get(name) else { return 0 };
        self.known.insert(name, None);
        let mut below = 0;
        for (used, span) in &node.uses {
            if self.known.get(used) == Some(&None)
                && self.graph.get(used).is_some_and(|node| node.plain)
            {
                let message = format!("`{used}` depends on itself, which Rego does not allow");
                self.problems.push(problem_at(span, message));
            }
            below = below.max(self.depth(used));
        }
        let total = node.nesting + STEP + below;
        self.known.insert(name, Some(total));
        total
    }
}
