//! The playground in a headless Chromium. Tests share a browser, one after the other, and each begins without a state.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Trial};
use playground_site::{Browser, build, examples, sizes};
use serde_json::{Value, json};
use testbed::{WebServer, wait};

const READY: &str = "return document.documentElement.dataset.state === 'ready'";
const EDITOR: &str = "const editor = document.getElementById('editor').env.editor;";

/// Browser with the page, and what sees its requests.
struct Page {
    browser: Browser,
    server: WebServer,
    proxy: WebServer,
    address: String,
    _folder: tempfile::TempDir,
}

type Test = fn(&Page) -> Result<()>;

const TESTS: [(&str, Test); 14] = [
    ("an example answers as its text says", examples_answer),
    ("a typing error shows at its line and goes with its fix", typing_error),
    ("a share link opens in a fresh profile", share_link),
    ("a state survives a reload", reload),
    ("hostile pastes neither freeze the page nor lose the text", hostile_pastes),
    ("who may reach what follows an edit", access),
    ("every place that render knows can be downloaded", renderings),
    ("every control has a name and is reached by keys", names_and_keys),
    ("a fault's code and fix show on hover", hover),
    ("dropped files and folders are added", dropped_files),
    ("files and folders are opened by their dialogs", file_dialogs),
    ("page and module are small", small),
    ("the first answer is there soon", first_answer),
    ("no request leaves the page", no_request),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let page: Arc<Mutex<Option<Page>>> = Arc::default();
    let trials = TESTS.iter().map(|(name, test)| {
        let page = Arc::clone(&page);
        Trial::test(*name, move || {
            let mut page = page.lock().unwrap_or_else(PoisonError::into_inner);
            run(&mut page, *test).map_err(|error| format!("{error:#}").into())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    // The browser ends with it.
    drop(page.lock().unwrap_or_else(PoisonError::into_inner).take());
    conclusion.exit_code()
}

fn run(page: &mut Option<Page>, test: Test) -> Result<()> {
    if page.is_none() {
        *page = Some(Page::start()?);
    }
    let page = page.as_ref().context("no page")?;
    page.browser.run("localStorage.clear()", &[])?;
    page.open(&page.address)?;
    let begin = Instant::now();
    let done = test(page);
    println!("{} ms", begin.elapsed().as_millis());
    done
}

impl Page {
    fn start() -> Result<Self> {
        let built = build()?;
        // Below a path of its own, as on a web server with other things.
        let folder = tempfile::tempdir()?;
        std::fs::create_dir_all(folder.path().join("some/path"))?;
        std::os::unix::fs::symlink(built, folder.path().join("some/path/here"))?;
        let server = WebServer::start(folder.path(), None)?;
        let proxy = WebServer::start(folder.path(), None)?;
        let browser = Browser::start(Some(proxy.port()))?;
        let address = format!("http://127.0.0.1:{}/some/path/here/", server.port());
        browser.open(&address)?;
        Ok(Self { browser, server, proxy, address, _folder: folder })
    }

    /// Opens an address anew, even where only its fragment differs.
    fn open(&self, address: &str) -> Result<()> {
        self.browser.open("about:blank")?;
        self.browser.open(address)?;
        self.ready()
    }

    fn ready(&self) -> Result<()> {
        self.browser.wait_for("all answers", READY).map(drop)
    }

    /// Runs a function and waits for the answers.
    fn act(&self, function: &str, arguments: &[Value]) -> Result<Value> {
        let value = self.browser.run(function, arguments)?;
        self.ready()?;
        Ok(value)
    }

    fn ask(&self, function: &str) -> Result<Value> {
        self.browser.run(function, &[])
    }

    fn choose_example(&self, name: &str) -> Result<()> {
        let choose = "const select = document.getElementById('example'); select.value = arguments[0]; \
                      select.dispatchEvent(new Event('change'));";
        self.act(choose, &[json!(name)]).map(drop)
    }
}

fn examples_answer(page: &Page) -> Result<()> {
    let read = "const answer = document.getElementById('answer'); \
                const policy = [...answer.querySelectorAll('dt')].find((one) => one.textContent === 'Policy'); \
                return {verdict: answer.querySelector('.verdict').className.split(' ')[1] ?? null, \
                        policy: policy ? policy.nextSibling.textContent.split(' ')[0] : null, \
                        text: answer.textContent, about: document.getElementById('about').textContent, \
                        problems: document.getElementById('problems-title').textContent}";
    for example in examples()? {
        page.choose_example(&example.name)?;
        let requests = example.json.get("requests").and_then(Value::as_array).context("no requests")?;
        for (index, request) in requests.iter().enumerate() {
            let select = "document.querySelectorAll('.request-list button')[arguments[0]].click()";
            page.act(select, &[json!(index)])?;
            let shown = page.ask(read)?;
            let place = format!("{} {}: {shown}", example.name, request.get("name").unwrap_or(&Value::Null));
            let expected = request.get("expect").with_context(|| place.clone())?;
            ensure!(shown.get("verdict") == expected.get("answer"), "{place}");
            if let Some(policy) = expected.get("policy") {
                ensure!(shown.get("policy") == Some(policy), "{place}");
            }
            let about = example.json.get("about").and_then(Value::as_str).unwrap_or("no text");
            ensure!(shown.get("about").and_then(Value::as_str).is_some_and(|shown| shown.ends_with(about)), "{place}");
            let problems = example.json.get("problems").cloned().unwrap_or(json!("No errors and no warnings"));
            ensure!(shown.get("problems") == Some(&problems), "{place}");
        }
    }
    Ok(())
}

fn typing_error(page: &Page) -> Result<()> {
    page.choose_example("shop")?;
    let annotations = format!("{EDITOR} return editor.session.getAnnotations()");
    ensure!(page.ask(&annotations)? == json!([]), "there are findings before the error");
    page.ask(&format!("{EDITOR} editor.focus(); editor.gotoLine(17, 9)"))?;
    // `- operation` becomes `- opexration`.
    page.browser.press("x")?;
    page.browser.wait_for("the error", &format!("{EDITOR} return editor.session.getAnnotations().length > 0"))?;
    page.ready()?;
    let found = page.ask(&annotations)?;
    let first = found.get(0).context("no finding")?;
    ensure!(first.get("row") == Some(&json!(16)) && first.get("type") == Some(&json!("error")), "{found}");
    let text = first.get("text").and_then(Value::as_str).unwrap_or_default();
    ensure!(text.contains("an item of to is written operation: {…}") && text.ends_with("missing-field"), "{text}");
    let listed = page.ask("return document.getElementById('problems').textContent")?;
    ensure!(listed.as_str().is_some_and(|listed| listed.contains("shop.yaml:17")), "{listed}");
    let title = page.ask("return document.getElementById('problems-title').textContent")?;
    ensure!(title.as_str().is_some_and(|title| title.contains("error")), "{title}");
    let answer = page.ask("return document.getElementById('answer').textContent")?;
    ensure!(answer.as_str().is_some_and(|answer| answer.starts_with("No answer")), "{answer}");
    // Backspace.
    page.browser.press("\u{E003}")?;
    page.browser
        .wait_for("the error to go", &format!("{EDITOR} return editor.session.getAnnotations().length === 0"))?;
    page.ready()?;
    let answer = page.ask("return document.getElementById('answer').textContent")?;
    ensure!(answer.as_str().is_some_and(|answer| answer.starts_with("Allowed")), "{answer}");
    Ok(())
}

const STATE: &str = "const field = (name) => document.getElementById('request').elements[name].value; \
    const editor = document.getElementById('editor').env.editor; \
    return {text: editor.getValue(), files: document.getElementById('files').textContent, path: field('path'), \
            headers: field('headers'), requests: document.getElementById('request-list').textContent, \
            action: document.querySelector('[data-setting=defaultAction]').value}";

/// Makes a state that differs from every example.
fn make_state(page: &Page) -> Result<Value> {
    page.choose_example("spelling")?;
    let edit = "const form = document.getElementById('request'); form.elements.path.value = '/ünï/☃?a=#b'; \
                form.elements.headers.value = 'x-tenant: blue\\nx-other: \\u0000'; \
                form.elements.path.dispatchEvent(new Event('input', {bubbles: true})); \
                document.getElementById('editor').env.editor.insert('# €\\u2028 \\ud83d\\ude00\\n')";
    page.act(edit, &[])?;
    page.ask(STATE)
}

fn share_link(page: &Page) -> Result<()> {
    let before = make_state(page)?;
    page.ask("document.getElementById('share').click()")?;
    let link = page.browser.wait_for("the link", "return location.hash.startsWith('#p=') && location.href")?;
    let link = link.as_str().context("no link")?;
    let other = Browser::start(None)?;
    other.open(link)?;
    other.wait_for("all answers", READY)?;
    let after = other.run(STATE, &[])?;
    ensure!(after == before, "{after}\n{before}");
    // A link that was cut off says so, and the page works on.
    page.open(&link[..link.len() - 40])?;
    let notice = page.ask("return document.getElementById('notice').textContent")?;
    ensure!(notice.as_str().is_some_and(|notice| notice.starts_with("This link is damaged")), "{notice}");
    Ok(())
}

fn reload(page: &Page) -> Result<()> {
    let before = make_state(page)?;
    page.browser.wait_for(
        "the state to be kept",
        "return localStorage.getItem('sallyport-playground')?.includes('x-tenant')",
    )?;
    page.open(&page.address)?;
    let after = page.ask(STATE)?;
    ensure!(after == before, "{after}\n{before}");
    Ok(())
}

/// Longest that a key may stop the page, in milliseconds.
const LONGEST_FREEZE: f64 = 300.0;

/// Presses keys at the editor and returns for how long each of them stopped the page: the longest task that followed, or
/// the time of the processor that the main thread took, whichever is less, since on a machine with other things to do a
/// task lasts longer than it works.
fn freezes(page: &Page, keys: &[&str]) -> Result<Vec<f64>> {
    page.ask(
        "window.tasks = []; window.watch?.disconnect(); \
         window.watch = new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((one) => one.duration))); \
         window.watch.observe({type: 'longtask'})",
    )?;
    let mut freezes = Vec::new();
    for key in keys {
        page.ask("window.tasks.length = 0")?;
        let before = page.browser.main_thread_time()?;
        page.browser.press(key)?;
        // What a key asks of the library begins, and the text is kept, within this time.
        let settled = "return new Promise((done) => setTimeout(() => done(window.tasks.concat(0)), 900))";
        let tasks = page.ask(settled)?;
        let worked = page.browser.main_thread_time()? - before;
        let longest = tasks.as_array().into_iter().flatten().filter_map(Value::as_f64).fold(0.0, f64::max);
        freezes.push(longest.min(worked));
    }
    Ok(freezes)
}

fn hostile_pastes(page: &Page) -> Result<()> {
    let policy = "apiVersion: security.istio.io/v1\\nkind: AuthorizationPolicy\\nmetadata: {name: p${index}, namespace: n${index % 50}}\\n\
                  spec:\\n  rules:\\n  - from:\\n    - source: {principals: [cluster.local/ns/a/sa/s${index}]}\\n    to:\\n    \
                  - operation: {paths: [/p/${index}/*]}\\n---\\n";
    let pastes = [
        ("nothing", "''".to_owned()),
        ("2 MB of lines", "('key: value of a line that is of some length\\n').repeat(45000)".to_owned()),
        ("one line of 2 MB", "'a'.repeat(2000000)".to_owned()),
        ("another language", "('规则 правило قاعدة 🙂 {[\\'\"`: - &* !%@\\n').repeat(2000)".to_owned()),
        ("NUL bytes", "('kind: \\u0000\\u0001\\u001b\\ufeff\\uffff\\n\\u0000').repeat(2000)".to_owned()),
        ("5,000 policies", format!("Array.from({{length: 5000}}, (_, index) => `{policy}`).join('')")),
    ];
    for (name, text) in pastes {
        page.choose_example("spelling")?;
        let paste = format!(
            "{EDITOR} window.pasted = {text}; editor.selectAll(); editor.focus(); editor.onPaste(window.pasted); editor.navigateFileEnd()"
        );
        page.ask(&paste)?;
        let freezes = freezes(page, &["q", "w", "e", "r", "t"])?;
        let last = Instant::now();
        println!("{name}: keys stopped the page for {freezes:.0?} ms");
        ensure!(
            freezes.iter().all(|freeze| *freeze <= LONGEST_FREEZE),
            "{name}: keys froze the page for {freezes:?} ms"
        );
        let kept =
            page.ask(&format!("{EDITOR} return editor.getValue() === window.pasted.replaceAll('\\r', '') + 'qwert'"))?;
        ensure!(kept == json!(true), "{name}: the text is another");
        page.ready().with_context(|| name.to_owned())?;
        // The last of the answers, which stop the page in turn.
        let shown = freezes_of_answers(page)?;
        println!(
            "{name}: answered {} ms later, which stopped the page for {shown:.0} ms at most",
            last.elapsed().as_millis()
        );
    }
    let title = page.ask("return document.getElementById('problems-title').textContent")?;
    ensure!(title.as_str().is_some_and(|title| title.contains("error")), "{title}");
    Ok(())
}

/// Returns the longest task since the last key.
fn freezes_of_answers(page: &Page) -> Result<f64> {
    let tasks = page.ask("return window.tasks.concat(0)")?;
    Ok(tasks.as_array().into_iter().flatten().filter_map(Value::as_f64).fold(0.0, f64::max))
}

fn hover(page: &Page) -> Result<()> {
    page.choose_example("shop")?;
    page.act(&format!("{EDITOR} editor.setValue(editor.getValue().replace('action: DENY', 'action: DENI'), -1)"), &[])?;
    let place = "const editor = document.getElementById('editor').env.editor; const found = editor.session.getAnnotations()[0]; \
                 editor.scrollToLine(found.row, true, false); editor.renderer.updateFull(true); \
                 const at = editor.renderer.textToScreenCoordinates(found.row, found.column + 1); \
                 return {x: at.pageX + 3, y: at.pageY + 6, text: found.text}";
    let place = page.ask(place)?;
    let number = |key: &str| place.get(key).and_then(Value::as_f64).with_context(|| format!("no {key}: {place}"));
    page.browser.point_at(number("x")?, number("y")?)?;
    let shown = page.browser.wait_for(
        "the tip",
        "const tip = [...document.querySelectorAll('.tip')].find((one) => one.getBoundingClientRect().height > 0); return tip ? tip.textContent : ''",
    )?;
    let shown = shown.as_str().unwrap_or_default();
    for part in place.get("text").and_then(Value::as_str).unwrap_or_default().split('\n') {
        ensure!(!part.is_empty() && shown.contains(part), "{part} is not in {shown}");
    }
    ensure!(shown.contains("unknown-value") && shown.contains("`DENI`"), "{shown}");
    // It goes with the pointer.
    page.browser.point_at(600.0, 40.0)?;
    page.browser.wait_for(
        "the tip to go",
        "return ![...document.querySelectorAll('.tip')].some((one) => one.getBoundingClientRect().height > 0)",
    )?;
    Ok(())
}

/// Folder with policies at two depths, and what is none.
fn policy_folder() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let policy = |name: &str| {
        format!(
            "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: {name}, namespace: shop}}, spec: {{}}}}\n"
        )
    };
    std::fs::create_dir_all(folder.path().join("team/deeper"))?;
    for (file, text) in [
        ("single.yaml", policy("single")),
        ("team/one.yaml", policy("one")),
        ("team/deeper/two.json", policy("two")),
        ("team/notes.txt", "no policy".to_owned()),
        ("team/.hidden.yaml", "no policy".to_owned()),
    ] {
        std::fs::write(folder.path().join(file), text)?;
    }
    Ok(folder)
}

/// Names and texts of the files that the page has.
fn files_of(page: &Page) -> Result<Value> {
    page.browser
        .wait_for("the files to be read", "return document.getElementById('notice').textContent.includes('read.')")?;
    page.ready()?;
    page.ask("return [...document.querySelectorAll('#files [role=tab]')].map((one) => one.textContent)")
}

fn dropped_files(page: &Page) -> Result<()> {
    let folder = policy_folder()?;
    let (single, team) = (folder.path().join("single.yaml"), folder.path().join("team"));
    page.browser.drop_files(300.0, 400.0, &[single.as_path()])?;
    let files = files_of(page)?;
    ensure!(files == json!(["shop.yaml", "single.yaml"]), "{files}");
    ensure!(page.ask("return document.getElementById('drop').hidden")? == json!(true), "the sign to drop stays");
    let text = page.ask(&format!("{EDITOR} return editor.getValue()"))?;
    ensure!(text.as_str().is_some_and(|text| text.contains("name: single")), "{text}");
    page.ask("document.getElementById('notice').textContent = ''")?;
    page.browser.drop_files(300.0, 400.0, &[team.as_path()])?;
    let files = files_of(page)?;
    ensure!(files == json!(["shop.yaml", "single.yaml", "team/deeper/two.json", "team/one.yaml"]), "{files}");
    Ok(())
}

fn file_dialogs(page: &Page) -> Result<()> {
    let folder = policy_folder()?;
    let (single, team) = (folder.path().join("single.yaml"), folder.path().join("team"));
    page.browser.choose_files("document.getElementById('file-input')", &[single.as_path()])?;
    let files = files_of(page)?;
    ensure!(files == json!(["shop.yaml", "single.yaml"]), "{files}");
    page.ask("document.getElementById('notice').textContent = ''")?;
    page.browser.choose_files("document.getElementById('folder-input')", &[team.as_path()])?;
    let files = files_of(page)?;
    let names: Vec<&str> = files.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(names.contains(&"team/one.yaml") && names.contains(&"team/deeper/two.json"), "{files}");
    Ok(())
}

/// Largest size of page and module, compressed, in bytes.
const LARGEST: u64 = 400_000;

fn small(_: &Page) -> Result<()> {
    let sizes = sizes()?;
    println!("{sizes:?}");
    let page_and_module = sizes.page + sizes.answers;
    ensure!(page_and_module < LARGEST, "page and module are {page_and_module} bytes, compressed");
    Ok(())
}

/// Longest time to the first answer, in milliseconds: many times what `make playground-measure` prints on an idle machine.
const LATEST_FIRST_ANSWER: f64 = 10_000.0;

fn first_answer(page: &Page) -> Result<()> {
    page.open(&page.address)?;
    let time = page.ask("return performance.getEntriesByName('answered')[0].startTime")?;
    println!("first answer after {time} ms");
    ensure!(time.as_f64().is_some_and(|time| time < LATEST_FIRST_ANSWER), "first answer after {time} ms");
    Ok(())
}

fn access(page: &Page) -> Result<()> {
    page.choose_example("shop")?;
    page.ask("document.getElementById('tab-access').click()")?;
    let read = "return {count: document.querySelector('#access .count').textContent, \
                        opened: document.querySelectorAll('#access tr.opened').length, \
                        closed: document.querySelectorAll('#access tr.closed').length, \
                        lines: document.querySelectorAll('#access path.opened').length}";
    let before = page.ask(read)?;
    ensure!(before == json!({"count": "3 of 3", "opened": 0, "closed": 0, "lines": 0}), "{before}");
    // GET becomes HEAD, and metrics are for everyone in another namespace.
    let edit = format!(
        "{EDITOR} editor.setValue(editor.getValue().replace('methods: [GET], paths: [/metrics]', 'methods: [GET], paths: [/metrics, /heap]'), 1)"
    );
    page.act(&edit, &[])?;
    let after = page.ask(read)?;
    ensure!(
        after == json!({"count": "4 of 4, 1 opened, 1 taken away", "opened": 1, "closed": 1, "lines": 2}),
        "{after}"
    );
    page.ask("const filter = document.querySelector('#access input'); filter.value = 'frontend'; filter.dispatchEvent(new Event('input'))")?;
    let filtered = page.ask(read)?;
    ensure!(filtered.get("count") == Some(&json!("2 of 4")), "{filtered}");
    page.choose_example("migration")?;
    page.ask("const filter = document.querySelector('#access input'); filter.value = ''; filter.dispatchEvent(new Event('input'))")?;
    // 200 policies open folded, and stay few.
    let many = format!(
        "{EDITOR} editor.setValue(Array.from({{length: 200}}, (_, index) => `apiVersion: security.istio.io/v1\\nkind: AuthorizationPolicy\\nmetadata: {{name: p${{index}}, namespace: n${{index % 10}}}}\\nspec: {{rules: [{{from: [{{source: {{principals: [cluster.local/ns/n${{index % 7}}/sa/s${{index}}]}}}}]}}]}}`).join('\\n---\\n'), 1)"
    );
    page.act(&many, &[])?;
    let nodes = page.ask("return document.querySelectorAll('#access .node').length")?;
    ensure!(nodes.as_u64().is_some_and(|nodes| (20..60).contains(&nodes)), "{nodes} nodes");
    Ok(())
}

fn renderings(page: &Page) -> Result<()> {
    page.choose_example("shop")?;
    let gateway = "const field = document.querySelector('[data-setting=gateway]'); field.value = 'shop'; \
                   field.dispatchEvent(new Event('input'))";
    page.act(gateway, &[])?;
    let buttons = page.ask("return document.querySelectorAll('#download button').length")?;
    ensure!(buttons == json!(7), "{buttons} buttons");
    for button in 0..7 {
        let folder = tempfile::tempdir()?;
        page.browser.download_into(folder.path())?;
        let click = "document.querySelectorAll('#download button')[arguments[0]].click()";
        page.browser.run(click, &[json!(button)])?;
        let files = wait::until("a file", Duration::from_secs(30), || {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(folder.path())? {
                let path = entry?.path();
                // One that is being written has another name.
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                files.push((path.to_string_lossy().into_owned(), text));
            }
            let is_whole = files.iter().all(|(name, text)| name.ends_with(".yaml") && !text.is_empty());
            Ok((is_whole && !files.is_empty()).then_some(files))
        });
        let notice = page.ask("return document.getElementById('notice').textContent")?;
        let files = files.with_context(|| format!("button {button}: {notice}"))?;
        // What is downloaded has the policies, or the requests.
        let part = if button == 0 { "cases:" } else { "frontend-takes-orders" };
        ensure!(files.iter().any(|(_, text)| text.contains(part)), "button {button}: {files:?}");
    }
    Ok(())
}

fn names_and_keys(page: &Page) -> Result<()> {
    let nameless = "const name = (one) => one.ariaLabel || one.labels?.[0]?.textContent.trim() || one.textContent.trim() || one.title; \
                    return [...document.querySelectorAll('button, input, select, textarea, summary')] \
                        .filter((one) => !one.hidden && !one.closest('.ace_editor') && !name(one)).map((one) => one.outerHTML)";
    let found = page.ask(nameless)?;
    ensure!(found == json!([]), "controls without a name: {found}");
    let ids = "const ids = [...document.querySelectorAll('[id]')].map((one) => one.id); return ids.filter((id, at) => ids.indexOf(id) !== at)";
    ensure!(page.ask(ids)? == json!([]), "two elements have one id");
    // Tab leads from the top through the editor, which it passes, to the requests.
    page.ask("document.getElementById('scheme').focus()")?;
    let mut reached = Vec::new();
    for _ in 0..30 {
        page.browser.press("\u{E004}")?;
        let here =
            page.ask("const one = document.activeElement; return one.id || one.className || one.name || one.tagName")?;
        reached.push(here.as_str().unwrap_or_default().to_owned());
    }
    for expected in ["add-file", "ace_text-input", "tab-requests", "add-request"] {
        let is_there =
            reached.iter().any(|one| one.contains(expected) || expected == "ace_text-input" && one.contains("ace_"));
        ensure!(is_there, "{expected} is not reached by Tab: {reached:?}");
    }
    // The arrow keys walk the list of requests.
    page.ask("document.querySelector('.request-list button').focus()")?;
    page.browser.press("\u{E015}")?;
    let current =
        page.ask("return [...document.querySelectorAll('.request-list button')].indexOf(document.activeElement)")?;
    ensure!(current == json!(1), "{current}");
    Ok(())
}

/// Hosts that Chromium asks by itself, whatever page is open.
const BROWSERS_OWN: [&str; 4] = [".google.com", ".googleapis.com", ".gstatic.com", ".duckduckgo.com"];

fn no_request(page: &Page) -> Result<()> {
    let before = page.server.requests().len();
    ensure!(before > 0, "the server counts nothing");
    for example in examples()? {
        page.choose_example(&example.name)?;
    }
    page.act(
        &format!("{EDITOR} editor.insert('# https://other.example/x.png <img src=https://other.example/y.png>\\n')"),
        &[],
    )?;
    page.ask("document.getElementById('tab-access').click(); document.getElementById('tab-requests').click(); document.getElementById('share').click()")?;
    page.browser.wait_for("the link", "return location.hash.startsWith('#p=')")?;
    let asked: Vec<String> = page.server.requests().into_iter().skip(before).collect();
    // The second module of the page, once.
    let is_own = |request: &&String| request.contains("/wasm/all.js ") || request.contains("/wasm/all_bg.wasm ");
    let (own, others): (Vec<&String>, Vec<&String>) = asked.iter().partition(is_own);
    ensure!(own.len() == 2 && own.first() != own.last(), "the second module was asked for as {own:?}");
    ensure!(others.is_empty(), "the page asked its server: {others:?}");
    // A policy that forbids it stands behind the page's good conduct.
    let tries = "return Promise.all([fetch('http://other.example/').then(() => 'sent', () => 'stopped'), \
                 new Promise((done) => { const image = new Image(); image.onload = () => done('sent'); image.onerror = () => done('stopped'); image.src = 'http://other.example/x.png'; })])";
    ensure!(page.ask(tries)? == json!(["stopped", "stopped"]), "the Content-Security-Policy lets requests out");
    let is_of_browser = |request: &String| BROWSERS_OWN.iter().any(|host| request.ends_with(host));
    let seen: Vec<String> = page.proxy.requests().into_iter().filter(|request| !is_of_browser(request)).collect();
    ensure!(seen.is_empty(), "the proxy saw {seen:?}");
    let errors = page.browser.log()?;
    let refused: Vec<&Value> = errors
        .as_array()
        .into_iter()
        .flatten()
        .filter(|line| line.get("message").and_then(Value::as_str).is_some_and(|text| !text.contains("other.example")))
        .collect();
    ensure!(refused.is_empty(), "{refused:?}");
    Ok(())
}
