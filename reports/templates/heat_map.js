// At a glance: layers by family, a square for each layer and check with its worst status.
// --- heat map ---
const map = byId("heat_map");
if (map && matrix) {
  const families = new Map();
  for (const row of rowsOf) {
    const name = row.dataset.family || "other layers";
    if (!families.has(name)) families.set(name, []);
    families.get(name).push(row);
  }
  const square = (row, cell, check) => {
    const state = cell.className;
    if (state === "none") return make("span", { className: "square none" });
    const told = `${row.dataset.layer} ${check}: ${state}`;
    return make("a", { className: `square ${state}`, href: cell.querySelector("a").hash, title: told, ariaLabel: told });
  };
  const head = make("tr", {}, make("th", { scope: "col", textContent: "Family" }), ...checks.map((check) => make("th", { scope: "col", textContent: check })));
  const body = [...families].map(([name, members]) => make("tr", {},
    make("th", { scope: "row" }, `${name} `, make("span", { className: "share", textContent: String(members.length) })),
    ...checks.map((check, column) => make("td", {}, ...members.map((row) => square(row, row.cells[column + 1], check))))));
  map.querySelector("table").append(make("thead", {}, head), make("tbody", {}, ...body));
  const states = SEVERITY.filter((state) => map.querySelector(`.square.${state}`));
  map.querySelector(".legend").append(...states.flatMap((state) => [make("span", { className: `square ${state}` }), ` ${state} `]));
  map.hidden = false;
}

