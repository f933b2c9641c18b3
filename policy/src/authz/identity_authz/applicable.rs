//! The resources that apply to a workload, for tools that leave out the others.

use crate::authz::identity_authz::{Configuration, IdentityAuthz};
use crate::authz::mtls_mode::Applicable;
use crate::authz::policy_name::PolicyName;
use crate::config::diagnostics::{ConfigErrors, Diagnostics};

/// The kind and the name of a resource.
type ResourceName = (&'static str, PolicyName);

impl IdentityAuthz {
    /// Reads a configuration and returns the resources that apply to its workload, in their order within each kind. A
    /// configuration without the others has the same decisions. For tools.
    ///
    /// # Errors
    ///
    /// What cannot be read, and resources of which it cannot be told whether they apply. That no ALLOW policy applies and
    /// `defaultAction` is missing is no error here.
    pub fn applicable_resources(json: impl AsRef<[u8]>) -> Result<Vec<ResourceName>, ConfigErrors> {
        let configuration = Configuration::parse(json.as_ref(), usize::MAX)?;
        let diagnostics = Diagnostics::keeping(usize::MAX);
        configuration.check_targets(true, &diagnostics);
        let all = &configuration.loaded.peer_authentications;
        let workload = configuration.workload.as_ref();
        let root_namespace = &configuration.root_namespace;
        Applicable::new(all, workload, root_namespace, &diagnostics);
        let policies = configuration.loaded.policies.iter().filter(|policy| configuration.needs(policy));
        let policies = policies.map(|policy| ("AuthorizationPolicy", policy.name.clone()));
        let peer_authentications = all.iter().filter(|one| {
            let namespace = one.name.namespace().unwrap_or_default();
            workload.is_none_or(|workload| !one.target.is_for_others(namespace, root_namespace, workload))
        });
        let peer_authentications = peer_authentications.map(|one| ("PeerAuthentication", one.name.clone()));
        let applicable = policies.chain(peer_authentications).collect();
        diagnostics.into_result(Some(applicable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(workload: &str) -> Result<Vec<String>, String> {
        let policy = |name: &str, namespace: &str, spec: &str| {
            format!(
                r#"{{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {{"name": "{name}", "namespace": "{namespace}"}}, "spec": {spec}}}"#
            )
        };
        let mode = |name: &str, namespace: &str| {
            policy(name, namespace, r#"{"mtls": {"mode": "STRICT"}}"#)
                .replace("AuthorizationPolicy", "PeerAuthentication")
        };
        let resources = [
            policy("all", "shop", "{}"),
            policy("orders", "shop", r#"{"selector": {"matchLabels": {"app": "orders"}}, "rules": [{}]}"#),
            policy(
                "deny",
                "shop",
                r#"{"action": "DENY", "targetRefs": [{"kind": "Service", "name": "web"}], "rules": [{}]}"#,
            ),
            policy("mesh", "istio-system", "{}"),
            policy("bank", "bank", "{}"),
            mode("strict", "shop"),
            mode("strict", "bank"),
        ];
        let json = format!(r#"{{"workload": {workload}, "resources": [{}]}}"#, resources.join(","));
        let applicable = IdentityAuthz::applicable_resources(json).map_err(|errors| errors.to_string())?;
        Ok(applicable
            .iter()
            .map(|(kind, name)| format!("{kind} {}/{}", name.namespace().unwrap(), name.name()))
            .collect())
    }

    #[test]
    fn those_of_the_workload_and_of_the_mesh_apply() {
        let expected = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            names(r#"{"namespace": "shop", "labels": {"app": "orders"}, "service": "orders"}"#),
            expected(&[
                "AuthorizationPolicy shop/all",
                "AuthorizationPolicy shop/orders",
                "AuthorizationPolicy istio-system/mesh",
                "PeerAuthentication shop/strict",
            ])
        );
        assert_eq!(
            names(r#"{"namespace": "bank", "labels": {}}"#),
            expected(&[
                "AuthorizationPolicy istio-system/mesh",
                "AuthorizationPolicy bank/bank",
                "PeerAuthentication bank/strict",
            ])
        );
        assert_eq!(
            names(r#"{"namespace": "shop", "labels": {"app": "orders"}}"#),
            Err("workload.service: missing: required to decide whether the DENY policy shop/deny applies".to_owned())
        );
    }
}
