// The strip: API server → watchers → publisher → log → state, and the cards of the kinds.

import { Meter, Spark, ago, byId, bytes, count, h, icon, rate, setData, setIcon, setText, span } from './dom.js';

const STAGES = [
  { id: 'api', name: 'API server', icon: 'server', unit: 'reports/s' },
  { id: 'watchers', name: 'Watchers', icon: 'eye', unit: 'changes/s' },
  { id: 'publisher', name: 'Publisher', icon: 'send', unit: 'batches/s' },
  { id: 'log', name: 'Log', icon: 'log', unit: 'written/s' },
  { id: 'state', name: 'State', icon: 'state', unit: 'folded/s' },
];

const ICON_OF = { ok: 'check', wait: 'wait', bad: 'warning', idle: 'dot' };

class Stage {
  constructor({ id, name, icon: picture, unit }) {
    this.meter = new Meter();
    this.spark = new Spark(name);
    this.statusIcon = icon('dot');
    this.word = h('span', {}, '…');
    this.status = h('span.status', {}, this.statusIcon, this.word);
    this.number = h('b', {}, '–');
    this.facts = h('dl.facts');
    this.error = h('p.error', { hidden: true });
    this.card = h('div.stage', {},
      h('div.stage-head', {}, icon(picture), h('h3', {}, name), this.status),
      h('div.stage-rate', {}, this.number, h('span.unit', {}, unit), this.spark.svg),
      this.facts, this.error);
    this.card.dataset.stage = id;
    this.item = h('li', {}, this.card, h('span.flow', { 'aria-hidden': 'true' }, h('i'), h('i'), h('i')));
  }

  show({ state, word, facts, error }) {
    setData(this.card, 'state', state);
    setIcon(this.statusIcon, ICON_OF[state]);
    setText(this.word, word);
    while (this.facts.children.length < facts.length) this.facts.append(h('div', {}, h('dt'), h('dd')));
    facts.forEach(([name, value, title], i) => {
      const [dt, dd] = this.facts.children[i].children;
      setText(dt, name);
      setText(dd, value);
      if (dd.title !== (title ?? '')) dd.title = title ?? '';
    });
    this.error.hidden = !error;
    setText(this.error, error ?? '');
  }

  beat(total) {
    this.meter.sample(total);
    setText(this.number, rate(this.meter.rate));
    this.spark.draw(this.meter.rates);
    this.item.classList.toggle('flowing', this.meter.rate > 0);
  }
}

const sum = (list, f) => list.reduce((all, one) => all + f(one), 0);

export class Pipeline {
  constructor(onKind) {
    this.stages = Object.fromEntries(STAGES.map((stage) => [stage.id, new Stage(stage)]));
    byId('pipeline').append(...Object.values(this.stages).map((stage) => stage.item));
    this.kinds = new Map();
    this.onKind = onKind;
    this.view = null;
    this.actors = [];
    this.counts = null;
    setInterval(() => this.beat(), 1000);
  }

  setView(view) {
    this.view = view;
    this.draw();
  }

  setActors(items) {
    this.actors = items;
    this.draw();
  }

  setCounts(counts) {
    this.counts = counts;
    byId('kinds').parentElement.hidden = false;
    const total = sum(counts.kinds, (kind) => kind.objects);
    setText(byId('objects'), `${count(total)} objects · ${bytes(counts.bytes)} packed`);
    for (const kind of counts.kinds) this.kindCard(kind.kind).set(kind);
    this.draw();
  }

  restarts(of) {
    return sum(this.actors.filter((actor) => of(actor.id)), (actor) => actor.restarts);
  }

  draw() {
    const view = this.view;
    if (!view) return;
    const watchers = view.watchers;
    const degraded = (what) => view.degraded.find((line) => line.startsWith(`${what}:`))?.slice(what.length + 2);
    const synced = watchers.filter((w) => w.synced).length;
    const parked = watchers.filter((w) => w.phase === 'parked');
    const troubled = watchers.filter((w) => w.trouble);
    const watching = watchers.filter((w) => w.phase === 'watching').length;
    const last = watchers.map((w) => w.lastError).filter(Boolean).sort((a, b) => b.atMs - a.atMs)[0];
    const down = (of) => this.actors.some((actor) => of(actor.id) && actor.state !== 'up');
    const isWatcher = (id) => id.startsWith('watcher/');
    const isState = (id) => id === 'shared-state' || id === 'query';

    const away = degraded('the API server') ?? troubled[0]?.trouble;
    const heard = Math.max(0, ...watchers.map((w) => w.lastReportMs));
    this.stages.api.show({
      state: away ? 'bad' : watching ? 'ok' : 'wait',
      word: away ? 'away' : watching ? 'up' : 'waiting',
      facts: [
        ['watches', watchers.length ? `${watching} of ${watchers.length} open` : 'none yet'],
        ['last report', heard ? ago(heard) : 'none yet'],
        ['last error', last ? ago(last.atMs) : 'none', last?.text],
      ],
      error: view.ready ? away : undefined,
    });

    const queued = sum(watchers, (w) => w.lane.records);
    const queuedBytes = sum(watchers, (w) => w.lane.bytes);
    const limit = sum(watchers, (w) => w.lane.limitBytes);
    const healing = down(isWatcher);
    this.stages.watchers.show({
      state: healing || parked.length ? 'bad' : watchers.length && synced === watchers.length ? 'ok' : 'wait',
      word: healing ? 'healing' : parked.length ? `${parked.length} parked` : !watchers.length ? 'waiting' : synced === watchers.length ? 'in sync' : 'listing',
      facts: [
        ['in sync', watchers.length ? `${synced} of ${watchers.length}` : 'not started'],
        ['waiting for ack', `${count(queued)} · ${bytes(queuedBytes)}`, `of ${bytes(limit)} that fit`],
        ['restarts', count(this.restarts(isWatcher))],
      ],
      error: parked[0] ? `${parked[0].id}: ${parked[0].reason ?? 'parked'}` : undefined,
    });

    const producer = degraded('producer');
    const healingPublisher = down((id) => id === 'publisher');
    this.stages.publisher.show({
      state: producer || healingPublisher ? 'bad' : this.actors.length ? 'ok' : 'wait',
      word: healingPublisher ? 'healing' : producer ? 'no producer' : this.actors.length ? 'sending' : 'waiting',
      facts: [
        ['in flight', count(view.inFlight)],
        ['writer epoch', view.writerEpoch ? count(view.writerEpoch) : '–'],
        ['restarts', count(this.restarts((id) => id === 'publisher'))],
      ],
      error: producer,
    });

    const [engine, ...place] = view.log.split(' ');
    const logAway = degraded('the log');
    const acked = sum(watchers, (w) => w.lane.acked);
    this.stages.log.show({
      state: logAway ? 'bad' : engine ? 'ok' : 'wait',
      word: logAway ? 'away' : engine ? 'acking' : 'waiting',
      facts: [
        ['engine', engine || '–', place.join(' ')],
        ['acknowledged', count(acked)],
        ['refused', count(sum(watchers, (w) => w.lane.nacks))],
      ],
      error: logAway,
    });

    const stateAway = degraded('state');
    const healingState = down(isState);
    const { p50Ms, p99Ms } = view.fold;
    this.stages.state.show({
      state: stateAway || healingState ? 'bad' : view.state === 'running' ? 'ok' : 'wait',
      word: healingState ? 'healing' : stateAway ? 'behind' : view.state === 'running' ? 'current' : view.state || 'waiting',
      facts: [
        ['visible after', p50Ms === null ? '–' : span(p50Ms), 'from the report to being readable, median of the last batches'],
        ['slowest 1 %', p99Ms === null ? '–' : span(p99Ms)],
        ['restarts', count(this.restarts(isState))],
      ],
      error: stateAway,
    });

    for (const watcher of watchers) this.kinds.get(watcher.kind)?.phase(watcher, watchers.filter((w) => w.kind === watcher.kind));
  }

  beat() {
    const view = this.view;
    if (!view) return;
    const { stages } = this;
    const handled = this.actors.find((actor) => actor.id === 'publisher')?.handled ?? 0;
    stages.api.beat(sum(view.watchers, (w) => w.received));
    stages.watchers.beat(sum(view.watchers, (w) => w.lane.pushed));
    stages.publisher.beat(handled);
    stages.log.beat(sum(view.watchers, (w) => w.lane.acked));
    stages.state.beat(view.fold.records);
    for (const [kind, card] of this.kinds) card.beat(sum(view.watchers.filter((w) => w.kind === kind), (w) => w.received));
    // "3 s ago" goes on while nothing else does.
    this.draw();
  }

  kindCard(kind) {
    let card = this.kinds.get(kind);
    if (!card) {
      card = new KindCard(kind, () => this.onKind(kind));
      this.kinds.set(kind, card);
      byId('kinds').append(card.node);
    }
    return card;
  }

  select(kind) {
    for (const [name, card] of this.kinds) card.node.setAttribute('aria-pressed', String(name === kind));
  }
}

export const KIND_ICONS = new Set(['pods', 'deployments', 'statefulsets', 'services', 'configmaps', 'secrets', 'events', 'nodes']);
export const kindIcon = (kind) => (KIND_ICONS.has(kind) ? kind : 'object');

class KindCard {
  constructor(kind, onclick) {
    this.meter = new Meter();
    this.levels = [];
    this.objects = 0;
    this.number = h('b', {}, '–');
    this.spark = new Spark();
    this.note = h('span.quiet', {}, '');
    const [name, ...group] = kind.split('.');
    this.node = h('button.kind', { type: 'button', onclick, 'aria-pressed': 'false', title: `Show only ${kind}` },
      h('span.kind-name', {}, icon(kindIcon(kind)), h('span', {}, name, group.length ? h('small', {}, `.${group.join('.')}`) : null)),
      this.number, this.spark.svg, this.note);
  }

  set({ objects, missing }) {
    this.objects = objects;
    this.missing = missing;
    setText(this.number, count(objects));
  }

  phase(watcher) {
    this.waits = watcher.phase === 'parked' ? 'parked' : watcher.synced ? null : watcher.phase;
    this.write();
  }

  beat(total) {
    this.meter.sample(total);
    this.levels.push(this.objects);
    if (this.levels.length > 60) this.levels.shift();
    this.spark.draw(this.levels, false);
    this.write();
  }

  write() {
    const now = this.meter.rate;
    setText(this.note, this.waits ?? (now > 0 ? `${rate(now)} changes/s` : 'quiet'));
    this.node.classList.toggle('busy', now > 0);
  }
}
