// Runs the library, so that the page stays responsive however long an answer takes.
import init, * as library from './wasm/sallyport_playground.js';

const ready = init();

self.onmessage = async ({ data: { id, call, input } }) => {
  try {
    await ready;
    const answer = library[call](typeof input === 'string' ? input : JSON.stringify(input));
    self.postMessage({ id, answer: JSON.parse(answer) });
  } catch (error) {
    self.postMessage({ id, failure: String(error) });
  }
};
