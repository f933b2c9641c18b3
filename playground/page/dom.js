// Elements from code; texts are never read as HTML.

export const byId = (id) => document.getElementById(id);

// Makes an element: properties that start with `on` are listeners, others attributes.
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, '');
    else if (value !== false && value !== undefined && value !== null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function debounce(milliseconds, call) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(call, milliseconds);
  };
}

// Lets the arrow keys move along the tabs of a list, as the ARIA pattern for tabs has it.
export function arrowKeys(list) {
  list.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const tabs = [...list.querySelectorAll('[role="tab"]')];
    const at = tabs.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = tabs[(at + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
}

let notices = 0;

// Says something for a while, or until something else is said.
export function notice(text, isBad = false) {
  const line = byId('notice');
  line.textContent = text;
  line.classList.toggle('bad', isBad);
  line.hidden = text === '';
  const mine = ++notices;
  if (!isBad) setTimeout(() => mine === notices && (line.hidden = true), 6000);
}

export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  element('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
