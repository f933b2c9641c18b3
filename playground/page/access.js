// Who may reach what.
import { element } from './dom.js';

export class Access {
  constructor(panel, { goTo }) {
    this.panel = panel;
    this.goTo = goTo;
    this.rows = [];
  }
  forget() {}
  setRows(rows) { this.rows = rows; if (!this.panel.hidden) this.draw(); }
  draw() { this.panel.replaceChildren(element('p', { class: 'empty' }, `${this.rows.length} rows`)); }
}
