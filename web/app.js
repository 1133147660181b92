// The page: what comes over the one stream goes to the parts that show it.

import { Actors } from './actors.js';
import { byId, h, icon, setIcon, setText, toast, count } from './dom.js';
import { openDrawer } from './drawer.js';
import { Live } from './live.js';
import { Pipeline } from './pipeline.js';
import { Stream } from './stream.js';

const actors = new Actors();
const stream = new Stream(openDrawer);
const pipeline = new Pipeline((kind) => stream.setFilter({ kind: stream.filter.kind === kind ? '' : kind }));
stream.onFilter = ({ kind }) => pipeline.select(kind);

const live = new Live({
  hello({ version, chaos }) {
    setText(byId('version'), `v${version}`);
    actors.setChaos(chaos);
  },
  pipeline(view) {
    pipeline.setView(view);
    ends(view);
    notice(view);
    for (const watcher of view.watchers) stream.knowKind(watcher.kind);
    stream.setWaiting(!view.ready);
  },
  counts(counts) {
    pipeline.setCounts(counts);
  },
  actors(tree) {
    actors.show(tree);
    if (tree.items) pipeline.setActors(tree.items);
  },
  life(note) {
    actors.fact(note);
  },
  stream(entry) {
    stream.add(entry);
  },
  change(change) {
    stream.addChange(change);
  },
  lagged({ missed }) {
    toast(`This page was away or too slow: ${count(missed)} entries are left out`, 'plain', 'wait');
  },
  reset({ of }) {
    if (of === 'stream') stream.reset();
  },
  problem({ detail }) {
    toast(detail, 'bad', 'warning');
  },
});

/** The cluster and the log: name first, the rest as a remark. */
function ends({ cluster, log }) {
  const named = /^(.*?) \((.*)\)$/.exec(cluster);
  const [engine, ...place] = log.split(' ');
  end('cluster', named?.[1] || cluster || 'not connected yet', named?.[2]);
  end('log', engine || 'not open yet', place.join(' '));
  document.title = named?.[1] ? `${named[1]} · agent-events` : 'agent-events';
}

/** A path is told by its end, anything else by its beginning. */
function shortened(remark) {
  if (remark.length <= 28) return remark;
  return remark.includes('/') ? `…${remark.slice(-26)}` : `${remark.slice(0, 8)}…`;
}

function end(id, name, remark = '') {
  const node = byId(id);
  const key = `${name} ${remark}`;
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  node.title = key.trim();
  node.replaceChildren(h('b', {}, name), ...(remark ? [h('span', {}, shortened(remark))] : []));
}

/** What is away, or what a starting process waits for. */
function notice({ ready, missing, degraded, state }) {
  const box = byId('notice');
  const lines = [...new Set([...degraded, ...(ready ? [] : missing)])];
  const draining = state === 'draining';
  const title = draining ? 'Shutting down: what is under way is being written'
    : !ready ? 'Coming up. It waits for:'
      : 'It runs, but not all is well:';
  const key = draining || lines.length ? [title, ...lines].join('\n') : '';
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.hidden = !key;
  box.dataset.tone = ready && !draining ? 'bad' : 'plain';
  box.replaceChildren(icon(ready && !draining ? 'warning' : 'wait'), h('div', {}, h('b', {}, title), h('ul', {}, ...lines.slice(0, 8).map((line) => h('li', {}, line)))));
}

const every = byId('every');
every.addEventListener('click', () => {
  const on = every.getAttribute('aria-pressed') !== 'true';
  every.setAttribute('aria-pressed', String(on));
  live.setEvery(on);
});

// The scheme: the system's, unless one was chosen here.
const theme = byId('theme');
const system = matchMedia('(prefers-color-scheme: dark)');
const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';
function drawTheme() {
  setIcon(theme.firstElementChild, isDark() ? 'sun' : 'moon');
  theme.setAttribute('aria-label', isDark() ? 'Change to the light scheme' : 'Change to the dark scheme');
  theme.title = theme.getAttribute('aria-label');
}
theme.addEventListener('click', () => {
  const next = isDark() ? 'light' : 'dark';
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem('theme', next);
  } catch {
    // Without storage it lasts as long as the page.
  }
  drawTheme();
});
system.addEventListener('change', drawTheme);
drawTheme();

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId('drawer').open) return;
  const typing = event.target.closest('input, select, textarea');
  if (event.key === 'Escape' && typing) {
    typing.blur();
  } else if (typing) {
    return;
  } else if (event.key === '/') {
    byId('search').focus();
    event.preventDefault();
  } else if (event.key === 'p') {
    stream.setPaused(!stream.paused);
  }
});
