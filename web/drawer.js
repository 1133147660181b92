// One object, as it stands in the log, beside what happened to it.

import { ago, byId, clock, copy, h, icon } from './dom.js';
import { kindIcon } from './pipeline.js';
import { look } from './stream.js';
import { paintJson, paintYaml, toYaml } from './yaml.js';

const drawer = byId('drawer');
// A click beside it closes it.
drawer.addEventListener('click', (event) => { if (event.target === drawer) drawer.close(); });
let asked = 0;

export async function openDrawer(entry) {
  const at = [entry.namespace, entry.name].filter(Boolean).join(' / ');
  const [name, word, tone] = look(entry);
  const chip = h('span.chip', {}, icon(name), h('span', {}, word));
  const body = h('div.object', {}, h('p.quiet', {}, 'Loading…'));
  const fields = entry.changes?.length
    ? h('table.fields', {}, h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'field'), h('th', { scope: 'col' }, 'before'), h('th', { scope: 'col' }, 'after'))),
      h('tbody', {}, ...entry.changes.map((c) => h('tr', {}, h('th', { scope: 'row' }, c.path), h('td.from', {}, c.from ?? '–'), h('td.to', {}, c.to ?? '–')))))
    : null;
  const scope = entry.namespace ? ` -n ${entry.namespace}` : '';
  const commands = [`kubectl get ${entry.kind} ${entry.name}${scope} -o yaml`, `agent-events get ${entry.kind} ${entry.name}${scope} -o yaml`];
  const told = h('div.told', {}, h('p', {}, chip, h('span', {}, entry.summary)),
    h('p.quiet', {}, `${clock(entry.at)} · ${ago(entry.at)}${entry.manager ? ` · by ${entry.manager}` : ''}${entry.rv ? ` · version ${entry.rv}` : ''}`),
    fields);
  told.dataset.tone = tone;
  drawer.replaceChildren(
    h('div.drawer-head', {}, icon(kindIcon(entry.kind)),
      h('div', {}, h('p.quiet', {}, entry.kind), h('h2', { id: 'drawer-title' }, at)),
      h('button.round', { type: 'button', 'aria-label': 'Close', onclick: () => drawer.close() }, icon('close'))),
    told,
    h('div.commands', {}, ...commands.map((command) =>
      h('button', { type: 'button', onclick: () => copy(command, 'Command'), title: `Copy: ${command}` }, icon('copy'), h('code', {}, command)))),
    body);
  if (!drawer.open) drawer.showModal();
  const mine = ++asked;
  const found = await fetchObject(entry);
  if (mine === asked) body.replaceChildren(...show(found));
}

async function fetchObject({ kind, namespace, name }) {
  try {
    const path = [kind, namespace || '_', name].map(encodeURIComponent).join('/');
    const answer = await fetch(`/api/v1/objects/${path}`);
    if (answer.status === 404) return { gone: 'The object is no longer there: it was deleted since.' };
    if (!answer.ok) return { gone: (await answer.json()).detail };
    return { text: await answer.text() };
  } catch {
    return { gone: 'The process does not answer.' };
  }
}

function show({ gone, text }) {
  if (gone) return [h('p.gone', {}, gone)];
  const object = JSON.parse(text);
  const code = h('pre', { tabIndex: 0, 'aria-label': 'The object' });
  const forms = { YAML: () => toYaml(object), JSON: () => JSON.stringify(object, null, 2) };
  let form = 'YAML';
  const tabs = Object.keys(forms).map((name) => h('button', { type: 'button', onclick: () => choose(name) }, name));
  const choose = (name) => {
    form = name;
    for (const tab of tabs) tab.setAttribute('aria-pressed', String(tab.textContent === name));
    (name === 'YAML' ? paintYaml : paintJson)(code, forms[name]());
  };
  choose(form);
  const copyButton = h('button', { type: 'button', onclick: () => copy(forms[form](), form) }, icon('copy'), 'Copy');
  return [h('div.object-tools', {}, h('span.segments', { role: 'group', 'aria-label': 'Form' }, ...tabs), copyButton), code];
}
