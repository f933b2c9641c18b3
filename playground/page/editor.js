// The editor, with a session for each file.
/* global ace */
import { byId, element } from './dom.js';

// Ace would write style sheets into the page, which its Content-Security-Policy forbids: ace.css is linked instead.
ace.config.set('useStrictCSP', true);
ace.config.set('basePath', new URL('ace', import.meta.url).pathname);

const { Range } = ace.require('ace/range');
const { HoverTooltip } = ace.require('ace/tooltip');

// A longer line would be laid out as a whole at every keystroke.
const LONGEST_LINE = 20_000;

export class Editor {
  #editor = ace.edit(byId('editor'), { useWorker: false });
  #sessions = [];
  #findings = [];
  #marks = new Map();
  #long = element('p', { class: 'notice', hidden: true });

  constructor(onChange, onFile) {
    this.onChange = onChange;
    this.onFile = onFile;
    this.#editor.setTheme({ cssClass: 'ace-sallyport', cssText: '', isDark: false });
    this.#editor.setOptions({
      enableKeyboardAccessibility: true,
      textInputAriaLabel: 'Policies, as YAML or JSON',
      scrollPastEnd: 0.2,
      showPrintMargin: false,
      displayIndentGuides: true,
      fixedWidthGutter: true,
      customScrollbar: false,
    });
    this.#editor.renderer.setPadding(10);
    const tip = new HoverTooltip();
    tip.setDataProvider((event, editor) => {
      const { row, column } = event.getDocumentPosition();
      const own = this.#findings.filter((finding) => this.#isCurrent(finding) && finding.line === row + 1);
      const finding = own.find((one) => column >= one.column - 1 && column <= one.column - 1 + Math.max(one.length, 1));
      if (!finding) return tip.hide();
      const range = new Range(row, finding.column - 1, row, finding.column - 1 + Math.max(finding.length, 1));
      tip.showForRange(editor, range, describe(finding), event);
    });
    tip.addToEditor(this.#editor);
  }

  // Takes these files in place of those before.
  open(files, index) {
    this.#marks.clear();
    this.#findings = [];
    this.#sessions = files.map((file) => this.#session(file));
    this.show(index);
  }

  add(file) {
    this.#sessions.push(this.#session(file));
    this.show(this.#sessions.length - 1);
  }

  remove(index) {
    this.#sessions.splice(index, 1);
    if (this.#sessions.length === 0) this.#sessions.push(this.#session({ name: 'policies.yaml', text: '' }));
    this.show(Math.min(index, this.#sessions.length - 1));
  }

  rename(index, name) {
    this.#sessions[index].fileName = name;
  }

  show(index) {
    this.index = index;
    this.#editor.setSession(this.#sessions[index]);
    this.#draw();
    this.onFile();
  }

  get names() {
    return this.#sessions.map((session) => session.fileName);
  }

  get files() {
    return this.#sessions.map((session) => ({ name: session.fileName, text: session.getValue() }));
  }

  // Shows a place of a file.
  goTo(name, line, column = 1) {
    const index = this.names.indexOf(name);
    if (index < 0) return;
    if (index !== this.index) this.show(index);
    this.#editor.scrollToLine(line - 1, true, true);
    this.#editor.gotoLine(line, column - 1, true);
  }

  // Brings a place into view, where it is not, and leaves the cursor.
  reveal(place) {
    const index = this.names.indexOf(place?.file);
    if (index < 0) return;
    if (index !== this.index) this.show(index);
    const { renderer } = this.#editor;
    const isVisible = place.line - 1 > renderer.getFirstVisibleRow() && place.line + 3 < renderer.getLastVisibleRow();
    if (!isVisible) renderer.scrollToRow(Math.max(place.line - 6, 0));
  }

  focus() {
    this.#editor.focus();
  }

  resize() {
    this.#editor.resize();
  }

  setFindings(findings) {
    this.#findings = findings;
    this.#draw();
  }

  // Lights up the lines of rules: each `{file, line, column, kind}`.
  setRules(rules) {
    this.rules = rules;
    this.#draw();
  }

  #isCurrent(place) {
    return place.file === this.#sessions[this.index].fileName;
  }

  #session({ name, text }) {
    const session = ace.createEditSession(text, 'ace/mode/text');
    session.fileName = name;
    // The mode brings a worker of its own unless it is told before.
    session.setOptions({ tabSize: 2, useSoftTabs: true, useWorker: false });
    session.setMode('ace/mode/yaml');
    session.setUndoManager(new ace.UndoManager());
    guardLongLines(session);
    session.on('change', (delta) => {
      if (delta.lines.some((line) => line.length > LONGEST_LINE)) guardLongLines(session);
      this.onChange();
    });
    return session;
  }

  #draw() {
    const session = this.#sessions[this.index];
    for (const id of this.#marks.get(session) ?? []) session.removeMarker(id);
    const ids = [];
    const own = this.#findings.filter((finding) => this.#isCurrent(finding));
    for (const { line, column, length, severity } of own) {
      const range = new Range(line - 1, column - 1, line - 1, column - 1 + Math.max(length, 1));
      ids.push(session.addMarker(range, `mark mark-${severity}`, 'text', true));
    }
    for (const rule of (this.rules ?? []).filter((rule) => this.#isCurrent(rule))) {
      const range = new Range(rule.line - 1, 0, lastLine(session, rule) - 1, 1);
      ids.push(session.addMarker(range, `rule rule-${rule.kind}`, 'fullLine'));
    }
    this.#marks.set(session, ids);
    session.setAnnotations(own.map((finding) => ({
      row: finding.line - 1,
      column: finding.column - 1,
      type: finding.severity === 'note' ? 'info' : finding.severity,
      text: `${finding.message}\n${finding.help}\n${finding.code}`,
    })));
  }
}

// Ace colours and measures a line as a whole, again and again. A file with a very long one gets no colours, and each
// character of such a line counts as one column: Ace shows the first 10,000 of them.
function guardLongLines(session) {
  const isLong = session.doc.getAllLines().some((line) => line.length > LONGEST_LINE);
  if (!isLong || session.hasLongLines) return;
  session.hasLongLines = true;
  session.setMode('ace/mode/text');
  const measure = session.$getStringScreenWidth;
  session.$getStringScreenWidth = function (text, most, column) {
    if (!text || text.length <= LONGEST_LINE) return measure.call(this, text, most, column);
    const width = Math.min(text.length, most ?? Infinity);
    return [width, width];
  };
}

// Returns the last line of the rule that begins at a place: lines that are indented as deep as its first key belong to it.
function lastLine(session, { line, column }) {
  const count = session.getLength();
  let last = line;
  for (let next = line + 1; next <= count; next += 1) {
    const text = session.getLine(next - 1);
    if (text.trim() === '') continue;
    if (text.search(/\S/) < column - 1 || text.startsWith('---')) break;
    last = next;
  }
  return column > 1 ? last : line;
}

function describe(finding) {
  return element('div', { class: 'tip' },
    element('p', {}, element('span', { class: `severity ${finding.severity}` }, finding.severity), ` ${finding.message}`),
    element('p', {}, finding.help),
    element('p', {}, element('code', {}, finding.code)));
}
