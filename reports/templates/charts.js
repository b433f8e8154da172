// Charts, drawn from the page's embedded data.
const SVG = make("template", { innerHTML: "<svg></svg>" }).content.firstChild.namespaceURI;
const svg = (tag, facts, ...inside) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(facts)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
};

// --- histograms: a character for the height of each bar ---
const HEIGHT = 12;
const histogram = (heights, label, edge = heights.length) => {
  if (!heights) return null;
  const part = (from, to) => [...heights].slice(from, to).map((mark, place) => {
    const size = (HEIGHT * PLACES.indexOf(mark)) / (PLACES.length - 1);
    return size ? `M${from + place} ${HEIGHT}v${-size}h.8v${size}z` : "";
  }).join("");
  const marks = [svg("path", { class: "axis", d: `M0 ${HEIGHT}.2h${heights.length}` })];
  if (edge < heights.length) marks.push(svg("path", { class: "edge", d: `M${edge - 0.1} 0v${HEIGHT + 1}` }));
  for (const [name, d] of [["bar", part(0, edge)], ["bad", part(edge, heights.length)]]) if (d) marks.push(svg("path", { class: name, d }));
  return svg("svg", { class: "hist", viewBox: `0 -1 ${heights.length} ${HEIGHT + 2}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, ...marks);
};
// Index of the bar for errors at or above the bound.
const EDGE = 18;
const drawBars = () => all(".nearness li").forEach((entry, place) => {
  const [dtype, link, far] = entry.children;
  const name = `${entry.closest(".layer").dataset.layer}, ${dtype.textContent}`;
  const [ratios, ulps] = facts.bars[place];
  const [margin, check] = link.textContent.replace("✗ ", "").split(" ");
  const over = link.className === "over" ? [make("span", { className: "glyph", textContent: "✗", ariaHidden: "true" }), away("over its bound: "), " "] : [];
  link.replaceChildren(...over, margin, away(" of the bound at most, by"), ` ${check}`);
  link.dataset.open ??= entry.id;
  if (!link.hash) link.href = `#${encodeURIComponent(entry.id)}`;
  const charts = [histogram(ratios, `${name}: error ÷ bound, at most ${margin}`, EDGE), histogram(ulps, `${name}: distance in ulp, ${far.textContent}`)];
  dtype.after(" ", make("span", { className: "charts" }, ...charts));
});

// --- heat maps are drawn when their details are opened ---
const SHADES = { 1: "c1", 2: "c2", 3: "c3", a: "f1", b: "f2", c: "f3" };
const short = (text) => (text.length > 28 ? `${text.slice(0, 28)} … cut, ${grouped(text.length)} characters` : text);
const heatMap = (layer, [counts, marks], values) => {
  const labels = counts.flatMap((count, row) => values[row].slice(0, count));
  const [left, top, size] = [13, 9, labels.length];
  const cells = {};
  let next = 0;
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < row; column++) {
      const shade = SHADES[marks[next++]];
      if (shade) cells[shade] = `${cells[shade] ?? ""}M${column} ${row}h.9v.9h-.9z`;
    }
  }
  const texts = labels.flatMap((label, row) => [
    svg("text", { x: -0.3, y: row + 0.7, "text-anchor": "end" }, short(label)),
    ...(row + 1 < size ? [svg("text", { transform: `translate(${row + 0.2} ${row - 0.1}) rotate(-45)`, x: 0.3 }, short(label))] : [])]);
  return svg("svg", { class: "heat", viewBox: `${-left} ${-top} ${size + left + 9} ${size + top}`, width: (size + left + 9) * 14, role: "img", "aria-label": `${layer}: pairs of values that were drawn together` },
    svg("g", { class: "labels" }, ...texts),
    ...Object.entries(cells).map(([shade, path]) => svg("path", { class: shade, d: path })));
};
const KEY = [["k0", "never met"], ["k1", "1 or 2 cases"], ["k2", "3 to 9"], ["k3", "10 or more"], ["w1", "some failed"], ["w2", "half or more"], ["w3", "all failed"]];
all("details.space").forEach((details, place) => details.addEventListener("toggle", async () => {
  if (!details.open || details.querySelector(".heatbox")) return;
  const { layer } = details.dataset;
  const box = make("div", { className: "heatbox", tabIndex: 0, role: "group", ariaLabel: `${layer}: pairs of values` });
  details.append(box);
  await start();
  const values = all("dt", details).map((name) => all("b", name.nextElementSibling).map((value) => `${name.textContent} ${value.textContent}`));
  box.append(
    make("p", { className: "label", textContent: "Pairs of values that occurred in a case" }),
    make("p", { className: "key" }, ...KEY.map(([name, text]) => make("span", { className: name, textContent: text }))),
    heatMap(layer, facts.heat[place], values));
}));
