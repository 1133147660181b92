// The page in a real browser. Takes its expectations as JSON in $PAGE (url, chromium, screenshots, namespace, and which parts
// to check), speaks with whoever started it by lines: "do change|edit|outage|return" on stdout asks for something to be done, "done <words>" on
// stdin says that it is done, and by which words it is seen on the page. Ends with 0 when everything held; else says what did not.

import { chromium } from 'playwright-core';
import { createInterface } from 'node:readline';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const want = JSON.parse(process.env.PAGE);
const require = createRequire(import.meta.url);
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
mkdirSync(want.screenshots, { recursive: true });

const failures = [];
const say = (line) => process.stdout.write(`${line}\n`);
function hold(what, ok, detail = '') {
  say(`${ok ? 'ok  ' : 'FAIL'} ${what}${ok || !detail ? '' : `: ${detail}`}`);
  if (!ok) failures.push(what);
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function ask(what) {
  say(`do ${what}`);
  const { value, done } = await lines.next();
  if (done || !/^done\b/.test(value)) throw new Error(`${what} was not done: ${value}`);
  return value.split(' ').slice(1);
}

const browser = await chromium.launch({ executablePath: want.chromium, args: ['--no-sandbox', '--disable-dev-shm-usage'] });

/** A page in one scheme and size; what it writes to its console and whom it asks is kept. */
async function open(scheme, width, height, options = {}, url = want.url) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height }, ...options });
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: new URL(url).origin });
  const page = await context.newPage();
  page.problems = [];
  page.strangers = [];
  page.on('console', (message) => {
    // An object that was deleted meanwhile is no fault, but the browser writes every 404 to the console.
    const gone = message.text().includes('404') && message.location().url.includes('/api/v1/objects/');
    if (['error', 'warning'].includes(message.type()) && !gone) page.problems.push(message.text());
  });
  page.on('pageerror', (error) => page.problems.push(String(error)));
  page.on('request', (request) => { if (new URL(request.url()).origin !== new URL(url).origin) page.strangers.push(request.url()); });
  await page.goto(url);
  return page;
}

const text = (page, selector) => page.locator(selector).first().innerText();
const shot = (page, name, fullPage = true) => page.screenshot({ path: `${want.screenshots}/${name}.png`, fullPage });

async function until(what, look, within = 10_000) {
  const began = performance.now();
  for (;;) {
    const found = await look();
    const took = Math.round(performance.now() - began);
    if (found) {
      hold(`${what} (${took} ms)`, true);
      return took;
    }
    if (took > within) {
      hold(what, false, `not within ${within} ms`);
      return null;
    }
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** Rows lie below each other, nothing sticks out, nothing scrolls sideways. */
async function boxes(page, name) {
  const found = await page.evaluate(() => {
    const inside = document.getElementById('stream').getBoundingClientRect();
    const boxes = [...document.querySelectorAll('.row')].map((row) => row.getBoundingClientRect()).sort((a, b) => a.top - b.top);
    const overlap = boxes.filter((box, i) => i > 0 && box.top < boxes[i - 1].bottom - 0.5).length;
    const cards = [...document.querySelectorAll('.stage, .kind, .actor')].map((card) => card.getBoundingClientRect());
    const crossing = cards.filter((a, i) => cards.some((b, j) => i < j && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)).length;
    const out = [...document.querySelectorAll('main *, header *')].filter((node) => {
      const box = node.getBoundingClientRect();
      return box.width > 0 && box.right > innerWidth + 1 && !node.closest('.row, .spark, .flow');
    }).map((node) => node.className || node.tagName);
    return { rows: boxes.length, overlap, crossing, out, wide: document.documentElement.scrollWidth - innerWidth,
      outside: boxes.filter((box) => box.right > inside.right + 1).length };
  });
  hold(`${name}: rows are there and do not overlap`, found.rows > 3 && found.overlap === 0 && found.outside === 0, JSON.stringify(found));
  hold(`${name}: nothing overlaps or sticks out, and nothing scrolls sideways`, found.crossing === 0 && found.out.length === 0 && found.wide <= 0, JSON.stringify(found));
}

async function accessible(page, name) {
  // Evaluated by the debugger, which the page's own policy does not bind.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
  const told = violations.map((v) => `${v.id} (${v.nodes.length}): ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.any[0]?.message ?? ''}`).join(' | ')}`);
  hold(`${name}: axe finds nothing`, violations.length === 0, told.join('; '));
}

async function quiet(page, name) {
  hold(`${name}: no error in the console`, page.problems.length === 0, page.problems.join(' | '));
  hold(`${name}: nobody else is asked`, page.strangers.length === 0, page.strangers.join(' '));
}

const newest = (page, words) => page.evaluate((words) => [...document.querySelectorAll('.row')].some((row) => words.every((word) => row.title.includes(word))), words);

const well = (page) => page.evaluate(() => document.querySelectorAll('.stage[data-state="ok"]').length === 5);

async function lives(page) {
  await until('the page says that it is live', async () => (await page.getAttribute('#connection', 'data-state')) === 'live');
  await until('counts appear', async () => Number((await text(page, '.kind b')).replaceAll(',', '')) > 0);
  await until('every stage of the pipeline is well', () => well(page), 30_000);
  await until('what happened before is there', () => page.evaluate(() => document.querySelectorAll('.row').length > 3));
}

async function changes(page) {
  const words = await ask('change');
  const took = await until('a change in the cluster is on the page', () => newest(page, words), 2000);
  if (took === null) return;
  await page.fill('#search', words[0]);
  await until('the search leaves only what fits', () => page.evaluate((word) => {
    const rows = [...document.querySelectorAll('.row')];
    return rows.length > 0 && rows.every((row) => row.entry.text.includes(word.toLowerCase()));
  }, words[0]));
  await page.locator('.row', { hasText: words[0] }).first().click();
  await until('a click shows the object', async () => (await page.locator('#drawer pre').count()) > 0 && (await text(page, '#drawer pre')).includes('metadata:'));
  await shot(page, 'drawer-dark', false);
  await accessible(page, 'drawer');
  await page.locator('.commands button').first().click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  hold('the command is copied', copied.startsWith('kubectl get '), copied);
  await page.keyboard.press('Escape');
  hold('Escape closes it', !(await page.evaluate(() => document.getElementById('drawer').open)));
  await page.fill('#search', '');
}

async function pauses(page) {
  await page.locator('#pause').click();
  const before = await page.evaluate(() => document.querySelector('.space').style.height);
  const words = await ask('change');
  await until('what comes while paused is counted', async () => /Resume · \d+ new/.test(await text(page, '#pause')));
  hold('and not shown', before === await page.evaluate(() => document.querySelector('.space').style.height));
  await page.locator('#pause').click();
  await until('then it is shown', () => newest(page, words));
}

async function every(page) {
  await page.locator('#every').click();
  // What happens before the new stream has begun is not on it: another change is made each second until one is shown.
  let asked = 0, words;
  await until('a change without a sentence of its own is shown when asked for', async () => {
    if (performance.now() - asked > 1000) {
      words = await ask('edit');
      asked = performance.now();
    }
    return newest(page, words);
  });
  await page.locator('#every').click();
}

async function heals(page) {
  const row = `.actor[data-id="${want.kill}"]`;
  const restarts = async () => Number(await text(page, `${row} .restarts b`));
  const before = await restarts();
  const killed = performance.now();
  await page.locator(`${row} .kill button`).first().click();
  await until('the row says that it restarts', async () => (await text(page, `${row} .state`)) === 'restarting', 5000);
  await until('the actor is up again', async () => (await text(page, `${row} .state`)) === 'up', 30_000);
  say(`     ${Math.round(performance.now() - killed)} ms from the click to "up"`);
  await until('its restarts are counted', async () => (await restarts()) === before + 1);
  hold('a toast says how long it took', (await page.locator('.toast', { hasText: `${want.kill} is back in` }).count()) > 0);
  await shot(page, 'healed-dark', false);
  await page.locator(`${row} .caret`).click();
  await accessible(page, 'kill menu');
  await page.getByRole('menuitem', { name: 'Stop' }).click();
  await until('stopping heals, too', async () => (await restarts()) === before + 2, 30_000);
}

async function keyboard(page) {
  await page.keyboard.press('/');
  hold('"/" goes to the search', (await page.evaluate(() => document.activeElement.id)) === 'search');
  await page.keyboard.press('Escape');
  await page.focus('#stream');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await until('arrows and Enter open an object', () => page.evaluate(() => document.getElementById('drawer').open));
  await page.keyboard.press('Escape');
  await page.focus('#stream');
  await page.keyboard.press('End');
  await until('whoever reads further down is offered the way back', () => page.locator('#to-live').isVisible());
  await page.locator('#to-live').click();
  await until('which leads to what is newest', () => page.evaluate(() => document.getElementById('stream').scrollTop === 0));
}

async function themes(page) {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const before = await background();
  await page.locator('#theme').click();
  const after = await background();
  await page.reload();
  hold('the scheme can be chosen and is kept', before !== after && (await background()) === after, `${before} ${after}`);
}

async function waits() {
  for (const scheme of ['dark', 'light']) {
    const page = await open(scheme, 1280, 900, {}, want.young);
    const name = `${scheme}, coming up`;
    await until(`${name}: the page says what it waits for`, async () => (await text(page, '#notice')).includes('Coming up'));
    await until(`${name}: and where entries will stand`, async () => (await text(page, '#empty')).includes('coming up'));
    await accessible(page, name);
    await shot(page, `coming-up-${scheme}`, false);
    await quiet(page, name);
    await page.context().close();
  }
}

try {
  if (want.young) await waits();
  const dark = await open('dark', 1280, 900);
  await lives(dark);
  if (want.change) {
    await changes(dark);
    await pauses(dark);
    await every(dark);
  }
  if (want.kill) await heals(dark);
  await keyboard(dark);
  await quiet(dark, 'dark');
  for (const scheme of ['dark', 'light']) {
    for (const [width, height] of [[1280, 900], [380, 820]]) {
      const page = await open(scheme, width, height);
      const name = `${scheme} ${width}`;
      await until(`${name}: rows appear`, () => page.evaluate(() => document.querySelectorAll('.row').length > 3));
      await boxes(page, name);
      await accessible(page, name);
      await shot(page, `page-${scheme}-${width}`);
      if (scheme === 'light' && width === 1280) await themes(page);
      await quiet(page, name);
      await page.context().close();
    }
  }
  const still = await open('dark', 1280, 900, { reducedMotion: 'reduce' });
  await until('with reduced motion nothing moves', () => still.evaluate(() => document.querySelectorAll('.row').length > 3 && document.getAnimations().length === 0));
  if (want.outage) {
    await ask('outage');
    await until('an outage is said', async () => (await dark.getAttribute('#connection', 'data-state')) === 'lost');
    await shot(dark, 'reconnecting-dark', false);
    await ask('return');
    await until('it comes back by itself', async () => (await dark.getAttribute('#connection', 'data-state')) === 'live', 20_000);
    await until('and is well again', () => well(dark), 30_000);
    const words = await ask('change');
    await until('and goes on', () => newest(dark, words));
  }
} catch (error) {
  hold('the check ran to its end', false, error.stack);
} finally {
  await browser.close();
}
say(failures.length ? `${failures.length} failed` : 'all held');
process.exit(failures.length ? 1 : 0);
