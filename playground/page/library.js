// Calls of the library in its worker, one at a time.

export class Library {
  #worker = null;
  #running = null;
  // Waiting calls by their kind: of one kind only the latest counts.
  #waiting = new Map();
  #count = 0;

  constructor(onIdle) {
    this.onIdle = onIdle;
    // The module loads while the page does.
    this.#start();
  }

  // Resolves with the answer, or with null where a later call of this kind took its place.
  ask(call, input) {
    return new Promise((resolve, reject) => {
      this.#waiting.get(call)?.resolve(null);
      this.#waiting.set(call, { call, input, resolve, reject });
      this.#next();
    });
  }

  get isIdle() {
    return this.#running === null && this.#waiting.size === 0;
  }

  #start() {
    this.#worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' });
    this.#worker.onmessage = ({ data }) => this.#done(data);
    this.#worker.onerror = (event) => this.#done({ failure: event.message || 'the module does not load' });
  }

  #next() {
    if (this.#running || this.#waiting.size === 0) return;
    const [kind, next] = this.#waiting.entries().next().value;
    this.#waiting.delete(kind);
    this.#running = { ...next, id: ++this.#count };
    if (!this.#worker) this.#start();
    this.#worker.postMessage({ id: this.#running.id, call: next.call, input: next.input });
  }

  #done({ answer, failure }) {
    const running = this.#running;
    this.#running = null;
    if (failure !== undefined) {
      // A module that trapped is of no more use.
      this.#worker?.terminate();
      this.#worker = null;
      running?.reject(new Error(failure));
    } else {
      running?.resolve(answer);
    }
    this.#next();
    queueMicrotask(() => this.isIdle && this.onIdle());
  }
}
