// My recordings: a row a recording, a switch a use, and what hangs on it. The server says what counts; a change shows it at once.
const root = element.querySelector(".at-consents");
const state = { member: "", data: null, filter: "", busy: false, loads: 0, playing: "", player: null };
const ALL = "all";

const [message, showMessage] = createMessage();
const list = createNode("div", { class: "at-consent-rows", role: "list" });
const rowsById = new Map();
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

const useSwitches = (id, name, uses, ending, change) =>
  createNode("div", { class: "at-switches", role: "group", "aria-label": `What the group may do with ${name}` },
    state.data.uses.map((use, place) => {
      const on = uses.includes(use.use);
      return createNode("button", {
        type: "button", class: "at-switch", role: "switch", id: `at-use-${id}-${use.use}`, "aria-checked": String(on), "data-place": place,
        disabled: !use.allowed && !on, tabindex: place === 0 ? "0" : "-1",
        title: use.allowed ? `${use.text}${ending[use.use] ? ` Taken back; it ends on ${ending[use.use]}.` : ""}` : "The agreement does not allow this.",
        onclick: () => change(use, !on),
      }, createNode("span", { class: "at-switch-sign", "aria-hidden": "true" }, on ? "✓" : "–"), use.label);
    }));

const untilField = (id, name, until) => {
  const input = createNode("input", {
    type: "date", class: "at-until", id: `at-until-${id}`, value: until, "aria-label": `Last day on which this counts for ${name}`,
    onchange: (event) => setEnd(id, name, event.target.value),
  });
  return createNode("label", { class: "at-until-label" }, until ? "until " : "no end ", input);
};

const describeCounts = (row) => {
  const labels = state.data.uses.filter((use) => row.counts.includes(use.use)).map((use) => use.label.toLowerCase());
  const with_others = row.people.length > 1 ? "With everybody heard in it counts: " : "What counts: ";
  return `${with_others}${labels.join(", ") || "nothing"}.`;
};
const renderRow = (row) => {
  const about = [row.when, row.people.join(", "), formatTime(row.seconds), row.excepted ? `${plural(row.excepted, "part")} excepted` : ""];
  const node = createNode("article", { class: "at-consent-row", role: "listitem", "data-recording": row.id },
    createNode("div", { class: "at-consent-head" },
      createNode("button", { type: "button", class: "at-hear", id: `at-hear-${row.id}`, "aria-label": `Hear ${row.name}`, onclick: () => hear(row) },
        state.playing === row.id ? "■" : "▶"),
      createNode("div", { class: "at-consent-name" }, createNode("b", {}, row.name), createNode("span", { class: "at-about" }, about.filter(Boolean).join(" · "))),
      untilField(row.id, row.name, row.until)),
    useSwitches(row.id, row.name, row.uses, row.ending, (use, on) => changeUse(row, use, on)),
    createNode("p", { class: "at-about at-hangs" }, row.hangs ? `${plural(row.segments, "segment")}, ${row.hangs}. ` : `${plural(row.segments, "segment")}. `,
      createNode("span", { class: "at-counts" }, describeCounts(row))),
    row.missing.length ? createNode("details", { class: "at-missing" }, createNode("summary", {}, "What is missing"), createNode("ul", { class: "at-list" }, row.missing.map((reason) => createNode("li", {}, reason)))) : null);
  rowsById.set(row.id, node);
  return node;
};
const renderAll = () => {
  const { standing, rows, uses } = state.data;
  const shared = uses.map((use) => use.use).filter((use) => standing.uses.includes(use) && rows.every((row) => row.uses.includes(use)));
  const mixed = uses.filter((use) => !shared.includes(use.use) && (standing.uses.includes(use.use) || rows.some((row) => row.uses.includes(use.use))));
  const node = createNode("article", { class: "at-consent-row at-consent-all", "data-recording": ALL },
    createNode("div", { class: "at-consent-head" },
      createNode("div", { class: "at-consent-name" }, createNode("b", {}, "All of mine"),
        createNode("span", { class: "at-about" }, `${plural(rows.length, "recording")}, and those that come later${standing.own ? "" : " (so far as the agreement says of you)"}`)),
      untilField(ALL, "all of mine", standing.until)),
    useSwitches(ALL, "all of mine", shared, {}, (use, on) => changeUse(null, use, on)),
    mixed.length ? createNode("p", { class: "at-about" }, `Not the same for all: ${mixed.map((use) => use.label.toLowerCase()).join(", ")}.`) : null);
  for (const use of mixed) node.querySelector(`#at-use-${ALL}-${use.use} .at-switch-sign`).textContent = "~";
  return node;
};
const renderTexts = () => createNode("details", { class: "at-more at-use-texts", open: true },
  createNode("summary", {}, "What each switch means"),
  createNode("ul", { class: "at-list" }, state.data.uses.map((use) => createNode("li", {}, use.text, use.allowed ? "" : " The agreement does not allow it now."))),
  createNode("p", { class: "at-about" }, `These words, version ${state.data.version}, are kept with what you say. It counts from now on, at every step.`));

const matches = (row) => [row.name, ...row.people].join(" ").toLowerCase().includes(state.filter.trim().toLowerCase());
const applyFilter = () => {
  const shown = state.data.rows.filter((row) => { const fits = matches(row); rowsById.get(row.id).hidden = !fits; return fits; });
  if (find.value) found.textContent = `${shown.length} of ${state.data.rows.length}`;
  else found.textContent = "";
};
const found = createNode("span", { class: "at-about", role: "status" });
const find = createNode("input", { type: "search", class: "at-text-input at-consent-find", id: "at-consent-find", placeholder: "Find a recording or a player", "aria-label": "Find a recording or a player",
  oninput: () => { state.filter = find.value; applyFilter(); } });

const show = () => {
  if (!state.data) { replaceContent(root, message); return; }
  rowsById.clear();
  const rows = state.data.rows.map(renderRow);
  replaceContent(list, rows.length ? rows : createNode("p", { class: "at-none" }, "You are heard in no recording yet. What you bring in appears here."));
  replaceKeepingFocus(root, createNode("h2", {}, "What the group may do with my recordings"), renderTexts(), message, renderAll(),
    rows.length > 8 ? createNode("div", { class: "at-consent-tools" }, find, found) : null, list);
  if (rows.length) applyFilter();
};

const apply = (answer, words) => {
  root.removeAttribute("aria-busy");
  state.busy = false;
  if (answer.error) { showMessage(answer.error, "at-bad"); return; }
  const focused = root.contains(document.activeElement) ? document.activeElement.id : "";
  const open = root.querySelector(".at-use-texts")?.open;
  state.data = answer;
  show();
  if (open === false) root.querySelector(".at-use-texts").open = false;
  if (focused) root.querySelector(`#${CSS.escape(focused)}`)?.focus();
  showMessage(words, words ? "at-good" : "");
};
const call = async (work, given, send = callServer) => {
  state.busy = true;
  root.setAttribute("aria-busy", "true");
  return send(work, { member: state.member, ...given });
};
const load = async () => {
  state.player?.dispose();
  Object.assign(state, { player: null, playing: "" });
  if (!state.member) { state.data = null; showMessage("Choose who you are at the top of the page."); show(); return; }
  const number = ++state.loads;
  const answer = await call(server.read_consents, {});
  if (number === state.loads) apply(answer, ""); // the page may be refreshed twice as it opens
};
const name_of = (row) => (row ? row.name : "all of your recordings");
const changeUse = async (row, use, on) => {
  if (state.busy) return;
  const silenced = (row ? [row] : state.data.rows).flatMap((each) => each.playing);
  const names = [...new Set(silenced)];
  const stops = !on && ["store", "generate", "release"].includes(use.use) && names.length;
  if (stops && !window.confirm(`${names.join(", ")} ${names.length === 1 ? "holds" : "hold"} ${name_of(row)}. Take it back, so that ${names.length === 1 ? "it is" : "they are"} not played or given out any more?`)) return;
  const answer = await call(server.change_consent, { recording: row?.id || "", use: use.use, on }, callSigned);
  apply(answer, `${on ? "Given" : use.use === "store" ? "Everything taken back" : "Taken back"}${use.use === "store" && !on ? "" : `: ${use.label.toLowerCase()}`}, for ${name_of(row)}. Every step asks from now on (event ${answer.event}).`);
};
const setEnd = async (id, name, until) => {
  if (state.busy) return;
  const answer = await call(server.change_consent, { recording: id === ALL ? "" : id, until }, callSigned);
  apply(answer, until ? `For ${name} it counts until the end of ${until} (event ${answer.event}).` : `For ${name} it has no end (event ${answer.event}).`);
};
const hear = async (row) => {
  const again = state.playing === row.id;
  state.player?.dispose();
  rowsById.get(state.playing)?.querySelector(".at-wave")?.remove();
  if (rowsById.has(state.playing)) rowsById.get(state.playing).querySelector(".at-hear").textContent = "▶";
  Object.assign(state, { player: null, playing: "" });
  if (again) return;
  const answer = await callServer(server.hear_recording, { member: state.member, recording: row.id });
  if (answer.error) { showMessage(answer.error, "at-bad"); return; }
  const node = rowsById.get(row.id);
  if (!node) return;
  Object.assign(state, { playing: row.id, player: makePlayer({ url: answer.url, peaks: answer.peaks, seconds: answer.seconds, label: row.name }) });
  node.querySelector(".at-consent-head").after(state.player.wave);
  node.querySelector(".at-hear").textContent = "■";
  state.player.play();
};

// Left and right move among the switches of a row, up and down to the same switch of the next row that is shown.
root.addEventListener("keydown", (event) => {
  const at = event.target.closest?.(".at-switch");
  if (!at || event.altKey || event.ctrlKey || event.metaKey) return;
  const row = at.closest(".at-consent-row"), place = Number(at.dataset.place);
  const rows = [...root.querySelectorAll(".at-consent-row:not([hidden])")], here = rows.indexOf(row);
  const targets = { ArrowLeft: [row, place - 1], ArrowRight: [row, place + 1], ArrowUp: [rows[here - 1], place], ArrowDown: [rows[here + 1], place],
    Home: [row, 0], End: [row, state.data.uses.length - 1] };
  const [to, where] = targets[event.key] || [];
  const goal = to?.querySelector(`.at-switch[data-place="${where}"]`);
  if (!targets[event.key]) return;
  event.preventDefault();
  if (!goal) return;
  to.querySelectorAll(".at-switch").forEach((each) => { each.tabIndex = each === goal ? 0 : -1; });
  goal.focus();
});

const changeMember = () => { state.member = (props.value || {}).member || ""; load(); };
changeMember();
watch("value", changeMember);
