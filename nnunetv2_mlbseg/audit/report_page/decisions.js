// What a person decided: kept by the browser for this audit, undone step by step, saved as a file.
const DECISIONS = { proposal: "accepted", leave: "left", reannotated: "draw anew" };
const STORE = ["mlbseg-audit", about.dataset, about.trainer, about.configuration, `fold ${about.fold}`, about.audit].join("/");
const THEME = "mlbseg-audit/theme";
const past = [];
let decisions = {};
let kept = true;

function load(key) {
  try { return localStorage.getItem(key); } catch { kept = false; return null; }
}

function keep(key, text) {
  try { localStorage.setItem(key, text); } catch { kept = false; }
  $("storage").hidden = kept;
}

function loadDecisions() {
  let found = {};
  try { found = JSON.parse(load(STORE) || "{}"); } catch { found = {}; }
  for (const row of cases) if (found[row.case] in DECISIONS && may(row, found[row.case])) decisions[row.case] = found[row.case];
}

const may = (row, decision) => decision !== "proposal" || proposed(row);

// One step, undone as a whole. changes: [case, decision or null] each.
function decide(changes, says) {
  const real = changes.filter(([name, decision]) => (decisions[name] ?? null) !== decision);
  if (!real.length) return;
  past.push({ before: real.map(([name]) => [name, decisions[name] ?? null]), says });
  set(real);
  say(`${says}. Ctrl+Z undoes it.`);
}

function set(changes) {
  for (const [name, decision] of changes) if (decision) decisions[name] = decision; else delete decisions[name];
  keep(STORE, JSON.stringify(decisions));
  showDecisions();
}

function undo() {
  const step = past.pop();
  if (!step) return;
  set(step.before);
  say(`Undone: ${step.says}`);
}

function acceptable() {
  const most = Number($("all-p").value);
  return cases.filter(row => proposed(row) && !decisions[row.case] && row.p_value !== null && row.p_value <= most);
}

function acceptAll() {
  const rows = acceptable();
  decide(rows.map(row => [row.case, "proposal"]), `${rows.length} proposal${rows.length === 1 ? "" : "s"} accepted`);
}

// The file that `mlbseg audit --apply` reads. What is left as it is does not stand in it.
function save() {
  const chosen = Object.fromEntries(Object.entries(decisions).filter(([, decision]) => decision !== "leave"));
  if (!Object.keys(chosen).length) return say("Nothing to save yet: no proposal is accepted and no case is to be drawn anew.");
  const text = JSON.stringify({ dataset: about.dataset, cases: chosen }, null, 2);
  element("a", { href: "data:application/json;charset=utf-8," + encodeURIComponent(text), download: "SELECTION.json" }).click();
  say(`Saved ${Object.keys(chosen).length} of ${cases.length} cases as SELECTION.json.`);
}

function say(text) {
  $("said").textContent = text;
}

function showDecisions() {
  const done = cases.filter(row => decisions[row.case]).length;
  $("progress").textContent = `${done} of ${cases.length} decided`;
  $("done").max = Math.max(1, cases.length);
  $("done").value = done;
  $("undo").disabled = !past.length;
  for (const line of $("cases").tBodies[0].rows) showDecision(line.cells[line.cells.length - 1], line.dataset.case);
  for (const button of document.querySelectorAll("[data-decision]"))
    button.setAttribute("aria-pressed", String(decisions[state.current?.case] === button.dataset.decision));
  const count = acceptable().length;
  $("all-accept").textContent = `Accept all ${count} proposal${count === 1 ? "" : "s"}`;
  $("all-accept").disabled = !count;
}

function showDecision(cell, name) {
  cell.textContent = DECISIONS[decisions[name]] || "–";
  cell.dataset.is = decisions[name] || "";
}
