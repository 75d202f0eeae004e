//! axe-core asks a page whether everybody can use it: WCAG 2.x A and AA, and what its makers call best practice.

use serde_json::Value;

use super::Browser;

const AXE: &str = include_str!("../../vendor/axe-core/axe-4.14.1.min.js");

/// What is looked at, and how it is told.
const RUN: &str = r"
;const done = arguments[arguments.length - 1];
axe.run(document, {
  runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  resultTypes: ['violations'],
}).then(
  (found) => done(found.violations.flatMap((rule) => rule.nodes.map((node) =>
    `${rule.id} (${rule.impact}): ${rule.help}\n    at ${node.target.join(' ')}\n    ${node.html.slice(0, 200)}\n    ${node.failureSummary.replaceAll('\n', '\n    ')}\n    ${rule.helpUrl}`))),
  (error) => done([`axe did not run: ${error}`]),
);";

impl Browser {
    /// What is wrong with the page as it is now: rule, element, what to do.
    ///
    /// # Panics
    /// If axe does not run.
    pub async fn axe(&self) -> Vec<String> {
        let found = self.driver.execute_async([AXE, RUN].concat(), Vec::new()).await.expect("axe runs");
        let Value::Array(found) = found.json() else { panic!("axe said {}", found.json()) };
        found.iter().map(|one| one.as_str().unwrap_or_default().to_owned()).collect()
    }
}
