//! The command line.

mod render;

pub(crate) use render::{LayerArgument, RenderArguments};

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use sallyport_analysis::{Settings, Workload};

/// Version and commit, as in the line that a filter logs at load; `tools/build-command` sets the commit.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("SALLYPORT_COMMIT").unwrap_or("unknown commit");
    format!("{} ({commit})", env!("CARGO_PKG_VERSION"))
});

/// Checks and explains the policies of the Sallyport filters, without a proxy and without a network.
#[derive(Debug, Parser)]
#[command(name = "sallyport", version = VERSION.as_str(), arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Colours of the output: auto (a terminal without NO_COLOR), always or never
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: Color,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// When output has colours.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Sets it for all output of the process.
    pub(crate) fn write_global(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// The verb.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Report every fault and warning with file, line and fix
    #[command(after_help = "Example:\n  sallyport check policies/ --workload shop/app=orders")]
    Check(CheckArguments),
    /// Write the configuration of one workload for Envoy, Istio or Envoy Gateway
    #[command(
        after_help = "Examples:\n  sallyport render --for envoy-filter --workload shop/app=orders policies/\n  sallyport render --for bootstrap --workload shop/app=orders --output /run/sallyport --watch policies/"
    )]
    Render(Box<RenderArguments>),
    /// Say what happens to one request, by which rule, and what would let it in
    #[command(
        after_help = "Examples:\n  sallyport explain policies/ --to shop/app=orders --from shop/frontend --method GET --path /orders/1\n  sallyport explain policies/ --to shop/app=orders --curl 'curl -X DELETE https://orders.shop/orders/1'\n  sallyport explain egress/ --egress --from shop/payments --curl 'curl https://api.stripe.example/v1/charges'"
    )]
    Explain(Box<ExplainArguments>),
    /// Play policy tests, and say which rules no test reaches
    #[command(after_help = "Example:\n  sallyport test tests/orders.yaml policies/ --threshold 90")]
    Test(TestArguments),
    /// List who may reach a workload and how, or what a caller may reach
    #[command(
        after_help = "Examples:\n  sallyport who policies/ --to shop/app=orders\n  sallyport who policies/ --from shop/frontend"
    )]
    Who(WhoArguments),
    /// Print completions for a shell, or the manual
    #[command(
        after_help = "Examples:\n  sallyport completions bash > ~/.local/share/bash-completion/completions/sallyport\n  sallyport completions man --output ~/.local/share/man/man1"
    )]
    Completions(CompletionArguments),
}

/// `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArguments {
    /// Shell, or man for the pages of the manual
    #[arg(value_enum)]
    pub(crate) shell: CompletionArgument,
    /// Folder to write into, under the names that the shell or man looks for; of the manual a page for each verb
    #[arg(long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
}

/// Shell, or the manual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionArgument {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
    /// Pages of the manual
    Man,
}

/// `who`.
#[derive(Debug, Args)]
pub(crate) struct WhoArguments {
    #[command(flatten)]
    pub(crate) common: CommonArguments,
    #[command(flatten)]
    pub(crate) choice: ChoiceArguments,
    /// Form of the output
    #[arg(long, value_enum, default_value = "pretty")]
    pub(crate) format: AnswerFormat,
    /// Workload that is called, as in shop/app=orders
    #[arg(long, value_name = "NS/KEY=VALUE,...", conflicts_with = "workload")]
    pub(crate) to: Option<String>,
    /// Caller: NS/SERVICE-ACCOUNT, a principal or a SPIFFE ID
    #[arg(long, value_name = "CALLER")]
    pub(crate) from: Option<String>,
    /// Layer of the access: requests, or connections to the network filter; that of the filter where the files carry one,
    /// else http
    #[arg(long, value_enum)]
    pub(crate) layer: Option<LayerArgument>,
}

/// `test`.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    #[command(flatten)]
    pub(crate) common: CommonArguments,
    #[command(flatten)]
    pub(crate) choice: ChoiceArguments,
    /// Form of the output
    #[arg(long, value_enum, default_value = "pretty")]
    pub(crate) format: TestFormat,
    /// Fail where the tests reach fewer of a hundred rules than this
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) threshold: u8,
    /// Time of all requests, as in 2026-11-28T10:00Z; now if it is not given
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
}

/// Form of the outcomes of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    /// For people
    Pretty,
    /// One JSON document
    Json,
    /// JUnit XML
    Junit,
}

/// `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    pub(crate) common: CommonArguments,
    #[command(flatten)]
    pub(crate) choice: ChoiceArguments,
    /// Form of the output
    #[arg(long, value_enum, default_value = "pretty")]
    pub(crate) format: AnswerFormat,
    /// Caller: NS/SERVICE-ACCOUNT, a principal or a SPIFFE ID; without it the caller has no certificate
    #[arg(long, value_name = "CALLER")]
    pub(crate) from: Option<String>,
    /// Workload that is called, as in shop/app=orders
    #[arg(long, value_name = "NS/KEY=VALUE,...", conflicts_with = "workload")]
    pub(crate) to: Option<String>,
    /// Method; GET if it is not given
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// Path with its query; / if it is not given
    #[arg(long)]
    pub(crate) path: Option<String>,
    /// Host, with its port if the client sends one
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Port that the connection is for
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Server name of the client's TLS
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,
    /// Address of the connection's other end
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) source_ip: Option<IpAddr>,
    /// Address of the client, if it differs from --source-ip
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) remote_ip: Option<IpAddr>,
    /// Time of the request, as in 2026-11-28T10:00Z; now if it is not given
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Header, as in 'x-tenant: blue'
    #[arg(long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// Claim of the request's token, as in group=admin; given again it becomes a list
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) claim: Vec<String>,
    /// Request as a call of curl; other flags go before what it says
    #[arg(long, value_name = "LINE")]
    pub(crate) curl: Option<String>,
    /// Layer of the decision: a request, or a connection by the network filter; that of the filter where the files carry
    /// one, else http
    #[arg(long, value_enum)]
    pub(crate) layer: Option<LayerArgument>,
    /// Ask egress-allowlist about a request to an outside host; it is asked by itself where the files have nothing for
    /// the other filters
    #[arg(long, conflicts_with = "to")]
    pub(crate) egress: bool,
}

/// Form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerFormat {
    /// For people
    Pretty,
    /// One JSON document
    Json,
}

/// `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    pub(crate) common: CommonArguments,
    /// Form of the output
    #[arg(long, value_enum, default_value = "pretty")]
    pub(crate) format: Format,
    /// Leave out findings of this code; a comment `# sallyport:ignore CODE` at the end of a line does so for the line
    #[arg(long, value_name = "CODE")]
    pub(crate) ignore: Vec<String>,
    /// Layer at which the policies will be enforced: requests, or connections by the network filter, which knows no
    /// methods, paths and headers; filters that the files carry have their own
    #[arg(long, value_enum, default_value = "http")]
    pub(crate) layer: LayerArgument,
}

/// Form of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people, with the source line
    Pretty,
    /// One JSON document
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML
    Junit,
    /// Workflow commands of GitHub Actions
    Github,
}

/// Filter that is asked.
#[derive(Debug, Args)]
pub(crate) struct ChoiceArguments {
    /// Filter that is asked, where the files carry configurations of several: the place of its configuration, as in envoy.yaml:61
    #[arg(long, value_name = "FILE[:LINE]")]
    pub(crate) filter_at: Option<String>,
}

/// The flags of every verb.
#[derive(Debug, Args)]
pub(crate) struct CommonArguments {
    /// Policies: YAML or JSON files, folders of them, or - for standard input
    #[arg(required = true, value_name = "FILE|FOLDER|-")]
    pub(crate) files: Vec<PathBuf>,
    /// Settings of the filters: {identityAuthz, baselineDeny, egressAllowlist}; a sallyport.yaml among the files counts as it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: SettingArguments,
}

/// Settings of the filters.
#[derive(Debug, Args)]
pub(crate) struct SettingArguments {
    /// Workload that the proxy fronts, as in shop/app=orders,version=v2
    #[arg(long, value_name = "NS/KEY=VALUE,...")]
    pub(crate) workload: Option<String>,
    /// Service that the proxy fronts, for policies with targetRefs
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Gateway that the proxy is, for policies with targetRefs
    #[arg(long, value_name = "NAME")]
    pub(crate) gateway: Option<String>,
    /// Namespace of resources that name none
    #[arg(long, value_name = "NS")]
    pub(crate) default_namespace: Option<String>,
    /// Trust domain of the workloads; cluster.local if it is not given
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) trust_domain: Option<String>,
    /// Further trust domain of the workloads
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) trust_domain_alias: Vec<String>,
    /// Answer where no ALLOW policy applies
    #[arg(long, value_enum, value_name = "ALLOW|DENY")]
    pub(crate) default_action: Option<DefaultAction>,
}

/// Answer where no ALLOW policy applies.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum DefaultAction {
    #[value(name = "ALLOW", alias = "allow")]
    Allow,
    #[value(name = "DENY", alias = "deny")]
    Deny,
}

impl SettingArguments {
    /// Returns the settings; `to` is a workload that another flag names.
    ///
    /// # Errors
    ///
    /// A workload that cannot be read.
    pub(crate) fn settings(&self, to: Option<&str>) -> Result<Settings> {
        let (flag, text) = if to.is_some() { ("--to", to) } else { ("--workload", self.workload.as_deref()) };
        let workload = text.map(Workload::parse).transpose().map_err(|error| anyhow!("{flag}: {error}"))?;
        if workload.is_none() && (self.service.is_some() || self.gateway.is_some()) {
            bail!("--service and --gateway need the namespace of the workload, write --workload NS");
        }
        let workload = workload.map(|workload| Workload {
            service: self.service.clone(),
            gateway: self.gateway.clone(),
            ..workload
        });
        let default_action = self.default_action.map(|action| match action {
            DefaultAction::Allow => "ALLOW".to_owned(),
            DefaultAction::Deny => "DENY".to_owned(),
        });
        Ok(Settings {
            workload,
            default_namespace: self.default_namespace.clone(),
            trust_domain: self.trust_domain.clone(),
            trust_domain_aliases: self.trust_domain_alias.clone(),
            default_action,
            ..Settings::default()
        })
    }
}
