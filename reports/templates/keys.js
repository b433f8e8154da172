// Keys, events of the filter, the download, and the start.
// --- keys ---
const help = byId("help");
const stops = () => all(".entry h3 a, #rows tbody a, tr[data-id] a").filter((link) => link.offsetParent !== null);
const step = (by) => {
  const links = stops();
  if (!links.length) return;
  const here = links.indexOf(document.activeElement);
  const next = links[here < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(Math.max(here + by, 0), links.length - 1)];
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "center" });
};
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input, textarea, select");
  if (event.key === "Escape" && typing) { event.target.blur(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "/") { event.preventDefault(); box.focus(); box.select(); }
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "?") help.showModal();
});
byId("help_button").addEventListener("click", () => help.showModal());

// --- filter ---
const measure = () => document.documentElement.style.setProperty("--bar-height", getComputedStyle(form).position === "sticky" ? `${form.offsetHeight}px` : "0px");
let waiting = 0;
box.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(async () => { await start(); apply(); store(); }, verdicts.length > 5000 ? 250 : 60);
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(async () => { await start(); apply(); store(); }));
for (const button of facets) {
  button.addEventListener("click", async () => {
    const { field, value } = button.dataset;
    const terms = parse(box.value);
    const mine = terms.find((term) => !term.not && term.field === field);
    const values = new Set(mine?.values ?? []);
    if (!values.delete(value)) values.add(value);
    const kept = terms.filter((term) => term !== mine).map((term) => term.whole);
    if (values.size) kept.push(`${field}:${[...values].map(quote).join(",")}`);
    await ask(kept.join(" "), false);
    store();
  });
}
more?.addEventListener("click", drawMore);

// --- data ---
const download = byId("download");
if (download) {
  download.hidden = false;
  download.addEventListener("click", async () => {
    await start();
    const url = URL.createObjectURL(new Blob([results], { type: "application/x-ndjson" }));
    make("a", { href: url, download: "results.jsonl" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  });
}

form.hidden = false;
measure();
addEventListener("resize", measure);
addEventListener("hashchange", follow);
addEventListener("beforeprint", () => {
  for (const details of all(".entry details, details.space, details.run")) details.open = true;
});
const idle = window.requestIdleCallback ?? ((task) => setTimeout(task, 50));
if (location.hash.length > 1) follow();
else idle(follow);
