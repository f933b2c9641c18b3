//! Texts in; resources with positions, findings and answers out.
//!
//! The command `sallyport` and the playground share this crate. It does no I/O: the caller reads files into a [`Project`],
//! and prints what comes of it.
//!
//! ```
//! use sallyport_analysis::{Project, Settings, check};
//!
//! let mut project = Project::new(Settings::default());
//! project.add("deny.yaml", "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: b}\nspec: {action: Deny}\n");
//! let report = check(&project, &[]);
//! let finding = report.findings.first().unwrap();
//! assert_eq!(finding.message, "unknown value `Deny`");
//! assert_eq!(finding.place(project.sources()).1.line, 4);
//! ```

mod cases;
mod check;
mod choice;
mod codes;
mod curl;
mod discovery;
mod documents;
mod explain;
mod filters;
mod finding;
pub mod formats;
mod json;
mod kustomization;
mod lints;
mod path;
mod plugin;
mod project;
mod protobuf;
mod render;
mod resource;
mod selection;
mod settings;
mod simulated_request;
mod source;
mod template;
mod tree;
mod who;
mod yaml;

pub use cases::{Case, Coverage, Expectation, Outcome, Rule, Suite, SuiteReport, read_suites, run_suite};
pub use check::{Report, check};
pub use choice::{Asked, ChoiceError, FilterChoice, is_about_access, only_reports};
pub use codes::{Code, codes};
pub use curl::{CurlRequest, parse_curl};
pub use documents::{Document, read_documents};
pub use explain::{Answer, Deciders, Explanation, Nearest};
pub use finding::{Finding, Severity};
pub use lints::{LINTS, Lint};
pub use project::{CONFIG_FILE, Contents, Project, ReadFile};
pub use render::{
    BootstrapSettings, Place, RenderError, RenderSettings, RenderedFile, RenderedFilter, Rendering, render, workloads,
};
pub use resource::Resource;
pub use settings::{Filter, Layer, Settings, Workload};
pub use simulated_request::{Caller, SimulatedRequest, assumed_trust_domain, spiffe_id};
pub use source::{Position, Source, Span};
pub use tree::{Entry, Node, Value};
pub use who::{Access, who};
