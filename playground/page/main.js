// The page: what a person changes goes to the library, and its answers to where they are shown.
import { Access } from './access.js';
import { arrowKeys, byId, debounce, download, element, notice } from './dom.js';
import { Editor } from './editor.js';
import { Library } from './library.js';
import { Requests } from './requests.js';
import { fromFragment, readState, save, saved, toFragment } from './state.js';

const root = document.documentElement;
const settings = [...document.querySelectorAll('[data-setting]')];
let about = { title: '', about: '' };
// True from a change until all answers to it are there.
let isDirty = true;

const settle = () => {
  if (isDirty || !library.isIdle) return;
  root.dataset.state = 'ready';
  performance.mark('answered');
};
const library = new Library(settle);
const editor = new Editor(changed, drawFiles);
const requests = new Requests({
  onChange: changed,
  onSelect: () => {
    lightRules();
    editor.reveal(requests.answer?.policy ? requests.answer : requests.answer?.nearest);
    keep();
  },
  goTo: (place) => editor.goTo(place.file, place.line, place.column),
  readCurl: async (line) => {
    const read = await ask('curl', line);
    if (read?.error) notice(`curl: ${read.error}`, true);
    return read?.error ? null : read;
  },
});
const access = new Access(byId('access'), {
  goTo: (place) => editor.goTo(place.file, place.line, place.column),
});

function state() {
  const own = Object.fromEntries(settings.map((field) => [field.dataset.setting, field.value.trim()]));
  return {
    ...about, files: editor.files, requests: requests.requests, settings: own, file: editor.index, request: requests.index,
  };
}

function open(next) {
  about = { title: next.title, about: next.about };
  byId('about').hidden = !next.about;
  byId('about').replaceChildren(element('strong', {}, next.title), ` ${next.about}`);
  for (const field of settings) field.value = next.settings[field.dataset.setting];
  requests.open(next.requests, next.request);
  editor.open(next.files, next.file);
  access.forget();
  changed();
}

const keep = debounce(400, () => {
  if (!save(state())) notice('This browser has no room for these files: a reload would lose them.', true);
});
const answerSoon = debounce(150, answer);

function changed() {
  isDirty = true;
  root.dataset.state = 'busy';
  keep();
  answerSoon();
}

async function ask(call, input) {
  try {
    return await library.ask(call, input);
  } catch (error) {
    const stopped = `The library stopped: ${error.message}`;
    notice(stopped, true);
    return { error: stopped };
  }
}

async function answer() {
  const { files, settings: own } = state();
  const input = { files, settings: own };
  isDirty = false;
  const asked = [
    ask('explain', { ...input, requests: requests.calls }).then((got) => got && showAnswers(got)),
    ask('check', input).then((got) => got && showFindings(got)),
    ask('access', input).then((got) => got && showAccess(got)),
  ];
  await Promise.all(asked);
  settle();
}

function showAnswers(got) {
  const answers = got.answers ?? requests.requests.map(() => ({ error: got.error }));
  if (answers.length !== requests.requests.length) return;
  requests.setAnswers(answers);
  lightRules();
}

function lightRules() {
  const answered = requests.answer;
  const rules = [];
  if (answered?.file && answered.policy) rules.push({ ...answered, kind: answered.answer });
  if (answered?.nearest?.file) rules.push({ ...answered.nearest, kind: 'nearest' });
  editor.setRules(rules);
}

function showFindings(got) {
  const findings = got.findings ?? [];
  editor.setFindings(findings);
  drawFiles();
  const count = (severity, word) => {
    const found = findings.filter((finding) => finding.severity === severity).length;
    return found ? `${found} ${word}${found === 1 ? '' : 's'}` : '';
  };
  const counts = [count('error', 'error'), count('warning', 'warning'), count('note', 'note')].filter(Boolean);
  const title = byId('problems-title');
  title.textContent = got.error ?? (counts.join(', ') || 'No errors and no warnings');
  title.className = findings.some((one) => one.severity === 'error') ? 'error' : counts.length ? 'warning' : '';
  byId('problems').replaceChildren(...findings.slice(0, 200).map(problem));
}

function problem(finding) {
  const { severity, message, help, file, line, column, code } = finding;
  return element('li', {}, element('button', { type: 'button', onclick: () => { editor.goTo(file, line, column); editor.focus(); } },
    element('span', { class: `severity ${severity}` }, severity),
    element('span', { class: 'text' }, `${message} `,
      element('span', { class: 'detail' },
        file !== 'command line' && element('span', { class: 'where' }, `${file}:${line} `),
        element('span', { class: 'help' }, `${help} (${code})`)))));
}

function showAccess(got) {
  const rows = got.access ?? [];
  access.setRows(rows);
  const unique = (values) => [...new Set(values)].sort();
  const callers = rows.map((row) => row.from).filter((from) => /^[^ *]+\/ns\/[^ *]+\/sa\/[^ *]+$/.test(from));
  const workloads = rows.map((row) => row.to).filter((to) => /^[^ *]+\/[^ *]+=[^ *]+$/.test(to));
  requests.suggest(unique(callers).slice(0, 100), unique(workloads).slice(0, 100));
}

function drawFiles() {
  const faulty = new Set(lastFaultyFiles());
  const tabs = editor.names.map((name, index) => {
    const isSelected = index === editor.index;
    return element('span', { class: `${isSelected ? 'selected' : ''} ${faulty.has(name) ? 'faulty' : ''}` },
      element('button', {
        type: 'button', role: 'tab', 'aria-selected': String(isSelected), tabindex: isSelected ? 0 : -1, 'aria-controls': 'editor',
        title: 'Double-click to rename', onclick: () => editor.show(index), ondblclick: () => rename(index),
      }, name),
      editor.names.length > 1 && element('button', {
        type: 'button', class: 'remove', 'aria-label': `Remove ${name}`, title: `Remove ${name}`,
        onclick: () => { editor.remove(index); changed(); },
      }, '×'));
  });
  const focused = byId('files').contains(document.activeElement);
  byId('files').replaceChildren(...tabs);
  if (focused) tabs[editor.index]?.firstElementChild.focus();
}

function lastFaultyFiles() {
  return [...byId('problems').querySelectorAll('.severity.error')].map((severity) => {
    const where = severity.parentElement.querySelector('.where')?.textContent.trim() ?? '';
    return where.slice(0, where.lastIndexOf(':'));
  });
}

function rename(index) {
  const tab = byId('files').children[index].firstElementChild;
  const field = element('input', { 'aria-label': 'File name', value: editor.names[index], size: 20 });
  const done = () => {
    const name = field.value.trim();
    if (name && !editor.names.includes(name)) editor.rename(index, name);
    drawFiles();
    changed();
  };
  field.addEventListener('blur', done);
  field.addEventListener('keydown', (event) => event.key === 'Enter' && field.blur());
  tab.replaceWith(field);
  field.select();
}

const newName = (wanted) => {
  const [, stem, ending] = wanted.match(/^(.*?)(\.[^.]*)?$/);
  let name = wanted;
  for (let count = 2; editor.names.includes(name); count += 1) name = `${stem}-${count}${ending ?? ''}`;
  return name;
};

// Reads files of a person's folder. What is not YAML or JSON by its name is left out.
async function takeFiles(files, isAdded) {
  const wanted = [...files].filter((file) => /^[^.].*\.(ya?ml|json)$/i.test(file.name));
  if (wanted.length === 0) return notice('None of these files ends in .yaml, .yml or .json.', true);
  const read = await Promise.all(wanted.map(async (file) => ({
    name: file.webkitRelativePath || file.path || file.name, text: await file.text(),
  })));
  read.sort((one, other) => (one.name < other.name ? -1 : 1));
  const before = isAdded ? state() : { ...state(), title: '', about: '' };
  const kept = isAdded ? before.files.filter((file) => file.text.trim() && read.every((one) => one.name !== file.name)) : [];
  open(readState({ ...before, files: [...kept, ...read], file: kept.length }));
  notice(`${read.length} file${read.length === 1 ? '' : 's'} read.`);
}

async function filesOfEntry(entry, path = '') {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    file.path = path + file.name;
    return [file];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    for (const one of some) if (!one.name.startsWith('.')) found.push(...await filesOfEntry(one, `${path}${entry.name}/`));
  }
  return found;
}

function setUpFiles() {
  byId('add-file').addEventListener('click', () => { editor.add({ name: newName('policies.yaml'), text: '' }); editor.focus(); changed(); });
  for (const [button, field] of [['open-files', 'file-input'], ['open-folder', 'folder-input']]) {
    byId(button).addEventListener('click', () => byId(field).click());
    byId(field).addEventListener('change', (event) => { takeFiles(event.target.files, true); event.target.value = ''; });
  }
  const drop = byId('drop');
  const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
  document.addEventListener('dragenter', (event) => hasFiles(event) && (drop.hidden = false));
  drop.addEventListener('dragleave', () => { drop.hidden = true; });
  document.addEventListener('dragover', (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener('drop', async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    drop.hidden = true;
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = entries.length ? (await Promise.all(entries.map((entry) => filesOfEntry(entry)))).flat() : event.dataTransfer.files;
    takeFiles(files, true);
  });
}

async function setUpExamples() {
  const examples = await (await fetch('examples.json')).json();
  const select = byId('example');
  select.append(...examples.map(({ name, title }) => element('option', { value: name }, title)));
  select.addEventListener('change', () => {
    const chosen = examples.find(({ name }) => name === select.value);
    if (chosen) open(readState(chosen));
    select.value = '';
  });
  return examples;
}

function setUpOut() {
  byId('share').addEventListener('click', async () => {
    const link = new URL(await toFragment(state()), location.href);
    history.replaceState(null, '', link);
    try {
      await navigator.clipboard.writeText(link.href);
      notice(`Link copied, ${link.href.length} characters. All of it is in the part of the link that no browser sends.`);
    } catch {
      notice('The link is in the address bar. All of it is in the part that no browser sends.');
    }
  });
  const menu = byId('download');
  document.addEventListener('click', (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener('keydown', (event) => { if (event.key === 'Escape') { menu.open = false; menu.firstElementChild.focus(); } });
  menu.addEventListener('click', async ({ target }) => {
    const button = target.closest('button');
    if (!button) return;
    menu.open = false;
    const { files, settings: own } = state();
    if ('testFile' in button.dataset) {
      const got = await ask('test_files', { files, settings: own, requests: requests.calls });
      if (!got?.files) return;
      if (got.files.length === 0) notice('No request to a workload has an answer.', true);
      got.files.forEach((file) => download(file.name, file.text));
      return;
    }
    const input = { files, settings: { ...own, workload: requests.current.to }, place: button.dataset.place, image: byId('image').value.trim() };
    const got = await ask('render', input);
    if (!got) return;
    if (got.error) return notice(`Nothing to download: ${got.faults?.[0] ? `${got.faults[0].message}; ${got.faults[0].help}` : got.error}`, true);
    got.files.forEach((file) => download(file.name, file.text));
    notice([`${got.files.map((file) => file.name).join(', ')} downloaded.`, ...got.notes].join(' '));
  });
}

function setUpScheme() {
  const words = { auto: 'Auto', light: 'Light', dark: 'Dark' };
  const system = matchMedia('(prefers-color-scheme: dark)');
  let scheme = 'auto';
  try { scheme = localStorage.getItem('sallyport-scheme') ?? 'auto'; } catch { /* Storage is off. */ }
  const draw = () => {
    root.dataset.scheme = scheme === 'auto' ? (system.matches ? 'dark' : 'light') : scheme;
    const button = byId('scheme');
    button.textContent = words[scheme];
    button.setAttribute('aria-label', `Colours: ${scheme === 'auto' ? 'as the system' : scheme}`);
  };
  byId('scheme').addEventListener('click', () => {
    scheme = { auto: 'light', light: 'dark', dark: 'auto' }[scheme] ?? 'auto';
    try { localStorage.setItem('sallyport-scheme', scheme); } catch { /* Storage is off. */ }
    draw();
  });
  system.addEventListener('change', draw);
  draw();
}

function setUpViews() {
  const views = [['tab-requests', 'requests'], ['tab-access', 'access']];
  for (const [tab, view] of views) {
    byId(tab).addEventListener('click', () => {
      for (const [otherTab, otherView] of views) {
        const isSelected = otherView === view;
        byId(otherTab).setAttribute('aria-selected', String(isSelected));
        byId(otherTab).tabIndex = isSelected ? 0 : -1;
        byId(otherView).hidden = !isSelected;
      }
      byId('add-request').hidden = view !== 'requests';
      if (view === 'access') access.draw();
    });
  }
  arrowKeys(document.querySelector('.views'));
  arrowKeys(byId('files'));
}

async function openFragment() {
  try {
    return await fromFragment(location.hash);
  } catch {
    notice('This link is damaged: it was cut off or changed on its way.', true);
    return null;
  }
}

setUpScheme();
setUpViews();
setUpFiles();
setUpOut();
for (const field of settings) field.addEventListener('input', changed);
addEventListener('hashchange', async () => {
  const shared = await openFragment();
  if (shared) open(shared);
});
const examples = setUpExamples();
open(await openFragment() ?? saved() ?? readState((await examples)[0]));
