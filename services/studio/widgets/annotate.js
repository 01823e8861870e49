// The annotate page: a member hears a segment, describes it and goes on. The server decides what may be shown.
const root = element.querySelector(".at-annotate");
const state = { member: "", segment: null, chosen: {}, leave: [], player: null, dirty: false, busy: false };

const [message, showMessage] = createMessage();
const progress = createNode("div", { class: "at-progress" });
const segmentView = createNode("div", { class: "at-segment" });
const others = createNode("div", { class: "at-others" });
const answeredList = createNode("div", { class: "at-answered-list" });
const words = createNode("textarea", {
  class: "at-words", rows: "2", maxlength: "2000", "aria-label": "In your own words", "aria-keyshortcuts": "0",
  placeholder: "In your own words: what is it, what does it do?", oninput: () => { state.dirty = true; },
});
const chips = makeChips({
  chosen: state.chosen,
  onchange: () => { state.dirty = true; },
  onadd: async (facet, word) => {
    const answer = await callServer(server.add_word, { member: state.member, facet, word });
    if (answer.error) { showMessage(answer.error, "at-bad"); return false; }
    state.chosen[facet] = [...new Set([...(state.chosen[facet] || []), answer.term])];
    state.dirty = true;
    chips.load(answer.facets);
    showMessage(`“${answer.label}” is one of the group's words now.`, "at-good");
    return true;
  },
});
const makeActionButton = (label, keys, call, kind) =>
  createNode("button", { type: "button", class: kind, "aria-keyshortcuts": keys, onclick: call }, label);
const saveNextButton = makeActionButton("Save & next", "Control+Enter", () => save(true), "at-main at-save-next");
const saveButton = makeActionButton("Save", "Control+S", () => save(false), "at-quiet at-save");
const playButton = createNode("button", { type: "button", class: "at-main at-play-thumb", "aria-label": "Play or pause", onclick: () => state.player?.toggle() }, "▶");
const laterButton = makeActionButton("Later", ".", () => leaveForLater(), "at-quiet at-skip");

const showProgress = (p) => {
  const share = p.segments ? (100 * p.by_me) / p.segments : 0;
  const all = p.segments ? (100 * p.by_anyone) / p.segments : 0;
  const bar = createNode("div", {
    class: "at-bar", role: "progressbar", "aria-label": "Heard by you", "aria-valuemin": "0",
    "aria-valuemax": String(p.segments), "aria-valuenow": String(p.by_me),
  }, createNode("i", { class: "at-bar-all" }), createNode("i", { class: "at-bar-me" }));
  bar.firstChild.style.width = `${all}%`;
  bar.lastChild.style.width = `${share}%`;
  replaceContent(progress, bar, createNode("p", {}, createNode("strong", {}, `You heard ${p.by_me} of ${p.segments}`),
    ` · the group heard ${p.by_anyone} of them · ${p.by_all} heard by all ${p.members} members`));
};
const showAnswered = (list) =>
  replaceContent(answeredList, list.length
    ? list.map((each) => createNode("button", { type: "button", class: "at-answered-segment", onclick: () => openSegment(each.id) }, each.title))
    : createNode("p", { class: "at-none" }, "Nothing yet."));
const renderAnswer = (given, mine) =>
  createNode("article", { class: `at-answer${mine ? " at-own-answer" : ""}` },
    createNode("h4", {}, mine ? `${given.name} (you)` : given.name),
    createNode("div", { class: "at-answer-words" },
      Object.entries(given.tags).flatMap(([facet, terms]) => terms.map((term) => {
        const shared = !mine && (state.segment.mine?.tags[facet] || []).includes(term);
        return createNode("span", { class: `at-tag${shared ? " at-shared-tag" : ""}` }, chips.label(facet, term));
      }))),
    given.words ? createNode("p", {}, given.words) : null);
const showOthers = (s) => {
  if (!s.mine) {
    replaceContent(others, createNode("p", { class: "at-hidden-note" }, s.others_count
      ? `${s.others_count} other ${s.others_count === 1 ? "answer waits" : "answers wait"} here, hidden until you give yours.`
      : "Nobody has answered this one yet. Your ears are the first."));
    return;
  }
  replaceContent(others, createNode("h3", {}, "What everybody heard"), createNode("div", { class: "at-side-by-side" },
    renderAnswer(s.mine, true), s.others.map((each) => renderAnswer(each, false))),
    s.others.length ? null : createNode("p", { class: "at-none" }, "Nobody else has answered yet."));
};
const showSegment = (s, facets) => {
  state.player?.dispose();
  state.segment = s;
  for (const facet of Object.keys(state.chosen)) delete state.chosen[facet];
  Object.assign(state.chosen, structuredClone(s.mine?.tags || {}));
  words.value = s.mine?.words || "";
  state.dirty = false;
  if (facets) chips.load(facets);
  else chips.show();
  state.player = makePlayer({ url: s.url, peaks: s.peaks, seconds: s.seconds, label: s.title });
  replaceContent(segmentView, createNode("h2", { class: "at-title" }, s.title), createNode("p", { class: "at-about" }, s.about),
    s.trouble ? createNode("p", { class: "at-message at-bad" }, s.trouble) : state.player.wave,
    createNode("div", { class: "at-transport" }, state.player.button, state.player.time,
      createNode("span", { class: "at-badge" }, s.mine ? "you answered; change it as you like" : "not heard by you yet")));
  showOthers(s);
  root.dataset.segment = s.id;
  layout(true);
};
const showNotice = (title, text) => {
  state.player?.dispose();
  state.segment = null;
  delete root.dataset.segment;
  replaceContent(segmentView, createNode("div", { class: "at-empty" }, createNode("h2", {}, title), createNode("p", {}, text)));
  layout(false);
};
const applyAnswer = (answer) => {
  if (answer.error) { showMessage(answer.error, "at-bad"); return false; }
  if (answer.progress) showProgress(answer.progress);
  if (answer.heard) showAnswered(answer.heard);
  if (answer.segment) showSegment(answer.segment, answer.facets);
  else if (answer.progress && answer.progress.segments) showNotice("You have heard everything.", "Nothing waits for you. Open one below to compare with the others.");
  else if (answer.progress) showNotice("Nothing to hear yet.", "Upload a jam first. Its segments appear here as soon as they are cut.");
  return true;
};
const callWhenIdle = async (call, given) => {
  if (state.busy) return null;
  state.busy = true;
  root.setAttribute("aria-busy", "true");
  const answer = await callServer(call, { member: state.member, ...given });
  state.busy = false;
  root.removeAttribute("aria-busy");
  return answer;
};
const startAnnotating = async () => {
  state.member = (props.value || {}).member || "";
  state.leave = [];
  showMessage("");
  if (!state.member) { replaceContent(progress); replaceContent(answeredList); showNotice("Who is listening?", "Choose who you are at the top of the page."); return; }
  const answer = await callWhenIdle(server.start_annotating, {});
  if (answer) applyAnswer(answer);
};
const openSegment = async (segment) => {
  if (state.dirty && !window.confirm("Your words on this sound are not saved. Leave them?")) return;
  const answer = await callWhenIdle(server.open_segment, { segment });
  if (answer && applyAnswer(answer)) root.scrollIntoView({ block: "start" });
};
const leaveForLater = async () => {
  if (!state.segment) return;
  state.leave = [...state.leave.filter((id) => id !== state.segment.id), state.segment.id];
  const answer = await callWhenIdle(server.next_segment, { leave: state.leave });
  if (answer && applyAnswer(answer)) showMessage("Left for later.");
};
const save = async (goOn) => {
  if (!state.segment) return;
  const given = { segment: state.segment.id, tags: state.chosen, words: words.value, go_on: goOn, leave: state.leave };
  const answer = await callWhenIdle(server.save_answer, given);
  if (!answer || !applyAnswer(answer)) return;
  document.activeElement?.blur?.();
  showMessage(goOn ? "Saved. Here is the next one." : "Saved.", "at-good");
  if (goOn && state.segment) { root.scrollIntoView({ block: "start" }); state.player.play(); }
};

const KEYS = [["Space", "play or pause"], ["R", "play again from the start"], ["1 … 5", "open a facet"], ["arrows, letters", "move among its words"],
  ["Enter", "choose the word"], ["/", "find a word"], ["0", "own words"], ["Ctrl + Enter", "save and next"], ["Ctrl + S", "save and compare"],
  [".", "leave for now"], ["Esc", "out of a text field"]];
const onKey = (event) => {
  if (!root.isConnected) { document.removeEventListener("keydown", onKey); return; }
  if (!root.offsetParent || !state.segment || event.defaultPrevented) return;
  const focus = document.activeElement;
  if (focus && focus !== document.body && !root.contains(focus)) return; // another part of the page has the keyboard
  const ctrl = event.ctrlKey || event.metaKey;
  const onChip = focus?.classList?.contains("at-chip");
  const calls = ctrl
    ? { Enter: () => save(true), s: () => save(false) }
    : inTextField(event.target)
      ? { Escape: () => event.target.blur() }
      : { " ": () => state.player.toggle(), "/": () => chips.parts.find.focus(), 0: () => words.focus(), ".": () => leaveForLater(),
          ...(onChip ? {} : { r: () => state.player.playFromStart() }),
          ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => [n, () => chips.openAt(n - 1)])) };
  const call = event.altKey ? undefined : calls[event.key];
  if (!call) return;
  event.preventDefault();
  call();
};
document.addEventListener("keydown", onKey);
// Space plays, also when a button has the focus: buttons answer to Enter here.
root.addEventListener("keyup", (event) => { if (event.key === " " && !inTextField(event.target)) event.preventDefault(); });

const layout = (ready) => {
  const { tabs, find, panel, picked, own } = chips.parts;
  const side = createNode("details", { class: "at-more" }, createNode("summary", {}, "Sounds you answered"), answeredList);
  const keys = createNode("details", { class: "at-more at-keys" }, createNode("summary", {}, "Keyboard"),
    createNode("dl", {}, KEYS.flatMap(([key, what]) => [createNode("dt", {}, createNode("kbd", {}, key)), createNode("dd", {}, what)])));
  replaceContent(root, progress, message,
    ready
      ? createNode("div", { class: "at-columns" },
          createNode("div", { class: "at-left" }, segmentView, picked, words, createNode("div", { class: "at-actions" }, playButton, laterButton, saveButton, saveNextButton), others),
          createNode("div", { class: "at-right" }, find, tabs, panel, own))
      : segmentView,
    createNode("div", { class: "at-foot" }, side, keys));
};
startAnnotating();
watch("value", () => { if (((props.value || {}).member || "") !== state.member) startAnnotating(); });
