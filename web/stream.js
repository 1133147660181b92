// What happened, newest first: a bounded list of which only the visible rows exist. Whatever comes is drawn once a frame.

import { byId, clock, count, h, icon, rate, setData, setIcon, setText } from './dom.js';
import { kindIcon } from './pipeline.js';

/** Entries kept, and of these shown at most. */
const KEPT = 4000;
const SHOWN = 1000;
/** Rows beyond the visible ones, so that a fast scroll shows no gap. */
const BEYOND = 6;
/** More than this a second and a row that flashes is noise, and nobody can follow every frame. */
const CALM = 25;
/** Between two pictures of a busy stream. */
const BUSY_MS = 120;

const TYPES = {
  created: ['plus', 'created', 'good'],
  deleted: ['minus', 'deleted', 'gone'],
  'image-changed': ['image', 'new image', 'new'],
  'replicas-changed': ['scale', 'scaled', 'new'],
  'readiness-changed': ['check', 'ready', 'good'],
  'container-restarted': ['restart', 'restarted', 'alert'],
  'warning-event': ['warning', 'warning', 'alert'],
  modified: ['edit', 'updated', 'plain'],
};

/** Icon, word and tone of an entry. */
export function look(entry) {
  if (entry.type === 'readiness-changed' && entry.severity === 'warning') return ['dip', 'not ready', 'alert'];
  return TYPES[entry.type] ?? [entry.severity === 'warning' ? 'warning' : 'dot', entry.type.replaceAll('-', ' '), entry.severity === 'warning' ? 'alert' : 'plain'];
}

const singular = (kind) => kind.split('.')[0].replace(/s$/, '');

export class Stream {
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.entries = [];
    this.seen = new Set();
    this.view = [];
    this.rows = new Map();
    this.spare = [];
    this.incoming = [];
    this.held = 0;
    this.below = 0;
    this.paused = false;
    this.active = null;
    this.arrived = 0;
    this.absorbed = 0;
    this.perSecond = 0;
    this.waiting = true;
    this.filter = { text: '', kind: '', namespace: '', warnings: false };
    this.list = byId('stream');
    this.space = h('div.space', { role: 'presentation' });
    this.list.append(this.space);
    this.measure();
    new ResizeObserver(() => { this.measure(); this.later(); }).observe(this.list);
    this.list.addEventListener('scroll', () => this.later(), { passive: true });
    this.list.addEventListener('click', (event) => {
      const row = event.target.closest('.row');
      if (row) this.choose(row.entry, true);
    });
    this.list.addEventListener('keydown', (event) => this.key(event));
    this.tools();
    setInterval(() => this.second(), 1000);
  }

  tools() {
    const search = byId('search');
    search.addEventListener('input', () => this.setFilter({ text: search.value.trim().toLowerCase() }));
    byId('kind').addEventListener('change', (event) => this.setFilter({ kind: event.target.value }));
    byId('namespace').addEventListener('change', (event) => this.setFilter({ namespace: event.target.value }));
    byId('warnings').addEventListener('click', (event) => {
      const on = !this.filter.warnings;
      event.currentTarget.setAttribute('aria-pressed', String(on));
      this.setFilter({ warnings: on });
    });
    byId('pause').addEventListener('click', () => this.setPaused(!this.paused));
    byId('to-live').addEventListener('click', () => {
      this.list.scrollTop = 0;
      this.setPaused(false);
      this.list.focus();
    });
  }

  setFilter(change) {
    Object.assign(this.filter, change);
    byId('kind').value = this.filter.kind;
    this.onFilter?.(this.filter);
    this.list.scrollTop = 0;
    this.held = 0;
    this.rebuild();
  }

  setPaused(paused) {
    this.paused = paused;
    const button = byId('pause');
    button.setAttribute('aria-pressed', String(paused));
    setIcon(button.firstElementChild, paused ? 'play' : 'pause');
    if (!paused) {
      this.held = 0;
      this.rebuild();
    }
    this.words();
  }

  takes(entry) {
    const { text, kind, namespace, warnings } = this.filter;
    if (kind && entry.kind !== kind) return false;
    if (namespace && entry.namespace !== namespace) return false;
    if (warnings && entry.severity !== 'warning') return false;
    return !text || entry.text.includes(text);
  }

  /** An entry of event-stream. */
  add(entry) {
    const key = `${entry.partition}/${entry.offset}`;
    if (this.seen.has(key)) return;
    this.seen.add(key);
    entry.key = key;
    this.push(entry);
  }

  /** A change of an object; what was created or deleted has an entry of its own. */
  addChange(change) {
    if (change.operation !== 'MODIFIED') return;
    const where = change.namespace ? ` in ${change.namespace}` : '';
    this.push({ ...change, type: 'modified', severity: 'normal', key: `v${change.version}`,
      summary: `${singular(change.kind)} ${change.name}: version ${change.rv}${where}` });
  }

  push(entry) {
    entry.text = `${entry.summary} ${entry.kind} ${entry.namespace} ${entry.manager ?? ''} ${look(entry)[1]}`.toLowerCase();
    this.incoming.push(entry);
    // A tab in the background draws no frames and takes nothing in.
    if (this.incoming.length > KEPT) {
      for (const gone of this.incoming.splice(0, KEPT / 2)) this.seen.delete(gone.key);
    }
    this.later();
  }

  reset() {
    this.seen.clear();
    this.entries = [];
    this.rebuild();
  }

  later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const now = performance.now();
      if (this.incoming.length && (this.perSecond < CALM || now - this.absorbed >= BUSY_MS)) {
        this.absorbed = now;
        this.absorb();
      }
      this.render();
      if (this.incoming.length) this.frame = setTimeout(() => { this.frame = null; this.later(); }, BUSY_MS);
    });
  }

  /** Takes in what has come since the last frame. */
  absorb() {
    if (!this.incoming.length) return;
    const came = this.incoming;
    this.incoming = [];
    // What was there before the page is no news.
    this.arrived += came.filter((entry) => Date.now() - entry.at < 5000).length;
    let ordered = true;
    for (const entry of came) {
      ordered &&= !(this.entries.length && entry.at < this.entries.at(-1).at);
      this.entries.push(entry);
    }
    // Partitions are read side by side, so what happened at nearly one time comes out of order.
    if (!ordered) this.entries.sort((a, b) => a.at - b.at);
    if (this.entries.length > KEPT) {
      for (const gone of this.entries.splice(0, this.entries.length - KEPT)) this.seen.delete(gone.key);
    }
    for (const entry of came) this.know(entry);
    const fitting = came.filter((entry) => this.takes(entry)).length;
    if (this.paused) {
      this.held += fitting;
      this.words();
      return;
    }
    if (fitting) this.rebuild();
  }

  know(entry) {
    this.namespaces ??= new Set();
    if (entry.namespace && !this.namespaces.has(entry.namespace)) {
      this.namespaces.add(entry.namespace);
      const select = byId('namespace');
      const after = [...select.options].slice(1).find((option) => option.value > entry.namespace);
      select.insertBefore(h('option', { value: entry.namespace }, entry.namespace), after ?? null);
    }
  }

  knowKind(kind) {
    const select = byId('kind');
    if (![...select.options].some((option) => option.value === kind)) select.append(h('option', { value: kind }, kind));
  }

  rebuild() {
    const top = this.list.scrollTop;
    const at = Math.floor(top / this.height);
    const reading = top > 4 ? this.view[at] : null;
    const fitting = [];
    for (let i = this.entries.length - 1; i >= 0 && fitting.length < SHOWN; i--) {
      if (this.takes(this.entries[i])) fitting.push(this.entries[i]);
    }
    this.view = fitting;
    this.space.style.height = `${this.view.length * this.height}px`;
    const now = reading ? this.view.indexOf(reading) : -1;
    if (now > at) {
      // Whoever reads further down keeps what they read before their eyes.
      this.list.scrollTop = top + (now - at) * this.height;
      this.below += now - at;
    }
    this.later();
  }

  measure() {
    const style = getComputedStyle(this.list);
    this.height = parseFloat(style.getPropertyValue('--row')) || 36;
    this.visible = this.list.clientHeight;
    this.space.style.height = `${this.view.length * this.height}px`;
  }

  render() {
    const top = this.list.scrollTop;
    if (top <= 4) this.below = 0;
    const first = Math.max(0, Math.floor(top / this.height) - BEYOND);
    const last = Math.min(this.view.length, Math.ceil((top + this.visible) / this.height) + BEYOND);
    const wanted = new Set(this.view.slice(first, last));
    for (const [entry, row] of this.rows) {
      if (!wanted.has(entry)) {
        row.remove();
        this.rows.delete(entry);
        if (this.spare.length < 40) this.spare.push(row);
      }
    }
    for (let i = first; i < last; i++) {
      const entry = this.view[i];
      let row = this.rows.get(entry);
      if (!row) {
        row = this.fill(this.spare.pop() ?? makeRow(), entry);
        this.rows.set(entry, row);
        this.space.append(row);
      }
      row.style.transform = `translateY(${i * this.height}px)`;
      row.setAttribute('aria-posinset', i + 1);
      row.setAttribute('aria-setsize', this.view.length);
      row.setAttribute('aria-selected', String(entry === this.active));
    }
    // Only a row that is there can be pointed to: the chosen one may have moved out of sight.
    const chosen = this.rows.get(this.active);
    if (chosen) this.list.setAttribute('aria-activedescendant', chosen.id);
    else this.list.removeAttribute('aria-activedescendant');
    this.words();
  }

  fill(row, entry) {
    const [name, word, tone] = look(entry);
    const { time, picture, label, subject, what, where, by } = row.parts;
    row.entry = entry;
    row.id = `row-${entry.key.replace('/', '-')}`;
    setData(row, 'tone', tone);
    setText(time, clock(entry.at));
    setIcon(picture, name);
    setText(label, word);
    const colon = entry.summary.indexOf(': ');
    const [head, rest] = colon > 0 ? [entry.summary.slice(0, colon), entry.summary.slice(colon + 2)] : ['', entry.summary];
    const blank = head.indexOf(' ');
    setText(subject.firstElementChild, head.slice(0, blank + 1));
    setText(subject.lastElementChild, head.slice(blank + 1));
    // "pod web-1: created" beside the word "created" says it twice.
    setText(what, rest === word ? '' : rest);
    setText(where, entry.namespace || 'cluster');
    // kubectl-client-side-apply, kubectl-edit: the drawer has it in full.
    setText(by, (entry.manager ?? '').replace(/^kubectl-.*/, 'kubectl'));
    row.title = entry.summary;
    row.classList.toggle('fresh', this.perSecond < CALM && Date.now() - entry.at < 3000);
    return row;
  }

  choose(entry, open) {
    this.active = entry;
    this.later();
    if (open) this.onOpen(entry);
  }

  key(event) {
    const at = this.view.indexOf(this.active);
    const page = Math.max(1, Math.floor(this.visible / this.height) - 1);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -SHOWN, End: SHOWN }[event.key];
    if (step !== undefined && this.view.length) {
      const to = Math.min(this.view.length - 1, Math.max(0, at < 0 ? 0 : at + step));
      this.choose(this.view[to], false);
      const y = to * this.height;
      if (y < this.list.scrollTop) this.list.scrollTop = y;
      else if (y + this.height > this.list.scrollTop + this.visible) this.list.scrollTop = y + this.height - this.visible;
    } else if ((event.key === 'Enter' || event.key === ' ') && this.active) {
      this.onOpen(this.active);
    } else {
      return;
    }
    event.preventDefault();
  }

  second() {
    this.perSecond = this.arrived;
    this.arrived = 0;
    setText(byId('stream-rate'), this.perSecond ? `${rate(this.perSecond)} /s` : '');
  }

  setWaiting(waiting) {
    this.waiting = waiting;
    this.words();
  }

  /** Buttons and the words that stand where nothing is. */
  words() {
    setText(byId('pause').lastElementChild, this.paused ? (this.held ? `Resume · ${count(this.held)} new` : 'Resume') : 'Pause');
    const toLive = byId('to-live');
    const behind = this.list.scrollTop > 4;
    toLive.hidden = !behind;
    const news = this.below + this.held;
    setText(toLive.lastElementChild, news ? `${count(news)} new · jump to live` : 'Jump to live');
    const empty = byId('empty');
    empty.hidden = this.view.length > 0;
    if (this.view.length) return;
    const filtered = this.entries.length > 0;
    const said = filtered ? 'Nothing that happened fits the filter.'
      : this.waiting ? 'Nothing yet: the process is coming up. What happens will stand here by itself.'
        : 'All quiet. Change something in the cluster, and it stands here a moment later.';
    if (empty.dataset.said === said) return;
    empty.dataset.said = said;
    const clear = h('button', { type: 'button', onclick: () => this.clear() }, 'Show everything');
    empty.replaceChildren(icon(filtered ? 'search' : 'wait'), h('p', {}, said), filtered ? clear : '');
  }

  clear() {
    byId('search').value = '';
    byId('namespace').value = '';
    byId('warnings').setAttribute('aria-pressed', 'false');
    this.setFilter({ text: '', kind: '', namespace: '', warnings: false });
  }
}

function makeRow() {
  const time = h('time');
  const picture = icon('dot');
  const label = h('span');
  const subject = h('span.subject', {}, h('span'), h('b'));
  const what = h('span.what');
  const where = h('span.where');
  const by = h('span.by');
  const row = h('div.row', { role: 'option' },
    time, h('span.chip', {}, picture, label), h('span.sentence', {}, subject, what), where, by);
  row.parts = { time, picture, label, subject, what, where, by };
  return row;
}
