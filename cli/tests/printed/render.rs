//! What `sallyport render` prints about the files of `tests/render`.

use crate::output::{assert_prints, sallyport};

const ORDERS: [&str; 2] = ["--workload", "shop/app=orders,version=v2"];

fn call<'c>(place: &'c str, flags: &[&'c str], files: &[&'c str]) -> Vec<&'c str> {
    ["render", "--for", place].iter().chain(flags).chain(files).copied().collect()
}

fn stderr(arguments: &[&str], code: i32) -> String {
    let output = sallyport("render", arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    if code != 0 {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    }
    stderr
}

#[test]
fn each_place_has_its_form() {
    let image = [
        "--image",
        "registry.shop.example/identity-authz@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ];
    let of_istio = ["--config", "sidecar.yaml"];
    let on_sidecar: Vec<&str> = ORDERS.iter().chain(&image).chain(&of_istio).copied().collect();
    let gateway = ["--workload", "shop/gateway.networking.k8s.io/gateway-name=edge", "--gateway", "edge"];
    let on_gateway: Vec<&str> = gateway.iter().chain(&image).copied().collect();
    for (place, flags) in [
        ("envoy-filter", &ORDERS[..]),
        ("ecds", &ORDERS[..]),
        ("wasmplugin", &on_sidecar),
        ("trafficextension", &on_sidecar),
        ("envoy-gateway", &on_gateway),
    ] {
        assert_prints("render", &call(place, flags, &["shop"]), &format!("{place}.yaml"), 0);
    }
    assert_prints("render", &call("ecds", &ORDERS, &["shop", "login.yaml"]), "empty", 2);
    assert_prints(
        "render",
        &call("envoy-filter", &ORDERS, &["login.yaml", "--default-action", "DENY"]),
        "login.txt",
        0,
    );
    let tcp: Vec<&str> = ORDERS.iter().copied().chain(["--layer", "tcp"]).collect();
    assert_prints("render", &call("envoy-filter", &tcp, &["shop/mesh.yaml"]), "tcp.yaml", 0);
}

#[test]
fn what_was_left_out_is_counted() {
    let said = stderr(&call("envoy-filter", &ORDERS, &["shop", "login.yaml"]), 0);
    assert_eq!(
        said,
        "jwt_authn: 1 of 1 RequestAuthentication applies to shop/app=orders,version=v2, 0 left out\n\
         identity-authz: 4 of 6 resources apply to shop/app=orders,version=v2, 2 left out\n"
    );
    let said = stderr(&call("envoy-filter", &ORDERS, &["shop/mesh.yaml"]), 0);
    assert!(said.contains("the connection alone decides; --layer tcp writes the network filter"), "{said}");
}

#[test]
fn the_workload_comes_from_the_one_manifest_or_is_asked_for() {
    assert_eq!(
        stderr(&call("envoy-filter", &[], &["shop"]), 2),
        "sallyport: several workloads are among the files, say which with --workload:\n\
         \x20 shop/app=orders,version=v2  (Deployment shop/orders)\n\
         \x20 shop/app=web  (Deployment shop/web)\n"
    );
    let said = stderr(&call("envoy-filter", &[], &["pod.yaml", "shop/orders.yaml"]), 0);
    assert_eq!(said, "identity-authz: 3 of 3 resources apply to shop/app=orders, 0 left out\n");
}

#[test]
fn what_is_refused_is_not_rendered() {
    let said = stderr(&call("envoy-filter", &ORDERS, &["refused.yaml"]), 1);
    for words in [
        "error[invalid-value]: bad path `/a/*/b`",
        "refused.yaml:7",
        "error[missing-field]: `jwksUri` is missing, and Envoy does not ask the issuer where its keys are, as istiod does",
        "refused.yaml:13",
        "2 errors in 1 file",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn calls_that_make_no_sense_say_why() {
    let image = ["--image", "registry/x"];
    for (place, flags, files, expected) in [
        ("wasmplugin", &ORDERS[..], &["shop"][..], "sallyport: --for wasmplugin needs --image\n"),
        ("wasmplugin", &image, &["shop/web.yaml"], "sallyport: --for wasmplugin needs --workload\n"),
        (
            "ecds",
            &ORDERS,
            &["shop", "login.yaml"],
            "sallyport: 2 files result (jwt-authn.yaml, identity-authz.yaml), name a folder with --output\n",
        ),
        (
            "ecds",
            &["--workload", "shop", "--output", "shop/run"],
            &["shop"],
            "sallyport: --output is in shop, whose files are read; name a folder beside it\n",
        ),
    ] {
        assert_eq!(stderr(&call(place, flags, files), 2), expected);
    }
}
