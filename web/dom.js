// Building and writing the page. Text from the cluster is untrusted: it goes in as text nodes only, never as markup.

const SVG = 'http://www.w3.org/2000/svg';

/** An element: `h('div.card', {title: 'x', onclick: f}, 'text', child)`. */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(' ');
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key in node && !key.startsWith('aria')) node[key] = value;
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An icon of the page's sprite. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

export function setIcon(svg, name) {
  const href = `#i-${name}`;
  const use = svg.firstElementChild;
  if (use.getAttribute('href') !== href) use.setAttribute('href', href);
}

/** Writes text only where it is another: the browser then has nothing to lay out. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setData(node, key, value) {
  if (node.dataset[key] !== value) node.dataset[key] = value;
}

export const byId = (id) => document.getElementById(id);

const numbers = new Intl.NumberFormat('en');
export const count = (n) => numbers.format(n);

export function rate(n) {
  if (n === 0) return '0';
  if (n < 10) return n.toFixed(1);
  return count(Math.round(n));
}

export function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${n < 10 && unit > 0 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

export function span(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 86_400_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

export const ago = (at) => (Date.now() - at < 1500 ? 'just now' : `${span(Date.now() - at)} ago`);

const two = (n) => String(n).padStart(2, '0');
export function clock(at) {
  const t = new Date(at);
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

/** Counters as rates over the last seconds, and what they were over the last minute. */
export class Meter {
  constructor(seconds = 60) {
    this.seconds = seconds;
    this.totals = [];
    this.rates = [];
  }

  /** Once a second: the counter's value now. */
  sample(total) {
    const last = this.totals.at(-1);
    // Below the last one it is another process's: begin again.
    if (last !== undefined && total < last) this.totals = [];
    this.totals.push(total);
    if (this.totals.length > 4) this.totals.shift();
    const before = this.totals.length > 1 ? total - this.totals.at(-2) : 0;
    this.rates.push(before);
    if (this.rates.length > this.seconds) this.rates.shift();
  }

  get rate() {
    const steps = this.totals.length - 1;
    return steps > 0 ? (this.totals.at(-1) - this.totals[0]) / steps : 0;
  }
}

/** A line of the last minute. */
export class Spark {
  constructor(label) {
    this.svg = document.createElementNS(SVG, 'svg');
    this.svg.setAttribute('class', 'spark');
    this.svg.setAttribute('viewBox', '0 0 118 28');
    this.svg.setAttribute('preserveAspectRatio', 'none');
    this.svg.setAttribute('aria-hidden', 'true');
    this.area = document.createElementNS(SVG, 'path');
    this.line = document.createElementNS(SVG, 'path');
    this.area.setAttribute('class', 'area');
    this.line.setAttribute('class', 'line');
    this.svg.append(this.area, this.line);
    if (label) this.svg.dataset.label = label;
  }

  /** `zero`: whether the line stands on zero (rates) or shows only how it moves (counts). */
  draw(values, zero = true) {
    const room = 60;
    const low = zero ? 0 : Math.min(...values);
    const high = Math.max(...values, low + (zero ? 1 : 2));
    const x = (i) => 118 - (values.length - 1 - i) * (118 / (room - 1));
    const y = (v) => 26 - ((v - low) / (high - low)) * 23;
    const points = values.map((v, i) => `${x(i).toFixed(1)} ${y(v).toFixed(1)}`);
    if (points.length < 2) return;
    const line = `M${points.join('L')}`;
    this.line.setAttribute('d', line);
    this.area.setAttribute('d', `${line}L118 28L${x(0).toFixed(1)} 28Z`);
  }
}

const toasts = byId('toasts');
export function toast(text, tone = 'ok', name = 'check') {
  const node = h('div.toast', {}, icon(name), h('span', {}, text));
  node.dataset.tone = tone;
  toasts.append(node);
  while (toasts.children.length > 4) toasts.firstElementChild.remove();
  setTimeout(() => node.remove(), 6000);
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    // Not a secure context (the page under an IP address), or not allowed: the text is shown to be taken by hand.
    window.prompt(what, text);
  }
}
