// Helpers, copy buttons, and the results embedded in the page.
const byId = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, facts = {}, ...inside) => {
  const element = Object.assign(document.createElement(tag), facts);
  element.append(...inside.filter((part) => part !== null && part !== undefined));
  return element;
};
const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const GLYPHS = { passed: "✓", failed: "✗", crashed: "◆", hung: "◷", unsupported: "–", known: "≈", unchecked: "?", missing: "…" };
const SEVERITY = ["crashed", "hung", "failed", "unchecked", "known", "missing", "unsupported", "passed"];
const LONG = 100000;
const PLACES = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

// Strip ANSI sequences and show other invisible characters, as the page's renderer does.
const visible = (text) => {
  const short = text.length > LONG ? `${text.slice(0, LONG)} … cut, ${grouped(text.length)} characters` : text;
  return short
    .replace(/\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)/g, "")
    .replace(/\r\n/g, "\n")
    .replace(/(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (character) => {
      const code = character.codePointAt(0);
      return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
    });
};

// --- copy buttons ---
const copy = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
};
const copier = (pre) => {
  const box = make("div", { className: "copier" });
  const button = make("button", { type: "button", textContent: "Copy" });
  const label = pre.closest(".command, details")?.querySelector(".label, summary")?.textContent;
  if (label) button.setAttribute("aria-label", `Copy: ${label}`);
  button.addEventListener("click", async () => {
    await copy(pre.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  pre.replaceWith(box);
  box.append(pre, button);
};
all("pre.copy").forEach(copier);

// --- the embedded results ---
const unpack = async (id) => {
  const text = byId(id)?.textContent.trim();
  if (!text) return "";
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
};
let results = "";
const status = (name) => (name in GLYPHS ? name : "unchecked");
const load = async () => {
  results = await unpack("results_data");
  const lines = results.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  const found = lines.filter((line) => line.kind === "verdict");
  found.forEach((line, place) => { line.place = place; line.state = status(line.status); line.shown = line.id; });
  return found;
};
// A comparison page has its rows in a table instead.
const written = () => all("tr[data-id]").map((row, place) => ({ ...row.dataset, state: row.dataset.status, place, row, message: row.textContent }));
const extra = async () => JSON.parse((await unpack("extra_data")) || "{}");
let ready = null;
let facts = { heat: [], bars: [], bugs: {}, missing: [] };
let verdicts = [];
const start = () => {
  ready ??= (async () => {
    facts = { ...facts, ...(await extra()) };
    drawBars();
    verdicts = byId("results_data") ? await load() : written();
    for (const id of facts.missing) {
      const [layer, check, dtype, ...device] = id.split("-");
      verdicts.push({ id, layer, check, dtype, device: device.join("-"), state: "missing", place: verdicts.length });
    }
  })();
  return ready;
};
