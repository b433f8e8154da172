// Parts that the filter changes: the matrix, rows, and everything about a layer.
// --- parts that the filter changes ---
const matrix = document.querySelector(".matrix tbody");
const rowsOf = matrix ? [...matrix.rows] : [];
const checks = matrix ? all(".matrix thead th").slice(1).map((cell) => cell.textContent) : [];
const glyph = (state) => make("span", { className: "glyph", textContent: GLYPHS[state], ariaHidden: "true" });
const away = (text) => make("span", { className: "away", textContent: text });
// The script adds to each cell its address, and words for a screen reader.
rowsOf.forEach((row) => [...row.cells].slice(1).forEach((cell, column) => {
  const state = cell.className;
  if (state === "none") { cell.replaceChildren(make("span", { textContent: "·", ariaHidden: "true" }), away("no such item")); return; }
  const link = cell.querySelector("a");
  link.replaceChildren(glyph(state), " ", make("span", { className: "word", textContent: state }));
  if (!link.hash) link.href = `#q=${encode(`layer:${quote(row.dataset.layer)} check:${quote(checks[column])}`)}`;
  const small = cell.querySelector("small");
  if (!small) return;
  const [share, drawn] = small.textContent.split(" of ");
  small.replaceChildren(share, away(" supported"), ` of ${drawn}`, away(" examples"));
}));
const before = rowsOf.map((row) => [...row.cells].slice(1).map((cell) => ({ cell, html: cell.innerHTML, name: cell.className })));
const percent = (part, whole) => {
  if (!whole) return "–";
  if (part === 0 || part === whole) return `${part ? 100 : 0}\u202f%`;
  return `${Math.min(99.9, Math.max(0.1, (100 * part) / whole)).toFixed(1)}\u202f%`;
};
const compact = (number) => (number < 1000 ? String(number) : number < 9950 ? `${(number / 1000).toFixed(1)}k` : number < 999500 ? `${Math.round(number / 1000)}k` : `${(number / 1e6).toFixed(1)}M`);
const declined = (verdict) => Object.values(verdict.examples?.unsupported ?? {}).reduce((a, b) => a + b, 0);

const drawCell = ({ cell }, found) => {
  cell.replaceChildren();
  cell.className = "gone";
  if (!found) {
    cell.append(make("span", { textContent: "·", ariaHidden: "true" }), make("span", { className: "away", textContent: "filtered out" }));
    return;
  }
  found.sort((a, b) => SEVERITY.indexOf(a.state) - SEVERITY.indexOf(b.state));
  const worst = found[0];
  const part = found.filter((verdict) => verdict.state === worst.state).length;
  const link = make("a", { href: `#${worst.id}` });
  link.dataset.open = worst.id;
  link.append(glyph(worst.state), " ", make("span", { className: "word", textContent: worst.state }));
  cell.className = worst.state;
  cell.append(link);
  if (part !== found.length) cell.append(" ", make("span", { className: "part", textContent: `${part}/${found.length}` }));
  const drawn = found.reduce((sum, verdict) => sum + (verdict.examples?.drawn ?? 0), 0);
  const checked = found.reduce((sum, verdict) => sum + (verdict.examples?.checked ?? 0), 0);
  const less = found.reduce((sum, verdict) => sum + declined(verdict), 0);
  if (worst.state !== "missing") {
    cell.append(make("small", {}, percent(checked, checked + less), away(" supported"), ` of ${compact(drawn)}`, away(" examples")));
  }
};

const drawMatrix = (active) => {
  const cells = new Map();
  if (active) {
    for (const verdict of matching) {
      const key = `${verdict.layer}\n${verdict.check}`;
      if (!cells.has(key)) cells.set(key, []);
      cells.get(key).push(verdict);
    }
  }
  rowsOf.forEach((row, index) => {
    let any = !active;
    before[index].forEach((place, column) => {
      if (!active) {
        place.cell.innerHTML = place.html;
        place.cell.className = place.name;
        return;
      }
      const found = cells.get(`${row.dataset.layer}\n${checks[column]}`);
      any ||= Boolean(found);
      if (place.name !== "none") drawCell(place, found);
    });
    row.hidden = !any;
  });
};

const rows = byId("rows");
const more = byId("more");
const STEP = 100;
let drawn = 0;
const ratio = (margin) => (margin === null || margin === undefined ? "–" : margin > 100 ? margin.toPrecision(3) : margin.toFixed(3));
const drawRow = (verdict) => {
  const link = make("a", { href: `#${verdict.id}`, textContent: visible(`${verdict.layer} · ${verdict.check} · ${verdict.dtype} · ${verdict.device}`) });
  link.dataset.open = verdict.id;
  const e = verdict.examples ?? {};
  const number = (text) => make("td", { className: "number", textContent: text });
  return make("tr", {},
    make("th", { scope: "row" }, link),
    make("td", { className: verdict.state }, glyph(verdict.state), ` ${verdict.state}`),
    number(e.failed ? grouped(e.failed) : "–"),
    number(`${grouped(e.checked ?? 0)} / ${grouped(e.drawn ?? 0)}`),
    number(grouped(declined(verdict))),
    number(grouped(verdict.comparisons ?? 0)),
    number(ratio(verdict.margin)),
    number(verdict.seconds === undefined ? "–" : `${verdict.seconds.toFixed(1)} s`));
};
const drawMore = () => {
  const body = rows.querySelector("tbody");
  body.append(...matching.slice(drawn, drawn + STEP).map(drawRow));
  drawn = Math.min(drawn + STEP, matching.length);
  more.hidden = drawn >= matching.length;
  more.textContent = `Show ${Math.min(STEP, matching.length - drawn)} more of ${grouped(matching.length - drawn)}`;
};
const drawRows = () => {
  if (!rows) return;
  matching.sort((a, b) => SEVERITY.indexOf(a.state) - SEVERITY.indexOf(b.state) || a.place - b.place);
  rows.querySelector("tbody").replaceChildren();
  drawn = 0;
  drawMore();
  rows.hidden = false;
};

let filtered = false;
const apply = () => {
  const terms = search();
  const active = terms.length > 0;
  shown.textContent = active ? `${grouped(matching.length)} of ${grouped(verdicts.length)} shown` : `${grouped(verdicts.length)} verdicts`;
  for (const button of facets) {
    const on = terms.some((term) => !term.not && term.field === button.dataset.field && term.values.includes(button.dataset.value));
    button.setAttribute("aria-pressed", String(on));
  }
  if (active || filtered) {
    drawMatrix(active);
    const places = new Set(matching.map((verdict) => verdict.place));
    const layers = new Set(matching.map((verdict) => verdict.layer));
    for (const [id, members] of Object.entries(facts.bugs)) {
      const entry = byId(id);
      if (entry) entry.hidden = active && !members.some((place) => places.has(place));
    }
    for (const part of all("[data-layer]")) if (!matrix?.contains(part)) part.hidden = active && !layers.has(part.dataset.layer);
    for (const verdict of verdicts) if (verdict.row) verdict.row.hidden = active && !places.has(verdict.place);
  }
  drawRows();
  filtered = active;
};
