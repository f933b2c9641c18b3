//! Texts that are odd, broken or made to harm: each is read, or gives a finding at its place.

use sallyport_analysis::{Finding, Project, Settings, check};

/// Findings of a text, as `LINE:COLUMN+LENGTH CODE message`.
#[expect(clippy::expect_used, reason = "a test without findings has failed")]
fn found(text: &str) -> Vec<String> {
    // Tests have a quarter of the stack that the command has, and are not optimised.
    let text = text.to_owned();
    let thread = std::thread::Builder::new().stack_size(8 * 1024 * 1024).spawn(move || findings(&text));
    thread.expect("a thread").join().expect("findings")
}

fn findings(text: &str) -> Vec<String> {
    let mut project = Project::new(Settings::default());
    project.add("policies.yaml", text);
    let report = check(&project, &[]);
    let line = |finding: &Finding| {
        let position = finding.place(project.sources()).1;
        format!("{}:{}+{} {} {}", position.line, position.column, position.length, finding.code, finding.message)
    };
    report.findings.iter().map(line).collect()
}

/// A policy whose action on its sixth line is none, at column 11.
const FAULT: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: shop}\n\
                     spec:\n  # a comment\n  action: Deny\n  rules: [{to: [{operation: {methods: [GET]}}]}]\n";

const PLACE: &str = "6:11+4 unknown-value unknown value `Deny`";

#[test]
fn a_fault_is_found_where_it_stands() {
    let policy = FAULT.replace("Deny", "DENY");
    let before = policy.lines().count();
    let shifted = |lines: usize| PLACE.replacen('6', &(6 + lines).to_string(), 1);
    let rows = [
        ("plain", FAULT.to_owned(), PLACE.to_owned()),
        ("CRLF", FAULT.replace('\n', "\r\n"), PLACE.to_owned()),
        ("a byte order mark", format!("\u{feff}{FAULT}"), PLACE.to_owned()),
        ("no line end", FAULT.trim_end().to_owned(), PLACE.to_owned()),
        ("a marker with a comment", format!("--- # first\n{FAULT}"), shifted(1)),
        ("directives", format!("%YAML 1.2\n---\n{FAULT}"), shifted(2)),
        ("empty documents", format!("---\n---\n# nothing\n---\n\n...\n---\n{FAULT}---\n---\n"), shifted(7)),
        (
            "behind another",
            format!("{policy}--- # second\n{FAULT}").replacen("name: a", "name: b", 1),
            shifted(before + 1),
        ),
        (
            "CRLF behind another",
            format!("{policy}---\n{FAULT}").replacen("name: a", "name: b", 1).replace('\n', "\r\n"),
            shifted(before + 1),
        ),
        ("a byte order mark behind a marker", format!("---\n\u{feff}{FAULT}"), shifted(1)),
        (
            "characters of several bytes",
            FAULT.replace("action: Deny", "\"action\": Deny # größer"),
            "6:13+4 unknown-value unknown value `Deny`".to_owned(),
        ),
        (
            "wide characters before",
            FAULT
                .replace("  action: Deny\n  rules: ", "  {\"\u{1f512}ü\": 1, action: Deny, rules: ")
                .replace("]\n", "]}\n")
                .replace("spec:\n  # a comment\n", "spec:\n\n"),
            "6:21+4 unknown-value unknown value `Deny`".to_owned(),
        ),
    ];
    for (name, text, expected) in rows {
        let found = found(&text);
        assert!(found.contains(&expected), "{name}: {found:#?}\n{text}");
    }
}

#[test]
fn a_fault_in_a_file_of_5000_lines_points_at_its_line() {
    let policies = 700;
    let text: Vec<String> = (0..policies)
        .map(|index| {
            FAULT
                .replace("Deny", if index == 613 { "Deny" } else { "DENY" })
                .replace("name: a", &format!("name: p{index}"))
        })
        .collect();
    let text = text.join("---\n");
    assert!(text.lines().count() > 5000, "{}", text.lines().count());
    assert_eq!(found(&text), [PLACE.replacen('6', &(613 * 8 + 6).to_string(), 1)]);
    // One document of as many lines.
    let paths: String = (0..5000).map(|index| format!("      - /path-{index}\n")).collect();
    let text = format!(
        "{}\n    - operation:\n      paths:\n{paths}",
        FAULT.replace("Deny\n  rules: [{to: [{operation: {methods: [GET]}}]}]", "ALLOW\n  rules:\n  - to:").trim_end()
    );
    let text = text
        .replace("    - operation:\n      paths:\n", "    - operation:\n        paths:\n")
        .replace("      - /path", "        - /path");
    let text = text.replace("/path-4321\n", "/path-4321/*/x\n");
    assert_eq!(
        found(&text),
        ["4332:11+14 invalid-value bad path `/path-4321/*/x`: a star inside is taken literally and never matches"]
    );
}

#[test]
fn anchors_and_merge_keys_lead_to_what_they_stand_for() {
    let text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: shop}\nspec:\n  \
                rules:\n  - to: &get\n    - operation: {method: [GET]}\n    from: [{source: {namespaces: [a]}}]\n  - to: *get\n    \
                from: [{source: {namespaces: [b]}}]\n";
    assert_eq!(found(text), ["7:19+6 unknown-field unknown field `method`"]);
    let text = "apiVersion: v1\nkind: List\nitems:\n- &base\n  apiVersion: security.istio.io/v1\n  kind: AuthorizationPolicy\n  \
                metadata: {name: a, namespace: shop}\n  spec: &spec {action: Deny, rules: [{}]}\n- <<: *base\n  \
                metadata: {name: b, namespace: shop}\n  spec:\n    <<: *spec\n    action: DENY\n";
    assert_eq!(found(text), ["8:24+4 unknown-value unknown value `Deny`"]);
}

#[test]
fn what_cannot_be_read_is_one_finding_at_its_place() {
    let rows = [
        ("a tab as indentation", FAULT.replace("  action", "\taction"), "6:2", "not-yaml"),
        ("an alias of nothing", FAULT.replace("Deny", "*nothing"), "6:", "not-yaml"),
        ("a quote without end", FAULT.replace("Deny", "\"Deny"), "", "not-yaml"),
        ("a template", FAULT.replace("action: Deny", "action: {{ .Values.action }}"), "6:", "not-yaml"),
        ("bytes of a program", "\u{7f}ELF\u{2}\u{1}\u{1}\0\0\0".to_owned(), "1:", "not-yaml"),
        ("bytes that are no UTF-8", FAULT.replace("comment", "comm\u{fffd}nt"), "5:11", "not-yaml"),
        ("brackets", "[".repeat(200_000), "1:", "not-yaml"),
        ("braces", "{a: ".repeat(200_000), "1:", "not-yaml"),
        ("lists", "- ".repeat(50_000), "1:", "not-yaml"),
        ("a text", "just words".to_owned(), "1:1", "not-a-resource"),
    ];
    for (name, text, place, code) in rows {
        let found = found(&text);
        assert!(found.len() == 1, "{name}: {found:#?}");
        let is_expected = |line: &String| line.starts_with(place) && line.contains(&format!(" {code} "));
        assert!(found.iter().all(is_expected), "{name}: {found:#?}");
    }
}

#[test]
fn aliases_of_aliases_are_refused_before_they_fill_the_memory() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", ")));
    }
    // A large anchor that is repeated often, without nesting.
    let items = format!("a: &a [{}]\n", "x, ".repeat(1000));
    let often = format!("{items}b: [{}]\n", "*a, ".repeat(1500));
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(1000));
    for text in [text, often, long] {
        let found = found(&text);
        assert!(matches!(found.as_slice(), [one] if one.contains("not-yaml")), "{found:#?}");
    }
}
