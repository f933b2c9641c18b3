// The saved requests: a list with their answers, the answer of one of them, and the form that changes it.
import { byId, element } from './dom.js';
import { emptyRequest, toCall } from './state.js';

const WORDS = { allowed: 'Allowed', denied: 'Denied', 'would-be-denied': 'Would be denied' };

export class Requests {
  #list = byId('request-list');
  #form = byId('request');
  #answer = byId('answer');
  #answers = [];

  constructor({ onChange, onSelect, goTo, readCurl }) {
    Object.assign(this, { onChange, onSelect, goTo, readCurl });
    this.#form.addEventListener('input', (event) => event.target.name && this.#edit());
    this.#form.addEventListener('submit', (event) => event.preventDefault());
    byId('add-request').addEventListener('click', () => this.#add(emptyRequest()));
    byId('copy-request').addEventListener('click', () => this.#add({ ...this.current, name: '' }));
    byId('delete-request').addEventListener('click', () => this.#delete());
    byId('curl').addEventListener('change', () => this.#fillFromCurl());
    this.#list.addEventListener('keydown', (event) => this.#move(event));
  }

  open(requests, index) {
    this.requests = requests;
    this.index = index;
    this.#answers = [];
    this.#fillForm();
    this.#draw();
  }

  get current() {
    return this.requests[this.index];
  }

  get calls() {
    return this.requests.map(toCall);
  }

  // Returns the answer to the selected request.
  get answer() {
    return this.#answers[this.index];
  }

  setAnswers(answers) {
    this.#answers = answers;
    this.#draw();
  }

  // Offers names that the policies have.
  suggest(callers, workloads) {
    byId('callers').replaceChildren(...callers.map((value) => element('option', { value })));
    byId('workloads').replaceChildren(...workloads.map((value) => element('option', { value })));
  }

  #add(request) {
    this.requests.splice(this.index + 1, 0, request);
    this.#answers.splice(this.index + 1, 0, undefined);
    this.#select(this.index + 1);
    this.onChange();
    this.#form.elements.from.focus();
  }

  #delete() {
    this.requests.splice(this.index, 1);
    this.#answers.splice(this.index, 1);
    if (this.requests.length === 0) this.requests.push(emptyRequest());
    this.#select(Math.min(this.index, this.requests.length - 1));
    this.onChange();
  }

  #edit() {
    for (const key of Object.keys(emptyRequest())) this.current[key] = this.#form.elements[key].value;
    this.#drawWay();
    this.#drawList();
    this.onChange();
  }

  async #fillFromCurl() {
    const field = byId('curl');
    const line = field.value.trim();
    if (!line) return;
    const read = await this.readCurl(line);
    if (!read) return;
    const { method, host, path, port, sni, headers, authority } = read;
    // To an outside host a proxy sees `https` as a CONNECT.
    const isTunnel = this.current.way === 'out' && authority;
    Object.assign(this.current, isTunnel
      ? { method: 'CONNECT', host: authority, path: '/', port: String(port), sni: '', headers: '' }
      : { method, host, path, port: String(port), sni: sni ?? '', headers: headers.join('\n') });
    field.value = '';
    this.#fillForm();
    this.#drawList();
    this.onChange();
  }

  #select(index) {
    this.index = index;
    this.#fillForm();
    this.#draw();
    this.onSelect();
  }

  #move(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const next = this.index + step;
    if (!step || next < 0 || next >= this.requests.length) return;
    event.preventDefault();
    this.#select(next);
    this.#list.children[next].firstElementChild.focus();
  }

  #fillForm() {
    for (const key of Object.keys(emptyRequest())) this.#form.elements[key].value = this.current[key];
    this.#drawWay();
    const hidden = ['headers', 'claims', 'port', 'sni', 'sourceIp', 'remoteIp', 'at'];
    if (hidden.some((key) => this.current[key])) byId('more').open = true;
  }

  // Workload and path say nothing about a request to an outside host.
  #drawWay() {
    for (const field of this.#form.querySelectorAll('.to, .path')) field.hidden = this.current.way === 'out';
    this.#form.classList.toggle('out', this.current.way === 'out');
  }

  #draw() {
    this.#drawList();
    this.#drawAnswer();
  }

  #drawList() {
    const rows = this.requests.map((request, index) => {
      const isOut = request.way === 'out';
      const line = `${request.method || 'GET'} ${isOut ? request.host : request.path || '/'}`;
      const goal = isOut ? request.host || 'no host' : request.to;
      const to = goal ? ` → ${goal}` : '';
      return element('li', {}, element('button', {
        type: 'button',
        'aria-current': index === this.index ? 'true' : false,
        tabindex: index === this.index ? 0 : -1,
        onclick: () => this.#select(index),
      }, badge(this.#answers[index]), element('span', { class: 'what' },
        element('span', { class: request.name ? 'named' : '' }, request.name || line),
        element('span', { class: 'who' }, `${request.from || 'no certificate'}${to}`))));
    });
    const focused = this.#list.contains(document.activeElement);
    this.#list.replaceChildren(...rows);
    if (focused) rows[this.index].firstElementChild.focus();
    const { top, bottom } = this.#list.getBoundingClientRect();
    const row = rows[this.index].getBoundingClientRect();
    if (row.bottom > bottom) this.#list.scrollTop += row.bottom - bottom;
    if (row.top < top) this.#list.scrollTop -= top - row.top;
  }

  #drawAnswer() {
    const answer = this.answer;
    if (!answer) return this.#answer.replaceChildren(element('p', { class: 'verdict' }, 'Deciding'));
    if (answer.error) {
      const first = answer.faults?.[0];
      return this.#answer.replaceChildren(
        element('p', { class: 'verdict' }, 'No answer'),
        element('p', { class: 'reason' }, first ? `${answer.error}: ${first.message}; ${first.help}` : answer.error),
        first && first.file !== 'command line' ? this.#placeButton(first, `${first.file}:${first.line}`) : '');
    }
    const rule = answer.rule === null ? '' : ` rule ${answer.rule}`;
    const facts = element('dl');
    const fact = (name, ...content) => facts.append(element('dt', {}, name), element('dd', {}, ...content));
    if (answer.policy) fact('Policy', this.#placeButton(answer, `${answer.policy}${rule}`));
    if (answer.readings.length > 1) {
      fact('Path is read as', ...answer.readings.map((reading) => element('code', {}, reading)));
    }
    if (answer.nearest) {
      const { policy, rule: index, missing } = answer.nearest;
      fact('Nearest rule', this.#placeButton(answer.nearest, `${policy} rule ${index ?? 0}`),
        element('ul', {}, ...missing.map((line) => element('li', {}, line))));
    }
    this.#answer.replaceChildren(
      element('p', { class: `verdict ${answer.answer}` }, WORDS[answer.answer]),
      element('p', { class: 'reason' }, answer.reason),
      facts.children.length ? facts : '');
  }

  #placeButton(place, text) {
    if (!place.file) return text;
    const title = `${place.file}, line ${place.line}`;
    return element('button', { type: 'button', class: 'place', title, onclick: () => this.goTo(place) }, text);
  }
}

function badge(answer) {
  if (!answer) return element('span', { class: 'badge' }, '…');
  if (answer.error) return element('span', { class: 'badge' }, 'No answer');
  return element('span', { class: `badge ${answer.answer}` }, WORDS[answer.answer]);
}
