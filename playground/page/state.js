// What a person has made: it survives a reload, and fits a link.

const KEY = 'sallyport-playground';

export const emptyRequest = () => ({
  name: '', way: '', from: '', to: '', method: 'GET', path: '/', host: '', headers: '', claims: '',
  port: '', sni: '', sourceIp: '', remoteIp: '', at: '',
});

const texts = (value, keys) => Object.fromEntries(keys.map((key) => [key, typeof value?.[key] === 'string' ? value[key] : '']));
const lines = (value) => (Array.isArray(value) ? value.join('\n') : typeof value === 'string' ? value : '');

// Reads a state that may come from a link or an older page: what is not understood is left out.
export function readState(value) {
  const files = (Array.isArray(value?.files) ? value.files : [])
    .filter((file) => typeof file?.text === 'string')
    .map((file) => ({ name: typeof file.name === 'string' && file.name ? file.name : 'policies.yaml', text: file.text }));
  const requests = (Array.isArray(value?.requests) ? value.requests : []).map((request) => ({
    ...texts(request, Object.keys(emptyRequest())),
    headers: lines(request?.headers),
    claims: lines(request?.claims),
  }));
  return {
    title: typeof value?.title === 'string' ? value.title : '',
    about: typeof value?.about === 'string' ? value.about : '',
    files: files.length ? files : [{ name: 'policies.yaml', text: '' }],
    requests: requests.length ? requests : [emptyRequest()],
    settings: texts(value?.settings, ['defaultAction', 'trustDomain', 'trustDomainAliases', 'defaultNamespace', 'service', 'gateway']),
    file: Number.isInteger(value?.file) && value.file < files.length && value.file >= 0 ? value.file : 0,
    request: Number.isInteger(value?.request) && value.request < requests.length && value.request >= 0 ? value.request : 0,
  };
}

// Returns a request as the library takes it.
export function toCall(request) {
  const list = (text) => text.split('\n').map((line) => line.trim()).filter(Boolean);
  const at = request.at ? Date.parse(`${request.at}Z`) : Date.now();
  return {
    ...request,
    to: request.way === 'out' ? '' : request.to,
    headers: list(request.headers),
    claims: list(request.claims),
    time: Number.isNaN(at) || at < 0 ? 0 : Math.floor(at / 1000),
  };
}

// Keeps the state for the next visit. Returns false where the browser has no room for it.
export function save(state) {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
    return true;
  } catch {
    return false;
  }
}

export function saved() {
  try {
    const text = localStorage.getItem(KEY);
    return text === null ? null : readState(JSON.parse(text));
  } catch {
    return null;
  }
}

const PREFIX = '#p=';

async function through(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

// Writes the state into the fragment of a link, which browsers do not send.
export async function toFragment(state) {
  const bytes = await through(new TextEncoder().encode(JSON.stringify(state)), new CompressionStream('deflate-raw'));
  let binary = '';
  for (let start = 0; start < bytes.length; start += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(start, start + 0x8000));
  }
  return PREFIX + btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

// Reads the state of a link; null where the fragment has none, and an error where it cannot be read.
export async function fromFragment(fragment) {
  if (!fragment.startsWith(PREFIX)) return null;
  const binary = atob(fragment.slice(PREFIX.length).replaceAll('-', '+').replaceAll('_', '/'));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  const text = new TextDecoder().decode(await through(bytes, new DecompressionStream('deflate-raw')));
  return readState(JSON.parse(text));
}
