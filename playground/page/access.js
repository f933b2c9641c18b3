// Who may reach what: a picture of callers, rules and workloads, and the same as a table.
import { element } from './dom.js';

// A column of more than this opens with its namespaces folded.
const MANY = 24;
const MOST_ROWS = 400;
const SVG = 'http://www.w3.org/2000/svg';

// Lists values, each of which stays on a line.
const listed = (values) => (values.length === 0 ? ['any'] : values.flatMap((value, index) => [
  element('span', { class: 'whole' }, value + (index + 1 < values.length ? ',' : '')), ' ']));

function words(row) {
  const parts = [row.methods.join(' '), row.paths.join(' '), row.hosts.join(' '), row.ports.map((port) => `:${port}`).join(' ')];
  return [parts.filter(Boolean).join(' ') || 'anything', ...row.conditions].join(', ');
}

const keyOf = (row) => JSON.stringify([row.from, row.to, row.methods, row.paths, row.hosts, row.ports, row.conditions, row.policy, row.rule, row.dryRun]);

// Splits a name as people read it: the namespace that it is of, and the rest.
function callerName(from) {
  const principal = from.match(/^(.*)\/ns\/([^/]+)\/sa\/(.+)$/);
  if (principal) return { group: principal[2], label: principal[3] };
  const namespace = from.match(/^namespace (.+)$/);
  return namespace ? { group: namespace[1], label: `all of ${namespace[1]}` } : { group: '', label: from };
}

function workloadName(to) {
  const at = to.indexOf('/');
  const [group, label] = at < 0 ? [to, ''] : [to.slice(0, at), to.slice(at + 1)];
  if (group === '*') return { group: '', label: label || 'every workload' };
  return { group, label: label || `all of ${group}` };
}

function ruleName(row) {
  if (!row.policy) return { group: '', label: 'defaultAction: ALLOW' };
  const [group, name] = row.policy.split('/');
  return { group, label: `${name} rule ${row.rule}` };
}

// Lets a line break after what separates the parts of a name.
const breakable = (text) => text.split(/(?<=[/=,-])/).flatMap((part) => [part, element('wbr')]);

const STATES = ['allowed', 'dry-run', 'closed', 'opened'];

export class Access {
  #rows = [];
  #baseline = null;
  #text = '';
  // Namespaces that a person folded or unfolded, by column.
  #folds = new Map();
  #graph = element('div', { class: 'graph' });
  #table = element('div', { class: 'table' });
  #count = element('span', { class: 'count', role: 'status' });
  #edges = [];

  constructor(panel, { goTo }) {
    this.panel = panel;
    this.goTo = goTo;
    const filter = element('input', {
      type: 'search', placeholder: 'Filter by caller, rule or workload', 'aria-label': 'Filter', spellcheck: 'false',
      oninput: () => { this.#text = filter.value.trim().toLowerCase(); this.draw(); },
    });
    const compare = element('button', {
      type: 'button', title: 'Changes from here on are shown in red',
      onclick: () => { this.#baseline = this.#rows; this.draw(); },
    }, 'Compare from here');
    panel.append(element('div', { class: 'access-head' }, filter, compare, this.#count), this.#graph, this.#table);
    new ResizeObserver(() => this.#drawLines()).observe(this.#graph);
  }

  // Forgets what is compared with: the next rows are the new baseline.
  forget() {
    this.#baseline = null;
    this.#folds.clear();
  }

  setRows(rows) {
    this.#rows = rows;
    this.#baseline ??= rows;
    if (!this.panel.hidden) this.draw();
  }

  // Returns the rows of now and, of the baseline, those that are gone; each with its state.
  get #compared() {
    const before = new Set(this.#baseline.map(keyOf));
    const now = new Set(this.#rows.map(keyOf));
    const unchanged = (row) => (row.dryRun ? 'dry-run' : 'allowed');
    const current = this.#rows.map((row) => ({ ...row, state: before.has(keyOf(row)) ? unchanged(row) : 'opened' }));
    const gone = this.#baseline.filter((row) => !now.has(keyOf(row))).map((row) => ({ ...row, state: 'closed' }));
    return [...current, ...gone];
  }

  draw() {
    const rows = this.#baseline ? this.#compared : [];
    const text = this.#text;
    const found = rows.filter((row) => !text || `${row.from} ${row.policy ?? ''} ${row.to} ${words(row)}`.toLowerCase().includes(text));
    const changes = (state) => found.filter((row) => row.state === state).length;
    const parts = [`${found.length} of ${rows.length}`, changes('opened') && `${changes('opened')} opened`, changes('closed') && `${changes('closed')} taken away`];
    this.#count.textContent = parts.filter(Boolean).join(', ');
    this.#drawGraph(found);
    this.#drawTable(found);
  }

  #drawGraph(rows) {
    this.#edges = [];
    if (rows.length === 0) {
      this.#graph.replaceChildren();
      return;
    }
    const columns = [
      { title: 'Callers', name: (row) => ({ ...callerName(row.from), key: row.from }) },
      { title: 'Rules', name: (row) => ({ ...ruleName(row), key: `${row.policy} ${row.rule}`, row }) },
      { title: 'Workloads', name: (row) => ({ ...workloadName(row.to), key: row.to }) },
    ].map((column, index) => this.#column(column, index, rows));
    for (const row of rows) {
      const [caller, rule, workload] = columns.map((column) => column.nodeOf(row));
      this.#edge(caller, rule, row.state);
      this.#edge(rule, workload, row.state);
    }
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('aria-hidden', 'true');
    for (const edge of this.#edges) {
      edge.path = document.createElementNS(SVG, 'path');
      edge.path.setAttribute('class', edge.state);
      svg.append(edge.path);
    }
    this.#graph.replaceChildren(svg, ...columns.map((column) => column.node));
    this.#drawLines();
  }

  #column({ title, name }, index, rows) {
    const groups = new Map();
    for (const row of rows) {
      const one = name(row);
      if (!groups.has(one.group)) groups.set(one.group, new Map());
      const nodes = groups.get(one.group);
      if (!nodes.has(one.key)) nodes.set(one.key, { ...one, details: new Set() });
      if (one.row) nodes.get(one.key).details.add(words({ ...one.row, conditions: [] }));
    }
    const count = [...groups.values()].reduce((sum, nodes) => sum + nodes.size, 0);
    const nodes = new Map();
    const column = element('div', { class: 'column' }, element('h3', {}, `${title} (${count})`));
    for (const [group, members] of [...groups].sort(([one], [other]) => (one < other ? -1 : 1))) {
      const id = `${index} ${group}`;
      const isFolded = group !== '' && (this.#folds.get(id) ?? (count > MANY && members.size > 1));
      const fold = () => { this.#folds.set(id, !isFolded); this.draw(); };
      if (isFolded) {
        const folded = this.#node(group, `${members.size} folded`, fold, { 'aria-expanded': 'false' });
        column.append(folded);
        for (const key of members.keys()) nodes.set(key, folded);
        continue;
      }
      if (group !== '' && groups.size + count > 3) {
        column.append(element('button', { type: 'button', class: 'group', 'aria-expanded': 'true', title: 'Fold', onclick: fold }, group));
      }
      for (const [key, { label, row, details }] of members) {
        const some = [...details].slice(0, 3).join('; ') + (details.size > 3 ? '; …' : '');
        const node = this.#node(label, some, () => row?.file && this.goTo(row), {});
        column.append(node);
        nodes.set(key, node);
      }
    }
    return { node: column, nodeOf: (row) => nodes.get(name(row).key) };
  }

  #node(label, small, onclick, properties) {
    const light = (isLit) => () => this.#light(node, isLit);
    const node = element('button', {
      type: 'button', class: 'node', onclick, onmouseenter: light(true), onmouseleave: light(false), onfocus: light(true), onblur: light(false), ...properties,
    }, ...breakable(label), small && element('small', {}, small));
    return node;
  }

  #edge(from, to, state) {
    const known = this.#edges.find((edge) => edge.from === from && edge.to === to);
    if (!known) this.#edges.push({ from, to, state });
    else if (STATES.indexOf(state) > STATES.indexOf(known.state)) known.state = state;
  }

  #light(node, isLit) {
    this.#graph.classList.toggle('lighting', isLit);
    const touching = this.#edges.filter((edge) => edge.from === node || edge.to === node);
    const rules = new Set(touching.flatMap((edge) => [edge.from, edge.to]));
    for (const edge of this.#edges) {
      const isTouched = touching.includes(edge) || (edge.from !== node && rules.has(edge.from) && !touching.some((one) => one.from === edge.from && one.to === node));
      edge.path.classList.toggle('lit', isLit && isTouched);
    }
  }

  #drawLines() {
    const frame = this.#graph.getBoundingClientRect();
    if (frame.width === 0) return;
    const middle = (node, side) => {
      const box = node.getBoundingClientRect();
      return [box[side] - frame.left, box.top + box.height / 2 - frame.top];
    };
    const paths = this.#edges.map((edge) => {
      const [startX, startY] = middle(edge.from, 'right');
      const [endX, endY] = middle(edge.to, 'left');
      const half = (startX + endX) / 2;
      return `M${startX} ${startY} C${half} ${startY} ${half} ${endY} ${endX} ${endY}`;
    });
    this.#edges.forEach((edge, index) => edge.path.setAttribute('d', paths[index]));
  }

  #drawTable(rows) {
    if (rows.length === 0) {
      this.#table.replaceChildren(element('p', { class: 'empty' }, this.#rows.length ? 'Nothing of it matches the filter.' : 'No ALLOW rule lets anyone in.'));
      return;
    }
    const cells = ['Caller', 'Workload', 'Methods', 'Paths', 'Further conditions', 'Rule'];
    const notes = { 'dry-run': 'dry run', opened: 'opened', closed: 'taken away' };
    const body = rows.slice(0, MOST_ROWS).map((row) => {
      const further = [...row.hosts.map((host) => `host ${host}`), ...row.ports.map((port) => `port ${port}`), ...row.conditions];
      const note = notes[row.state];
      return element('tr', { class: row.state },
        ...[row.from, row.to].map((text) => element('td', {}, ...breakable(text))),
        ...[row.methods, row.paths].map((values) => element('td', {}, ...listed(values))),
        element('td', {}, ...breakable(further.join(', '))),
        element('td', {}, ...breakable(row.policy ? `${row.policy} rule ${row.rule}` : 'defaultAction'), note && element('span', { class: 'change' }, ` ${note}`)));
    });
    const more = rows.length - body.length;
    this.#table.replaceChildren(element('table', {},
      element('caption', { class: 'visually-hidden' }, 'Who may reach what'),
      element('thead', {}, element('tr', {}, ...cells.map((cell) => element('th', { scope: 'col' }, cell)))),
      element('tbody', {}, ...body)), more > 0 && element('p', { class: 'empty' }, `${more} more: filter to see them.`) || '');
  }
}
