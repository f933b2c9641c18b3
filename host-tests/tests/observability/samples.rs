//! Envoy's metrics as Prometheus gets them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use testbed::Envoy;

/// The values of one scrape, by series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(BTreeMap<Series, String>);

/// The name and labels of a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// Each with its value as it is written, without quotes.
    pub(crate) labels: Vec<(String, String)>,
}

impl Series {
    /// Reads `name{label="value",…}`.
    fn parse(text: &str) -> Result<Self> {
        let (name, mut rest) = text.split_once('{').unwrap_or((text, ""));
        let mut labels = Vec::new();
        while let Some((label, value)) = rest.split_once("=\"") {
            let mut is_escaped = false;
            let end = value.find(|letter| {
                let ends = letter == '"' && !is_escaped;
                is_escaped = letter == '\\' && !is_escaped;
                ends
            });
            let end = end.with_context(|| format!("no end of a label in {text}"))?;
            let (value, after) = value.split_at(end);
            labels.push((label.trim_start_matches(',').to_owned(), value.to_owned()));
            rest = after.strip_prefix('"').unwrap_or_default();
        }
        Ok(Self { name: name.to_owned(), labels })
    }
}

impl Samples {
    /// Fetches the metrics of an Envoy, without the buckets of histograms.
    pub(crate) fn scrape(envoy: &Envoy) -> Result<Self> {
        let page = envoy.admin_get("/stats/prometheus")?;
        let mut samples = BTreeMap::new();
        for line in page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            let series = Series::parse(series)?;
            if !series.name.ends_with("_bucket") {
                samples.insert(series, value.to_owned());
            }
        }
        Ok(Self(samples))
    }

    /// Adds the series of another scrape that this one lacks.
    pub(crate) fn add(&mut self, other: &Self) {
        for (series, value) in &other.0 {
            self.0.entry(series.clone()).or_insert_with(|| value.clone());
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Series, &str)> {
        self.0.iter().map(|(series, value)| (series, value.as_str()))
    }

    /// The value of a series; none where it is not exported.
    pub(crate) fn get(&self, series: &Series) -> Option<&str> {
        self.0.get(series).map(String::as_str)
    }

    /// The names of all metrics.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        self.0.keys().map(|series| series.name.as_str()).collect()
    }

    /// The names of all labels.
    pub(crate) fn labels(&self) -> BTreeSet<&str> {
        self.0.keys().flat_map(|series| &series.labels).map(|(label, _)| label.as_str()).collect()
    }
}
