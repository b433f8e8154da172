// The address, and the evidence of one verdict.
// --- the address: #q=… is a filter, anything else is an element's id or a verdict ---
const store = () => history.replaceState(null, "", box.value.trim() ? `#q=${encode(box.value.trim())}` : "#");
const ask = async (query, scroll) => {
  box.value = query;
  await start();
  apply();
  if (scroll) (byId("rows") ?? form).scrollIntoView();
};
const reveal = (target) => {
  for (let part = target; part; part = part.parentElement) {
    if (part.matches("details")) part.open = true;
    if (part.hidden && part.matches(".entry, [data-layer]")) { box.value = ""; apply(); }
  }
  target.scrollIntoView();
};
const follow = async () => {
  const hash = location.hash.slice(1);
  if (hash.startsWith("q=")) { await ask(decode(hash.slice(2)), true); return; }
  await start();
  if (!shown.textContent) apply();
  const id = decode(hash);
  const target = id && (byId(id) ?? byId(hash));
  if (target) reveal(target);
  else if (id) open(id);
};

// --- the evidence of one verdict ---
const evidence = byId("evidence");
let opener = null;
const pre = (label, text, name) => make("div", { className: "command" }, make("span", { className: "label", textContent: label }), make("pre", { className: name, tabIndex: name === "copy" ? -1 : 0 }, make("code", { textContent: visible(text) })));
const graded = (verdict) => {
  const grades = Object.entries(verdict.grades ?? {}).map(([name, number]) => `${name} ${grouped(number)}`);
  return grades.length ? `; grades: ${grades.join(", ")} (promised: ${verdict.promised})` : "";
};
const open = (id) => {
  const verdict = verdicts.find((found) => found.id === id);
  if (!verdict || !evidence) return false;
  const e = verdict.examples ?? {};
  byId("evidence_title").replaceChildren(
    make("span", { className: `badge ${verdict.state}` }, glyph(verdict.state), ` ${verdict.state}`),
    ` ${visible(`${verdict.layer} · ${verdict.check} · ${verdict.dtype} · ${verdict.device}`)}`);
  const body = byId("evidence_body");
  const reasons = Object.entries(e.unsupported ?? {});
  const needs = (verdict.needs ?? []).map((need) => `${need.argument}: ${need.value} → ${need.other}: ${need.fails ? "still fails" : "passes"}`);
  body.replaceChildren(make("p", { className: "facts", textContent: verdict.state === "missing" ? "This item has no verdict." : `${grouped(e.checked ?? 0)} of ${grouped(e.drawn ?? 0)} examples checked${e.failed ? `, ${grouped(e.failed)} failed` : ""}${reasons.length ? `, ${grouped(declined(verdict))} declined` : ""}${e.invalid ? `, to ${grouped(e.invalid)} the check did not apply` : ""}; ${grouped(verdict.comparisons ?? 0)} numbers compared; largest error ÷ bound${e.failed ? " in the other examples" : ""} ${ratio(verdict.margin)}${graded(verdict)}` }));
  if (verdict.call) body.append(pre("Minimal call", verdict.call, "copy"));
  if (verdict.message) body.append(pre("Message", verdict.message, "message"));
  if (needs.length) body.append(pre("Arguments changed, one at a time", needs.join("\n"), "plain"));
  if (verdict.worst) body.append(pre("Nearest to its bound", verdict.worst, "plain"));
  if (reasons.length) body.append(pre("Declined", reasons.map(([reason, number]) => `${number} × ${reason}`).join("\n"), "plain"));
  if (verdict.reproducer) body.append(pre("Reproducer, a standalone script", verdict.reproducer, "copy"));
  if (verdict.command) body.append(pre("Run again", verdict.command, "copy"));
  if (verdict.case) body.append(pre("Replay", `nn-conformance replay ${byId("results_data").dataset.results} ${verdict.id}`, "copy"));
  all("pre.copy", body).forEach(copier);
  if (!evidence.open) evidence.showModal();
  return true;
};
evidence?.addEventListener("close", () => {
  store();
  opener?.focus();
});
document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("a[data-open]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  opener = link;
  await start();
  if (open(link.dataset.open)) history.replaceState(null, "", `#${encodeURIComponent(link.dataset.open)}`);
});
