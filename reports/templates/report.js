"use strict";
(() => {
  // Copy buttons.
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  for (const pre of document.querySelectorAll("pre.copy")) {
    const box = document.createElement("div");
    const button = document.createElement("button");
    box.className = "copier";
    button.type = "button";
    button.textContent = "Copy";
    pre.replaceWith(box);
    box.append(pre, button);
    button.addEventListener("click", async () => {
      await copy(pre.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  // Facets over the detail rows, kept in the address as #?dtype=float32&status=failed.
  const form = document.getElementById("filters");
  const shown = document.getElementById("shown");
  const names = ["check", "dtype", "device", "status", "text"];
  const layers = [...document.querySelectorAll("details.layer")].map((box) => ({
    box,
    name: box.querySelector(".name").textContent.toLowerCase(),
    rows: [...box.querySelectorAll("tbody tr")].map((row) => ({
      row,
      check: row.cells[0].textContent.trim(),
      dtype: row.cells[1].textContent.trim(),
      device: row.cells[2].textContent.trim(),
      status: row.dataset.status,
    })),
  }));
  const total = layers.reduce((sum, layer) => sum + layer.rows.length, 0);
  let filtered = false;
  const wanted = () => Object.fromEntries(names.map((name) => [name, form.elements[name].value.trim()]));

  const apply = () => {
    const want = wanted();
    const text = want.text.toLowerCase();
    const active = names.some((name) => want[name]);
    const facets = ["check", "dtype", "device", "status"].filter((name) => want[name]);
    let count = 0;
    for (const layer of layers) {
      const named = layer.name.includes(text);
      let here = 0;
      for (const entry of layer.rows) {
        const keep = named && facets.every((name) => entry[name] === want[name]);
        entry.row.hidden = !keep;
        here += keep;
      }
      layer.box.hidden = active && !here;
      if (active || filtered) layer.box.open = active && here > 0 && (facets.length > 0 || here === layer.rows.length);
      count += here;
    }
    filtered = active;
    const digits = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
    shown.textContent = `${digits(count)} of ${digits(total)} verdicts`;
  };

  const store = () => {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(wanted())) if (value) query.set(name, value);
    const hash = query.size || String(query) ? `#?${query}` : "#details";
    history.replaceState(null, "", hash);
  };

  // An address either holds filters or names a place; a place inside closed details opens them.
  const follow = () => {
    if (location.hash.startsWith("#?")) {
      const query = new URLSearchParams(location.hash.slice(2));
      for (const name of names) form.elements[name].value = query.get(name) ?? "";
      apply();
      return true;
    }
    let id = location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch { /* as it stands */ }
    const target = id && document.getElementById(id);
    if (target?.matches("details.layer")) {
      if (target.hidden) { form.reset(); apply(); }
      target.open = true;
      target.scrollIntoView();
    }
    return false;
  };

  form.hidden = false;
  form.addEventListener("input", () => { apply(); store(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { apply(); store(); }));
  addEventListener("hashchange", follow);
  apply();
  if (follow()) document.getElementById("details").scrollIntoView();

  // On paper every reproducer shows.
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll(".entry details")) details.open = true;
  });
})();
