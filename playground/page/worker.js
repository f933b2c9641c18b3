// Runs the library, so that the page stays responsive however long an answer takes.
import init, * as answers from './wasm/answers.js';

const ready = init();

// Downloads, policies for the filter egress-allowlist, and manifests that carry filters need a larger module, which is loaded when they come up. It
// answers everything then.
const OF_ALL = ['render', 'test_files', 'curl'];
let all = null;

async function load() {
  const loaded = await import('./wasm/all.js');
  await loaded.default();
  return loaded;
}

function loadAll() {
  all ??= load();
  // What did not load can be tried again.
  all.catch(() => { all = null; });
  return all;
}

async function ask(call, input) {
  if (!all && !OF_ALL.includes(call)) {
    await ready;
    const answer = JSON.parse(answers[call](input));
    if (!answer.needs) return answer;
  }
  return JSON.parse((await loadAll())[call](input));
}

self.onmessage = async ({ data: { id, call, input } }) => {
  try {
    self.postMessage({ id, answer: await ask(call, typeof input === 'string' ? input : JSON.stringify(input)) });
  } catch (error) {
    self.postMessage({ id, failure: String(error) });
  }
};
