// Objects as YAML, as kubectl would print them, and a little colour.

/** More than this is shown without colour: nobody reads it, and the browser would labour. */
const PLAIN_FROM = 300_000;

const NEEDS_QUOTES = /^$|^[\s\-?:,[\]{}#&*!|>'"%@`]|[:]\s|\s#|:$|\s$|^(true|false|yes|no|on|off|null|~|=|<<|[-+]?\.(nan|inf))$|^[-+.\d][\d._eExXoO+:-]*$/i;

// YAML takes these for line breaks, or not at all.
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufeff]/;
const escaped = (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;

function scalar(value) {
  if (typeof value !== 'string') return String(value);
  if (!NEEDS_QUOTES.test(value) && !UNPRINTABLE.test(value)) return value;
  return JSON.stringify(value).replace(/[\u007f-\u009f\u2028\u2029\ufeff]/g, escaped);
}

function lines(value, indent, out) {
  const pad = ' '.repeat(indent);
  if (Array.isArray(value)) {
    for (const item of value) {
      if (item !== null && typeof item === 'object' && Object.keys(item).length) {
        const inner = [];
        lines(item, indent + 2, inner);
        inner[0] = `${pad}- ${inner[0].slice(indent + 2)}`;
        out.push(...inner);
      } else {
        out.push(`${pad}- ${leaf(item)}`);
      }
    }
    return;
  }
  for (const [key, item] of Object.entries(value)) {
    const name = `${pad}${scalar(key)}:`;
    if (item !== null && typeof item === 'object' && Object.keys(item).length) {
      out.push(name);
      lines(item, Array.isArray(item) ? indent : indent + 2, out);
    } else if (typeof item === 'string' && item.includes('\n') && !UNPRINTABLE.test(item.replaceAll('\n', '')) && !/^\s|\s$/.test(item.replace(/\n$/, ''))) {
      out.push(`${name} |${item.endsWith('\n') ? '' : '-'}`);
      for (const line of item.replace(/\n$/, '').split('\n')) out.push(line ? `${pad}  ${line}` : '');
    } else {
      out.push(`${name} ${leaf(item)}`);
    }
  }
}

function leaf(value) {
  if (Array.isArray(value)) return '[]';
  if (value !== null && typeof value === 'object') return '{}';
  return scalar(value);
}

export function toYaml(object) {
  const out = [];
  lines(object, 0, out);
  return `${out.join('\n')}\n`;
}

const YAML_LINE = /^(\s*(?:- )*)((?:"(?:[^"\\]|\\.)*"|[^\s"'#][^:]*?):)(\s.*)?$/;

export function paintYaml(node, text) {
  paint(node, text, (line) => {
    const found = YAML_LINE.exec(line);
    if (!found) return [['value', line]];
    return [['', found[1]], ['key', found[2]], [tone(found[3]?.trim() ?? ''), found[3] ?? '']];
  });
}

export function paintJson(node, text) {
  paint(node, text, (line) => {
    const found = /^(\s*)("(?:[^"\\]|\\.)*":)(\s.*)$/.exec(line);
    if (!found) return [[tone(line.trim()), line]];
    return [['', found[1]], ['key', found[2]], [tone(found[3].trim()), found[3]]];
  });
}

function tone(value) {
  if (/^-?[\d.]+,?$/.test(value)) return 'number';
  if (/^(true|false|null),?$/.test(value)) return 'word';
  return 'value';
}

function paint(node, text, parts) {
  if (text.length > PLAIN_FROM) {
    node.textContent = text;
    return;
  }
  const all = document.createDocumentFragment();
  for (const line of text.split('\n')) {
    for (const [name, part] of parts(line)) {
      if (!name) {
        all.append(part);
        continue;
      }
      const span = document.createElement('span');
      span.className = name;
      span.textContent = part;
      all.append(span);
    }
    all.append('\n');
  }
  node.replaceChildren(all);
}
