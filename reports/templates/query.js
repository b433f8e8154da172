// The query language of the filter.
// --- the query language ---
const FIELDS = ["layer", "check", "dtype", "device", "status", "id", "is"];
const TERM = /(-|!)?(?:([a-z]+):)?((?:"[^"]*"|[^\s"])+)/g;
const glob = (text) => new RegExp(`^${text.replace(/[.+^${}()|[\]\\?]/g, "\\$&").replace(/\*/g, ".*")}$`, "i");
const parse = (query) => [...query.matchAll(TERM)].map(([whole, not, field, rest]) => {
  const known = FIELDS.includes(field);
  const text = known || !field ? rest : `${field}:${rest}`;
  const words = text.match(/"[^"]*"|[^,"]+/g) ?? [];
  const values = words.map((word) => word.replaceAll('"', "")).filter(Boolean);
  return { not: Boolean(not), field: known ? field : "", values, tests: values.map(glob), whole };
});
const holds = (term, verdict) => {
  if (!term.field) {
    const text = `${verdict.id} ${verdict.call ?? ""} ${verdict.message ?? ""}`.toLowerCase();
    return term.values.some((value) => text.includes(value.toLowerCase()));
  }
  const value = term.field === "status" ? verdict.state : verdict[term.field] ?? "";
  return term.tests.some((test) => test.test(value));
};
const encode = (query) => encodeURIComponent(query).replace(/%20/g, "+").replace(/%3A/gi, ":").replace(/%2C/gi, ",");
const decode = (text) => { try { return decodeURIComponent(text.replace(/\+/g, " ")); } catch { return text; } };
const quote = (value) => (/[\s,"*]/.test(value) ? `"${value.replaceAll('"', "")}"` : value);

const form = byId("filters");
const box = byId("query");
const shown = byId("shown");
const facets = all("[data-field]");
let matching = [];

const search = () => {
  const terms = parse(box.value);
  matching = verdicts.filter((verdict) => terms.every((term) => holds(term, verdict) !== term.not));
  return terms;
};
