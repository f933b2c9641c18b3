//! Files with configurations of the filter, and files without.

use super::*;

fn found(yaml: &str) -> Result<Vec<(String, String)>> {
    let document = serde_saphyr::from_str(yaml)?;
    let text = |found: PluginConfiguration| Ok((found.place, String::from_utf8(found.json)?));
    find(&document)?.into_iter().map(text).collect()
}

/// Checks the places and the JSON texts of what is found.
fn check(yaml: &str, expected: &[(&str, &str)]) -> Result<()> {
    let found = found(yaml)?;
    let found: Vec<_> = found.iter().map(|(place, json)| (place.as_str(), json.as_str())).collect();
    assert_eq!(found, expected);
    Ok(())
}

fn check_refused(yaml: &str, expected: &str) {
    let error = found(yaml).map_err(|error| format!("{error:#}")).expect_err("an error");
    assert_eq!(error, expected);
}

#[test]
fn a_configuration_by_itself() -> Result<()> {
    check("rules: []", &[("it", r#"{"rules":[]}"#)])?;
    check("resources: [{kind: ServiceEntry}]", &[("it", r#"{"resources":[{"kind":"ServiceEntry"}]}"#)])
}

#[test]
fn a_struct_and_a_string_in_filters_of_envoy() -> Result<()> {
    check(
        "a:
         - config: {name: x, vm_config: {code: {local: {filename: /m/egress-allowlist.wasm}}},
             configuration: {'@type': type.googleapis.com/google.protobuf.Struct, value: {rules: []}}}
         - config: {name: x, vmConfig: {code: {remote: {http_uri: {uri: 'https://m/egress-allowlist.wasm'}}}},
             configuration: {'@type': type.googleapis.com/google.protobuf.StringValue, value: '{\"rules\": [1]}'}}
         - config: {root_id: egress_allowlist, vm_config: {},
             configuration: {'@type': type.googleapis.com/google.protobuf.StringValue, value: '{}'}}",
        &[
            ("a[0].config.configuration", r#"{"rules":[]}"#),
            ("a[1].config.configuration", r#"{"rules": [1]}"#),
            ("a[2].config.configuration", "{}"),
        ],
    )
}

#[test]
fn other_filters_are_passed_over_and_an_alias_counts_once() -> Result<()> {
    check(
        "a:
         - config: {name: identity_authz, vm_config: {}, configuration: {value: {rules: [2]}}}
         - config: &one {name: egress_allowlist, vm_config: {},
             configuration: {'@type': type.googleapis.com/google.protobuf.Struct, value: {rules: []}}}
         - config: *one",
        &[("a[1].config.configuration", r#"{"rules":[]}"#)],
    )
}

#[test]
fn what_has_no_configuration_says_where_one_may_be() {
    let nothing = "no configuration of egress-allowlist: give an Envoy configuration with a Wasm filter whose module or \
                   name has `egress-allowlist` in it, or a file with `rules` or `resources`";
    check_refused("static_resources: {}", nothing);
    check_refused("[]", nothing);
    check_refused("resources: [{'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster}]", nothing);
    check_refused(
        "filters: [{name: sallyport.egress_allowlist,
           config_discovery: {config_source: {path_config_source: {path: /etc/sallyport/policies/egress.yaml}}}}]",
        "egress-allowlist takes its configuration from /etc/sallyport/policies/egress.yaml; give that file",
    );
    check_refused(
        "filters: [{name: sallyport.egress_allowlist, config_discovery: {config_source: {ads: {}}}}]",
        "egress-allowlist takes its configuration from elsewhere; give that file",
    );
}

#[test]
fn a_filter_without_a_readable_configuration_is_an_error() {
    check_refused("a: {name: egress_allowlist, vm_config: {}}", "a.configuration is missing");
    check_refused(
        "a: {name: egress_allowlist, vm_config: {}, configuration: {value: {rules: []}}}",
        "a.configuration: expected `@type` of google.protobuf.Struct or StringValue, and `value`",
    );
}
