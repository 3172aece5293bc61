(() => {
  'use strict';

  // Everything that comes from data becomes a text node or a property; no markup is ever made of it.
  const data = JSON.parse(document.getElementById('data').textContent);
  // Of ten thousand examples few are looked at: what is sorted and filtered by lies open, the rest is a line each that is read when it is wanted.
  const heads = data.views;
  const lines = [...document.querySelectorAll('script[data-views]')].flatMap(part => part.textContent.split('\n'));
  const queries = new Set(heads.q);
  const [hasPicture, isWords, hasContent] = [index => heads.c[index] === '1', index => heads.c[index] === '2', index => heads.c[index] !== '0'];
  const digits = new Intl.NumberFormat('en', { maximumSignificantDigits: 4 });
  const whole = new Intl.NumberFormat('en');

  const make = (tag, properties, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name === 'class') element.className = value;
      else if (name.includes('-') || name === 'role' || name === 'for') element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children.filter(child => child !== null && child !== undefined));
    return element;
  };

  const number = value => {
    if (value === null) return 'no number';
    const size = Math.abs(value);
    return value !== 0 && Number.isFinite(value) && (size >= 1e6 || size < 1e-3) ? value.toExponential(2) : digits.format(value);
  };
  const signed = value => (value > 0 ? '+' : '') + number(value);
  const nameOf = view => (view.k === 'q' ? 'Query ' : 'Training example ') + view.i;
  const hasWords = view => !view.p && (view.x || view.s || view.f);

  // What is said of a pair stands beside what is known of its training example.
  const train = new Map();
  for (const section of data.queries) for (const item of section.items) for (const entry of [...item.p, ...item.o]) if (entry[2] !== undefined) train.set(entry[2], entry[0]);
  const read = new Map();
  const viewOf = index => {
    let view = read.get(index);
    if (view === undefined) {
      view = { i: heads.i[index], ...(queries.has(index) ? { k: 'q' } : {}), ...(heads.l[index] ? { l: heads.l[index] } : {}), ...(heads.m[index] ? { m: heads.m[index] } : {}), ...JSON.parse(lines[index]) };
      if (train.has(index)) view = { ...viewOf(train.get(index)), ...(view.s ? { x: undefined } : {}), ...view };
      read.set(index, view);
    }
    return view;
  };

  // --- one example ---------------------------------------------------------------------------------------------------

  const picture = (view, properties) => make('img', {
    src: 'data:image/png;base64,' + view.p[0], alt: 'Picture of ' + nameOf(view).toLowerCase() + (view.l ? ', ' + view.l : ''), decoding: 'async', ...properties,
  });

  const large = (view, most) => {
    const scale = Math.min(most / view.p[1], most / view.p[2]);
    const by = scale >= 1 ? Math.floor(scale) : scale;
    return picture(view, { class: 'large', width: Math.round(view.p[1] * by), height: Math.round(view.p[2] * by) });
  };

  const strip = ([name, tokens, scores]) => {
    const largest = Math.max(...scores.map(score => Number.isFinite(score) ? Math.abs(score) : 0));
    const text = make('div', { class: 'text' });
    tokens.forEach((token, i) => {
      const level = largest > 0 && Number.isFinite(scores[i]) ? Math.round(10 * Math.abs(scores[i]) / largest) : 0;
      text.append(level === 0 ? token : make('span', { class: 't ' + (scores[i] > 0 ? 'f' : 'a') + level, title: name + ' ' + signed(scores[i]) }, token));
    });
    const order = scores.map((score, i) => i).filter(i => scores[i]).sort((a, b) => Math.abs(scores[b]) - Math.abs(scores[a])).slice(0, 5);
    return [text, make('span', { class: 'sr' }, 'Strongest by ' + name + ': ' + order.map(i => tokens[i].trim() + ' ' + signed(scores[i])).join(', ') + '.')];
  };

  const fields = (list, most) => make('dl', { class: 'fields' }, ...list.slice(0, most).flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]));

  const content = view => [
    view.p ? picture(view, { class: 'thumb' }) : null,
    ...(view.s ? strip(view.s[0]) : []),
    view.x ? make('div', { class: 'text' }, view.x.length > 700 ? view.x.slice(0, 700) + '\u2026' : view.x) : null,
    view.d ? make('div', { class: 'faint' }, 'left out for its size') : null,
  ];

  const card = (tag, view, index, numbers, ...more) => {
    const open = make('button', { type: 'button', class: 'open', 'aria-label': 'Open ' + nameOf(view).toLowerCase() }, '#' + view.i);
    open.addEventListener('click', () => openDialog(index, open));
    return make(tag, { class: 'card' + (view.m ? ' marked' : ''), 'data-v': index },
      ...content(view),
      make('div', { class: 'head' }, open, view.m ? make('span', { class: 'mark' }, view.m) : null),
      view.l ? make('div', { class: 'label' }, view.l) : null,
      view.f ? fields(view.f, 6) : null,
      numbers.length ? make('dl', { class: 'numbers facts' }, ...numbers.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)])) : null,
      ...more);
  };

  // --- where an example stands ---------------------------------------------------------------------------------------

  // Looked up when an example is opened.
  const standsOf = index => {
    const wanted = train.get(index) ?? index;
    const stands = [];
    for (const section of data.suspects) {
      const rank = section.rows.findIndex(row => row[0] === wanted);
      if (rank >= 0) stands.push(section.title + ': rank ' + whole.format(rank + 1) + ', ' + section.columns.map((c, i) => c + ' ' + number(section.rows[rank][i + 1])).join(', '));
    }
    for (const section of data.queries) for (const item of section.items) for (const [side, list] of [['Proponent', item.p], ['Opponent', item.o]])
      list.forEach((entry, rank) => { if (entry[0] === wanted) stands.push(side + ' ' + (rank + 1) + ' of query ' + heads.i[item.v] + ' (' + section.title + '), ' + signed(entry[1])); });
    return stands;
  };

  const dialog = make('dialog', { 'aria-labelledby': 'dialog-title' });
  let opener = null;
  document.body.append(dialog);
  dialog.addEventListener('click', event => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener('close', () => { opener?.focus(); dialog.replaceChildren(); });

  const openDialog = (index, from) => {
    const view = viewOf(index);
    opener = from;
    hidePeek();
    const close = make('button', { type: 'button', class: 'close' }, 'Close');
    close.addEventListener('click', () => dialog.close());
    const stands = standsOf(index);
    dialog.replaceChildren(
      make('h2', { id: 'dialog-title' }, nameOf(view)), close,
      make('p', {}, ...[view.l ? make('span', { class: 'label' }, view.l + ' ') : null, view.m ? make('span', { class: 'mark' }, view.m) : null].filter(x => x)),
      ...[view.p ? large(view, 560) : null,
        ...(view.s || []).flatMap(one => [make('h3', {}, one[0]), ...strip(one)]),
        view.x ? make('div', { class: 'text' }, view.x) : null,
        view.f ? fields(view.f, view.f.length) : null].filter(x => x),
      ...(stands.length ? [make('h3', {}, 'In this report'), make('ul', {}, ...stands.slice(0, 60).map(text => make('li', {}, text)))] : []));
    dialog.showModal();
  };

  // --- a closer look under the pointer, or the keyboard's focus ------------------------------------------------------

  const peek = make('div', { id: 'peek', hidden: true, 'aria-hidden': 'true' });
  document.body.append(peek);
  const hidePeek = () => { peek.hidden = true; };
  const showPeek = target => {
    const view = viewOf(Number(target.dataset.v));
    if (!view || (!view.p && !target.matches('circle, td *'))) return hidePeek();
    peek.replaceChildren(...[view.p ? large(view, 300) : null, make('div', {}, nameOf(view)), view.l ? make('div', { class: 'label' }, view.l) : null,
      view.m ? make('div', { class: 'mark' }, view.m) : null, !view.p && view.x ? make('div', { class: 'text' }, view.x.slice(0, 400)) : null,
      !view.p && view.f ? fields(view.f, 8) : null].filter(x => x));
    peek.hidden = false;
    const at = target.getBoundingClientRect();
    const [width, height] = [peek.offsetWidth, peek.offsetHeight];
    const left = at.right + 10 + width < innerWidth ? at.right + 10 : Math.max(6, at.left - width - 10);
    peek.style.left = left + 'px';
    peek.style.top = Math.max(6, Math.min(at.top, innerHeight - height - 6)) + 'px';
  };
  document.addEventListener('pointerover', event => { const target = event.target.closest('[data-v]'); if (target) showPeek(target); else hidePeek(); });
  document.addEventListener('focusin', event => { const target = event.target.closest('[data-v]'); if (target && event.target.matches(':focus-visible')) showPeek(target); else hidePeek(); });
  document.addEventListener('keydown', event => { if (event.key === 'Escape') hidePeek(); });
  document.addEventListener('scroll', hidePeek, { passive: true });
  document.addEventListener('click', event => { const dot = event.target.closest('circle[data-v]'); if (dot) openDialog(Number(dot.dataset.v), null); });

  // --- helpers of the lists ------------------------------------------------------------------------------------------

  const copy = async (text, status, count) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make('textarea', { value: text, class: 'sr' });
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
    }
    status.textContent = 'Copied ' + whole.format(count) + (count === 1 ? ' id.' : ' ids.');
  };

  // Digits are ids, several with spaces or commas between them; anything else is looked for in the texts.
  const finder = text => {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return () => true;
    if (/^[#\-\d\s,;]+$/.test(wanted)) {
      const ids = new Set(wanted.split(/[\s,;]+/).map(id => id.replace(/^#/, '')));
      return index => ids.has(heads.i[index]);
    }
    return index => {
      const view = viewOf(index);
      return [view.l, view.m, view.x, ...(view.f || []).map(f => f[0] + ' ' + f[1]), ...(view.s ? [view.s[0][1].join('')] : [])].some(part => part && part.toLowerCase().includes(wanted));
    };
  };

  const compare = (a, b, up) => {
    if (a === b) return 0;
    if (a === null || a === undefined || a === '') return 1;
    if (b === null || b === undefined || b === '') return -1;
    const order = typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en', { numeric: true });
    return up ? order : -order;
  };

  const later = action => { let timer; return () => { clearTimeout(timer); timer = setTimeout(action, 120); }; };

  const labelled = (text, control) => make('label', {}, text, control);

  const pager = (state, draw) => {
    const [first, back, next, last] = ['First', 'Back', 'Next', 'Last'].map(text => make('button', { type: 'button' }, text));
    const where = make('span', {});
    first.addEventListener('click', () => { state.page = 0; draw(true); });
    back.addEventListener('click', () => { state.page--; draw(true); });
    next.addEventListener('click', () => { state.page++; draw(true); });
    last.addEventListener('click', () => { state.page = Infinity; draw(true); });
    const bar = make('div', { class: 'pager', role: 'group', 'aria-label': 'Pages' }, first, back, where, next, last);
    return [bar, (count, size) => {
      const pages = Math.max(1, Math.ceil(count / size));
      state.page = Math.max(0, Math.min(state.page, pages - 1));
      const start = state.page * size;
      where.textContent = count === 0 ? '' : whole.format(start + 1) + ' to ' + whole.format(Math.min(count, start + size)) + ' of ' + whole.format(count);
      first.disabled = back.disabled = state.page === 0;
      next.disabled = last.disabled = state.page === pages - 1;
      bar.hidden = pages === 1;
      return start;
    }];
  };

  // --- suspects ------------------------------------------------------------------------------------------------------

  document.querySelectorAll('[data-suspects]').forEach(host => {
    const section = data.suspects[Number(host.dataset.suspects)];
    const all = section.rows.map((row, rank) => ({ index: row[0], rank, numbers: row.slice(1) }));
    const words = all.some(row => isWords(row.index));
    const state = { page: 0, sort: 'rank', up: true, table: !words && !all.some(row => hasPicture(row.index)), label: '', mark: '', find: '' };
    const keys = [['rank', 'rank', row => row.rank], ['id', 'id', row => heads.i[row.index]], ['label', 'label', row => heads.l[row.index]], ['mark', 'mark', row => heads.m[row.index]],
      ...section.columns.map((name, i) => ['n' + i, name, row => row.numbers[i]])];
    const keyOf = Object.fromEntries(keys.map(([key, , get]) => [key, get]));
    const count = key => { const counts = new Map(); for (const row of all) { const value = heads[key][row.index]; if (value) counts.set(value, (counts.get(value) || 0) + 1); } return counts; };
    const options = (counts, none) => [make('option', { value: '' }, none), ...[...counts].sort((a, b) => b[1] - a[1]).slice(0, 300).map(([value, n]) => make('option', { value }, (value.length > 60 ? value.slice(0, 60) + '\u2026' : value) + ' (' + whole.format(n) + ')'))];
    const [labels, marks] = [count('l'), count('m')];
    const find = make('input', { type: 'search', placeholder: 'ids, or words', autocomplete: 'off' });
    const label = make('select', {}, ...options(labels, 'every label'));
    const mark = make('select', {}, ...options(marks, 'marked or not'));
    const shown = keys.filter(([key]) => (key !== 'label' || labels.size) && (key !== 'mark' || marks.size));
    const sort = make('select', {}, ...shown.map(([key, name]) => make('option', { value: key }, name)));
    const direction = make('button', { type: 'button' }, 'Ascending');
    const gallery = make('button', { type: 'button' }, 'Gallery');
    const table = make('button', { type: 'button' }, 'Table');
    const copyIds = make('button', { type: 'button' }, 'Copy ids');
    const status = make('p', { class: 'status', role: 'status' });
    const list = make('div', { class: 'scroll', tabIndex: -1 });
    let found = all;
    const [bar, turn] = pager(state, moved => draw(moved));

    const draw = moved => {
      const size = state.table ? 100 : 60;
      const start = turn(found.length, size);
      const rows = found.slice(start, start + size);
      gallery.setAttribute('aria-pressed', String(!state.table));
      table.setAttribute('aria-pressed', String(state.table));
      direction.textContent = state.up ? 'Ascending' : 'Descending';
      sort.value = state.sort;
      list.replaceChildren(state.table ? asTable(rows) : make('ul', { class: 'cards' + (words ? ' words' : '') },
        ...rows.map(row => card('li', viewOf(row.index), row.index, section.columns.map((name, i) => [name, number(row.numbers[i])])))));
      if (moved) host.scrollIntoView({ block: 'start' });
    };

    const asTable = rows => {
      const heads = shown.map(([key, name]) => {
        const button = make('button', { type: 'button' }, name);
        button.addEventListener('click', () => { state.up = state.sort === key ? !state.up : key === 'rank' || key[0] !== 'n'; state.sort = key; update(); list.querySelector('th[aria-sort] button')?.focus(); });
        const head = make('th', { scope: 'col', class: key === 'rank' || key === 'id' || key[0] === 'n' ? 'n' : '' }, button);
        if (state.sort === key) head.setAttribute('aria-sort', state.up ? 'ascending' : 'descending');
        return head;
      });
      const example = all.some(row => hasContent(row.index));
      return make('table', {}, make('thead', {}, make('tr', {}, ...heads, example ? make('th', { scope: 'col' }, 'example') : null)),
        make('tbody', {}, ...rows.map(row => {
          const view = viewOf(row.index);
          const open = make('button', { type: 'button', 'data-v': row.index, 'aria-label': 'Open ' + nameOf(view).toLowerCase() }, view.i);
          open.addEventListener('click', () => openDialog(row.index, open));
          const cells = { rank: whole.format(row.rank + 1), id: open, label: view.l || '', mark: view.m || '' };
          section.columns.forEach((name, i) => { cells['n' + i] = number(row.numbers[i]); });
          return make('tr', {}, ...shown.map(([key]) => make('td', { class: key === 'rank' || key === 'id' || key[0] === 'n' ? 'n' : '' }, cells[key])),
            example ? make('td', {}, view.p ? make('span', { 'data-v': row.index }, picture(view, { class: 'thumb' })) : (view.x || (view.s ? view.s[0][1].join('') : (view.f || []).map(f => f.join(' ')).join(', '))).slice(0, 160)) : null);
        })));
    };

    const update = () => {
      const matches = finder(state.find);
      found = all.filter(row => (!state.label || heads.l[row.index] === state.label) && (!state.mark || heads.m[row.index] === state.mark) && matches(row.index));
      if (state.sort !== 'rank' || !state.up) { const get = keyOf[state.sort]; found.sort((a, b) => compare(get(a), get(b), state.up) || a.rank - b.rank); }
      state.page = 0;
      status.textContent = (found.length === all.length ? '' : whole.format(found.length) + ' of ') + whole.format(all.length) + ' examples' + (found.length === all.length ? '' : ' match') + '.';
      draw(false);
    };

    find.addEventListener('input', later(() => { state.find = find.value; update(); }));
    label.addEventListener('change', () => { state.label = label.value; update(); });
    mark.addEventListener('change', () => { state.mark = mark.value; update(); });
    sort.addEventListener('change', () => { state.sort = sort.value; state.up = sort.value[0] !== 'n'; update(); });
    direction.addEventListener('click', () => { state.up = !state.up; update(); });
    gallery.addEventListener('click', () => { state.table = false; draw(false); });
    table.addEventListener('click', () => { state.table = true; draw(false); });
    copyIds.addEventListener('click', () => copy(found.map(row => heads.i[row.index]).join('\n'), status, found.length));
    host.append(make('div', { class: 'tools', role: 'group', 'aria-label': 'Sort and filter: ' + section.title },
      labelled('Find', find), labels.size > 1 ? labelled('Label', label) : null, marks.size ? labelled('Mark', mark) : null, labelled('Sort by', sort), direction,
      make('div', { class: 'group', role: 'group', 'aria-label': 'Layout' }, gallery, table), copyIds), status, list, bar);
    update();
  });

  // --- queries -------------------------------------------------------------------------------------------------------

  document.querySelectorAll('[data-queries]').forEach(host => {
    const section = data.queries[Number(host.dataset.queries)];
    const state = { page: 0, find: '', marked: false };
    const items = section.items;
    const find = make('input', { type: 'search', placeholder: 'ids of queries, or words', autocomplete: 'off' });
    const shaped = make('input', { type: 'search', placeholder: 'ids of training examples', autocomplete: 'off' });
    const status = make('p', { class: 'status', role: 'status' });
    const list = make('div', {});
    let found = items;
    const [bar, turn] = pager(state, moved => draw(moved));
    const side = (title, item, entries, largest) => {
      const ids = make('button', { type: 'button' }, 'Copy ids');
      ids.addEventListener('click', () => copy(entries.map(entry => heads.i[entry[0]]).join('\n'), status, entries.length));
      const words = entries.some(entry => hasWords(viewOf(entry[2] ?? entry[0])));
      return make('div', {}, make('div', { class: 'head top' }, make('h3', {}, title), ids),
        make('ol', { class: 'cards' + (words ? ' words' : '') }, ...entries.map(entry => {
          const fill = make('i', {});
          fill.style.width = (largest > 0 && Number.isFinite(entry[1]) ? 100 * Math.abs(entry[1]) / largest : 0) + '%';
          return card('li', viewOf(entry[2] ?? entry[0]), entry[2] ?? entry[0], [['score', signed(entry[1])]],
            make('div', { class: 'bar' + (entry[1] < 0 ? ' against' : '') }, fill));
        })));
    };
    const draw = moved => {
      const start = turn(found.length, 10);
      list.replaceChildren(...found.slice(start, start + 10).map(item => {
        const view = viewOf(item.v);
        const largest = Math.max(...[...item.p, ...item.o].map(entry => Number.isFinite(entry[1]) ? Math.abs(entry[1]) : 0));
        return make('article', { class: 'query' + (hasWords(view) ? ' words' : ''), 'aria-label': nameOf(view) },
          card('div', view, item.v, []), make('div', { class: 'sides' }, side('Proponents: lower the measurement', item, item.p, largest), item.o.length ? side('Opponents: raise it', item, item.o, largest) : null));
      }));
      if (moved) host.scrollIntoView({ block: 'start' });
    };
    const update = () => {
      const [matches, near] = [finder(find.value), finder(shaped.value)];
      found = items.filter(item => matches(item.v) && (!shaped.value.trim() || [...item.p, ...item.o].some(entry => near(entry[0]))));
      state.page = 0;
      status.textContent = (found.length === items.length ? '' : whole.format(found.length) + ' of ') + whole.format(items.length) + (items.length === 1 ? ' query.' : ' queries.');
      draw(false);
    };
    find.addEventListener('input', later(update));
    shaped.addEventListener('input', later(update));
    host.append(make('div', { class: 'tools', role: 'group', 'aria-label': 'Filter: ' + section.title }, labelled('Find queries', find), labelled('Shaped by', shaped)), status, list, bar);
    update();
  });

  // --- tables that sort, and the colours -----------------------------------------------------------------------------

  document.querySelectorAll('table[data-sortable]').forEach(table => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make('button', { type: 'button' }, head.textContent);
      head.replaceChildren(button);
      button.addEventListener('click', () => {
        const up = head.getAttribute('aria-sort') === 'descending' || (head.getAttribute('aria-sort') === null && !head.classList.contains('n'));
        heads.forEach(other => other.removeAttribute('aria-sort'));
        head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
        const value = row => { const cell = row.cells[column]; return cell.dataset.n !== undefined ? (cell.dataset.n === '' ? null : Number(cell.dataset.n)) : cell.textContent; };
        const body = table.tBodies[0];
        body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b), up)));
      });
    });
  });

  const theme = document.querySelector('.theme');
  theme.hidden = false;
  theme.addEventListener('click', () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    document.documentElement.dataset.theme = dark ? 'light' : 'dark';
  });
})();
