// The tables: of cases, and, where the audit knows them, of sources of labels and of what to label next.
const COLUMNS = [
  { key: "rank", head: "#", title: "Rank by score, worst first", of: row => String(row.rank) },
  { key: "case", head: "Case", text: true, of: row => element("button", { class: "case", title: row.case }, row.case) },
  ...(sourced ? [{ key: "source", head: "Source", text: true, of: row => row.source || "–" }] : []),
  { key: "score", head: "Score", title: "Dice that the given label can expect", of: row => dice(row.score) },
  ...(structures.length > 1 ? structures.map(one => ({ key: `class ${one.name}`, head: one.letter, title: `Score of ${plain(one.name)}`, of: row => dice(row.class_scores[one.name]), value: row => row.class_scores[one.name] })) : []),
  { key: "expected_gain", head: "Gain", title: "Expected gain: score of the proposal less that of the given label", of: row => signed(row.expected_gain) },
  { key: "p_value", head: "p", title: "Share of right labels that would change as much", of: row => probability(row.p_value) },
  { key: "proposed", head: "Prop.", title: "Whether a correction is proposed", of: row => proposed(row) ? "yes" : "no", value: row => Number(proposed(row)) },
  { key: "decision", head: "Decision", text: true, of: row => DECISIONS[decisions[row.case]] || "–", value: row => decisions[row.case] || "" },
];

function matches(row, words) {
  const text = [row.case, row.source || "", ...row.regions.map(one => `${one.kind} ${one.given} ${one.proposed} ${one.words}`)].join(" ").toLowerCase();
  return words.every(word => text.includes(word));
}

function headCases() {
  $("cases").tHead.rows[0].replaceChildren(...COLUMNS.map(({ key, head, title, text }) => {
    const button = element("button", title ? { title } : {}, head);
    button.onclick = () => { state.down = state.key === key && !state.down; state.key = key; fillCases(); };
    return element("th", { "data-key": key, class: text ? "text" : "" }, button);
  }));
}

function fillCases() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean), sign = state.down ? -1 : 1;
  const column = COLUMNS.find(one => one.key === state.key), value = column.value || (row => row[state.key]);
  state.order = cases.filter(row => matches(row, words)).sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if ((x ?? null) === null || (y ?? null) === null) return ((x ?? null) === null) - ((y ?? null) === null) || a.rank - b.rank;
    return sign * (typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y) || a.rank - b.rank;
  });
  $("cases").tBodies[0].replaceChildren(...state.order.map(caseLine));
  $("shown").textContent = state.order.length === cases.length ? `${cases.length} cases` : `${state.order.length} of ${cases.length}`;
  for (const head of $("cases").tHead.rows[0].cells) {
    if (head.dataset.key === state.key) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  showDecisions();
}

function caseLine(row) {
  const cells = COLUMNS.map(({ key, text, of }) => element("td", { class: `${text ? "text " : ""}${key === "decision" ? "decided" : ""}` }, of(row)));
  const line = element("tr", { "data-case": row.case, "aria-selected": row === state.current, class: proposed(row) ? "" : "quiet" }, ...cells);
  line.onclick = () => select(row);
  return line;
}

function fillTable(table, heads, lines) {
  table.replaceChildren(
    element("thead", {}, element("tr", {}, ...heads.map(([name, text]) => element("th", { class: text ? "text" : "" }, name)))),
    element("tbody", {}, ...lines.map(cells => element("tr", {}, ...cells.map((cell, k) => element("td", { class: heads[k][1] ? "text wrap" : "" }, cell))))));
}

function caseLink(name) {
  const row = cases.find(one => one.case === name);
  if (!row) return name;
  const button = element("button", { class: "case" }, name);
  button.onclick = () => select(row);
  return button;
}

function showTabs() {
  const tabs = [["cases", "Cases"]];
  if (about.sources && about.sources.length) {
    tabs.push(["sources", "Where labels come from"]);
    fillTable($("sources"), [["Source", true], ["Cases"], ["Dice"], ["Interval"], ["Usual errors", true]], about.sources.map(one =>
      [one.source, String(one.cases), dice(one.dice), one.dice_interval ? one.dice_interval.map(dice).join(" to ") : "–", one.errors.join("; ") || "–"]));
  }
  if (about.to_label && about.to_label.length) {
    tabs.push(["label", "What to label next"]);
    fillTable($("to-label"), [["#"], ["Case", true], ["Gain"], ["Dice now"], ["Why", true]], about.to_label.map(one =>
      [String(one.rank), caseLink(one.case), signed(one.expected_gain), dice(one.expected_dice), one.why]));
  }
  const bar = document.querySelector(".tabs");
  bar.hidden = tabs.length < 2;
  bar.replaceChildren(...tabs.map(([name, words]) => {
    const tab = element("button", { role: "tab", "aria-controls": `panel-${name}`, "data-tab": name }, words);
    tab.onclick = () => openTab(name);
    return tab;
  }));
  openTab("cases");
}

function openTab(name) {
  for (const tab of document.querySelectorAll("[role=tab]")) tab.setAttribute("aria-selected", String(tab.dataset.tab === name));
  for (const panel of document.querySelectorAll("[role=tabpanel]")) panel.hidden = panel.id !== `panel-${name}`;
}
