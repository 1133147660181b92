// The supervision tree. Who goes down is shown, who comes back is told with how long it took; where chaos is enabled, anybody
// may be killed to see it.

import { ago, byId, count, h, icon, setData, setIcon, setText, span, toast } from './dom.js';

const STATES = {
  waiting: ['wait', 'waiting'],
  starting: ['wait', 'starting'],
  up: ['check', 'up'],
  stopping: ['wait', 'stopping'],
  down: ['restart', 'down'],
  ended: ['stop', 'ended'],
};

const REASONS = {
  stopped: 'stopped by itself',
  asked: 'stopped by the supervisor',
  panicked: 'panicked',
  hung: 'hung',
  overdue: 'did not stop in time',
  arbiterDead: 'lost its thread',
};

const WAYS = [
  ['panic', 'Panic', 'as a bug in a handler would'],
  ['stop', 'Stop', 'as if by its own wish'],
  ['hang', 'Hang', 'found by its pings, after a while'],
];

/** A restart takes some 100 ms, an eye needs longer: so long a row says that it restarts. The toast has the true time. */
const LINGER = 800;

export class Actors {
  constructor() {
    this.chaos = false;
    this.groups = new Map();
    this.rows = new Map();
    /** When who went down, for "back in". */
    this.fell = new Map();
    this.box = byId('actors');
    this.menu = byId('menu');
    this.menu.addEventListener('keydown', (event) => this.menuKey(event));
    setInterval(() => this.words(), 1000);
  }

  setChaos(chaos) {
    this.chaos = chaos;
    for (const row of this.rows.values()) row.kill.hidden = !chaos;
  }

  show({ items, problem }) {
    if (problem) {
      setText(byId('actors-sum'), problem);
      return;
    }
    this.box.querySelector('.none')?.remove();
    for (const actor of items) {
      const row = this.rows.get(actor.id) ?? this.make(actor);
      const grew = row.actor && actor.restarts > row.actor.restarts;
      row.actor = actor;
      this.draw(row);
      if (grew) this.bump(row);
    }
    const up = items.filter((actor) => actor.state === 'up').length;
    const restarts = items.reduce((all, actor) => all + actor.restarts, 0);
    setText(byId('actors-sum'), `${up} of ${items.length} up · ${count(restarts)} ${restarts === 1 ? 'restart' : 'restarts'}`);
  }

  /** An actor went down or is up again, as it happens. */
  fact(note) {
    const row = this.rows.get(note.id);
    if (note.fact === 'down') {
      this.fell.set(note.id, { at: note.at, reason: note.exit.reason });
      if (!row?.actor) return;
      row.until = Date.now() + LINGER;
      Object.assign(row.actor, { state: 'down', lastExit: note.exit, backoffMs: note.backInMs });
      this.draw(row);
      this.flash(row, 'fell');
    } else if (note.fact === 'up') {
      const fell = this.fell.get(note.id);
      this.fell.delete(note.id);
      if (row?.actor) {
        Object.assign(row.actor, { state: 'up', incarnation: note.incarnation, backoffMs: undefined });
        this.draw(row);
      }
      if (fell) {
        if (row) setTimeout(() => this.flash(row, 'rose'), Math.max(0, row.until - Date.now()));
        if (fell.reason !== 'asked') toast(`${note.id} is back in ${span(note.at - fell.at)}`, 'ok', 'restart');
      }
    } else if (note.fact === 'groupRestarted') {
      toast(`Group ${note.group} failed too often and is restarted as a whole`, 'bad', 'warning');
    } else if (note.fact === 'escalated') {
      toast(`Supervision gave up on ${note.id}: ${note.why}`, 'bad', 'warning');
    }
  }

  make(actor) {
    let group = this.groups.get(actor.group);
    if (!group) {
      const id = `group-${this.groups.size}`;
      group = h('ul', { 'aria-labelledby': id });
      this.groups.set(actor.group, group);
      this.box.append(h('h3', { id }, actor.group), group);
    }
    const picture = icon('wait');
    const word = h('b.state');
    const life = h('span');
    const handled = h('span');
    const restarts = h('b');
    const badge = h('span.restarts', { title: 'restarts after a failure' }, icon('restart'), restarts, h('span.unseen', {}, ' restarts'));
    const exit = h('p.exit', { hidden: true });
    const kill = h('span.kill', { hidden: !this.chaos },
      h('button', { type: 'button', onclick: () => this.kill(actor.id, 'panic'), 'aria-label': `Kill ${actor.id}` }, 'Kill'),
      h('button.caret', { type: 'button', onclick: (event) => this.open(event.currentTarget, actor.id), 'aria-haspopup': 'menu',
        'aria-label': `How to kill ${actor.id}` }, icon('down')));
    const node = h('li.actor', {},
      picture,
      h('span.who', {}, actor.id),
      kill,
      h('span.numbers', {}, word, life, handled, badge),
      exit);
    node.dataset.id = actor.id;
    const row = { node, picture, word, life, handled, restarts, badge, exit, kill, actor: null, until: 0 };
    this.rows.set(actor.id, row);
    group.append(node);
    return row;
  }

  draw(row) {
    const { actor } = row;
    const left = row.until - Date.now();
    const state = left > 0 ? 'down' : actor.state;
    if (left > 0) setTimeout(() => this.draw(row), left + 10);
    const [name, word] = STATES[state] ?? ['dot', state];
    setData(row.node, 'state', state);
    setIcon(row.picture, name);
    const again = state === 'down' || (state === 'starting' && actor.incarnation > 1);
    setText(row.word, again ? 'restarting' : word);
    setText(row.life, actor.incarnation ? `life ${actor.incarnation}` : 'not born');
    setText(row.handled, `${count(actor.handled)} handled`);
    setText(row.restarts, count(actor.restarts));
    row.badge.classList.toggle('any', actor.restarts > 0);
    this.exit(row);
  }

  exit({ actor, exit }) {
    const last = actor?.lastExit;
    exit.hidden = !last;
    if (!last) return;
    const where = last.location ? ` at ${last.location}` : '';
    setText(exit, `${REASONS[last.reason] ?? last.reason} ${ago(last.atMs)}${last.message ? `: ${last.message}${where}` : ''}`);
  }

  words() {
    for (const row of this.rows.values()) this.exit(row);
  }

  flash(row, name) {
    row.node.classList.remove('fell', 'rose');
    // Read once, so that the same animation begins anew.
    void row.node.offsetWidth;
    row.node.classList.add(name);
  }

  bump(row) {
    row.badge.classList.remove('bumped');
    void row.badge.offsetWidth;
    row.badge.classList.add('bumped');
  }

  open(button, id) {
    const items = WAYS.map(([how, name, what]) =>
      h('button', { type: 'button', role: 'menuitem', tabIndex: -1, onclick: () => { this.menu.hidePopover(); this.kill(id, how); button.focus(); } },
        h('b', {}, name), h('small', {}, what)));
    this.menu.replaceChildren(...items);
    this.menu.setAttribute('aria-label', `How to kill ${id}`);
    this.menu.showPopover();
    const from = button.getBoundingClientRect();
    const { width, height } = this.menu.getBoundingClientRect();
    const below = from.bottom + 6 + height < innerHeight;
    this.menu.style.left = `${Math.max(8, from.right - width)}px`;
    this.menu.style.top = `${below ? from.bottom + 6 : from.top - 6 - height}px`;
    items[0].focus();
  }

  menuKey(event) {
    const items = [...this.menu.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    items[(items.indexOf(document.activeElement) + step + items.length) % items.length].focus();
  }

  async kill(id, how) {
    try {
      const path = id.split('/').map(encodeURIComponent).join('/');
      const answer = await fetch(`/api/v1/actors/${path}/kill?how=${how}`, { method: 'POST' });
      if (!answer.ok) {
        const problem = await answer.json();
        toast(problem.detail, 'bad', 'warning');
      } else if (how === 'hang') {
        toast(`${id} hangs now; the supervisor finds out by its pings`, 'plain', 'wait');
      }
    } catch {
      toast('The process does not answer', 'bad', 'warning');
    }
  }
}
