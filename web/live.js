// The one stream that the page lives on. It comes back by itself, and says so.

import { byId, setData, setText, toast, span } from './dom.js';

const EVENTS = ['hello', 'pipeline', 'counts', 'actors', 'life', 'stream', 'change', 'lagged', 'reset', 'problem'];

export class Live {
  constructor(handlers) {
    this.handlers = handlers;
    this.every = false;
    this.cursor = '';
    this.failures = 0;
    this.lostAt = 0;
    setInterval(() => {
      setText(byId('connection-for'), this.lostAt ? `${Math.round((Date.now() - this.lostAt) / 1000)} s` : '');
    }, 1000);
    this.open();
  }

  /** Also changes that have no sentence of their own, or not. */
  setEvery(every) {
    this.every = every;
    this.open();
  }

  open() {
    clearTimeout(this.timer);
    this.source?.close();
    const parts = ['pipeline', 'actors', 'stream', ...(this.every ? ['changes'] : [])];
    const query = new URLSearchParams({ subscribe: parts.join(','), backlog: '300' });
    // A cursor that was refused is not offered again.
    if (this.cursor && this.failures < 2) query.set('since', this.cursor);
    const source = new EventSource(`/api/v1/live?${query}`);
    this.source = source;
    source.onopen = () => this.connected();
    source.onerror = () => this.lost(source);
    for (const name of EVENTS) {
      source.addEventListener(name, (message) => {
        if (message.lastEventId) this.cursor = message.lastEventId;
        this.handlers[name]?.(JSON.parse(message.data));
      });
    }
  }

  connected() {
    this.show('live', 'Live');
    setText(byId('connection-for'), '');
    if (this.lostAt) toast(`Connected again after ${span(Date.now() - this.lostAt)}`);
    this.failures = 0;
    this.lostAt = 0;
  }

  lost(source) {
    if (source !== this.source) return;
    if (!this.lostAt) this.show('lost', 'Reconnecting');
    this.lostAt ||= Date.now();
    if (source.readyState === EventSource.CLOSED) {
      // An answer that is no stream ends an EventSource for good: the page asks again itself.
      this.failures++;
      const wait = Math.min(10_000, 500 * 2 ** Math.min(this.failures, 5)) * (0.75 + Math.random() / 2);
      this.timer = setTimeout(() => this.open(), wait);
      if (this.failures === 1) this.explain(source.url);
    }
  }

  /** An EventSource does not say why it was refused. */
  async explain(url) {
    const enough = new AbortController();
    try {
      const answer = await fetch(url, { signal: enough.signal, headers: { accept: 'text/event-stream' } });
      if (!answer.ok) toast((await answer.json()).detail, 'bad', 'warning');
    } catch {
      // Nobody answers: that is what "Reconnecting" says.
    } finally {
      enough.abort();
    }
  }

  show(state, word) {
    setData(byId('connection'), 'state', state);
    setText(byId('connection-word'), word);
    document.body.classList.toggle('stale', state === 'lost');
  }
}
