// A filter above each long table: rows stay that contain all its words.
"use strict";
for (const table of document.querySelectorAll("table.docutils")) {
  const rows = [...table.querySelectorAll("tbody tr")];
  if (rows.length < 20) continue;
  const texts = rows.map(row => row.textContent.toLowerCase());
  const field = Object.assign(document.createElement("input"), { type: "search", placeholder: "Filter" });
  field.setAttribute("aria-label", "Filter the rows of this table");
  const count = Object.assign(document.createElement("output"), { textContent: `${rows.length} rows` });
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    let shown = 0;
    rows.forEach((row, index) => {
      row.hidden = !words.every(word => texts[index].includes(word));
      shown += !row.hidden;
    });
    count.textContent = `${shown} of ${rows.length} rows`;
  });
  const line = Object.assign(document.createElement("p"), { className: "filter" });
  line.append(field, " ", count);
  (table.closest(".table-wrapper") ?? table).before(line);
}
