// What is known of the case shown: numbers, findings, and the buttons that decide.
function showCase(row) {
  for (const line of $("cases").tBodies[0].rows) line.setAttribute("aria-selected", line.dataset.case === row.case);
  $("title").textContent = `${row.rank}. ${row.case}`;
  $("where").textContent = "";
  $("said").textContent = "";
  const accept = document.querySelector("[data-decision=proposal]");
  accept.disabled = !proposed(row);
  accept.title = proposed(row) ? "Accept the proposal" : verdict(row);
  const figures = [["Score", dice(row.score)], ["Gain", signed(row.expected_gain)], ["p", probability(row.p_value)]];
  const facts = [
    ["Proposal", verdict(row)],
    ["Given label", ml(row.labelled_mm3)],
    ["Expected error", ml(row.expected_error_mm3)],
    ...(structures.length > 1 ? [["Scores", structures.map(one => `${one.letter}\u00a0${dice(row.class_scores[one.name])}`).join(", ")]] : []),
    ...(row.source ? [["Source", row.source]] : []),
    ...(row.further_labels && row.further_labels.length ? [["Also heard", row.further_labels.join(", ")]] : []),
    ...(row.pictures.asked_volume && !row.pictures.volume ? [["Planes", "one only; all three would make this page larger than 30 MB"]] : []),
  ];
  $("figures").replaceChildren(...figures.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  $("facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  showFindings(row);
  showDecisions();
}

function verdict(row) {
  if (proposed(row)) return `changes ${ml(row.corrected_mm3)}`;
  return row.change > 0 ? "none: right labels change as much" : "none: nothing to correct";
}

const capital = words => words.charAt(0).toUpperCase() + words.slice(1);

function showFindings(row) {
  const lines = row.regions.map(finding), { count, mm3 } = row.small;
  const large = lines.slice(0, row.shown), small = lines.slice(row.shown);
  if (count) {
    const rest = count - small.length;
    if (rest) small.push(element("li", { class: "soft" }, `${rest} more in regions.csv`));
    const words = row.shown ? `and ${count} small ones, together ${ml(mm3)}` : `${count} small ones, together ${ml(mm3)}`;
    large.push(element("li", { class: "fold" }, element("details", {}, element("summary", {}, words), element("ol", {}, ...small))));
  }
  if (!large.length) large.push(element("li", { class: "soft" }, "Nothing."));
  $("findings").replaceChildren(...large);
}

function finding(region) {
  const button = element("button", { class: "finding", title: `probability that the label is wrong there: ${dice(region.suspicion)}` },
    element("span", {}, capital(region.words)), element("span", { class: "amount" }, ml(region.size_mm3)));
  button.onclick = () => state.block && goToRegion(region);
  return element("li", {}, button);
}
