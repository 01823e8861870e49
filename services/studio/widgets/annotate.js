// The annotate page: hear a segment, say what it is, go on. The server decides what may be shown.
const root = element.querySelector(".at-annotate");
const state = { member: "", segment: null, chosen: {}, leave: [], player: null, dirty: false, busy: false };

const say = make("p", { class: "at-message", role: "status", "aria-live": "polite" });
const tell = (words, kind = "") => {
  say.textContent = words;
  say.className = `at-message ${kind}`;
};
const progress = make("div", { class: "at-progress" });
const stage = make("div", { class: "at-segment" });
const others = make("div", { class: "at-others" });
const heard = make("div", { class: "at-answered-list" });
const words = make("textarea", {
  class: "at-words", rows: "2", maxlength: "2000", "aria-label": "In your own words", "aria-keyshortcuts": "0",
  placeholder: "In your own words: what is it, what does it do?", oninput: () => { state.dirty = true; },
});
const chips = makeChips({
  chosen: state.chosen,
  onchange: () => { state.dirty = true; },
  onadd: async (facet, word) => {
    const answer = await ask(server.add_word, { member: state.member, facet, word });
    if (answer.error) { tell(answer.error, "at-bad"); return false; }
    state.chosen[facet] = [...new Set([...(state.chosen[facet] || []), answer.term])];
    state.dirty = true;
    chips.load(answer.facets);
    tell(`“${answer.label}” is one of the group's words now.`, "at-good");
    return true;
  },
});
const act = (label, keys, call, kind) =>
  make("button", { type: "button", class: kind, "aria-keyshortcuts": keys, onclick: call }, label);
const saveNext = act("Save & next", "Control+Enter", () => save(true), "at-main at-save-next");
const saveStay = act("Save", "Control+S", () => save(false), "at-quiet at-save");
const thumb = make("button", { type: "button", class: "at-main at-play-thumb", "aria-label": "Play or pause", onclick: () => state.player?.toggle() }, "▶");
const skip = act("Later", ".", () => leave(), "at-quiet at-skip");

const showProgress = (p) => {
  const share = p.segments ? (100 * p.by_me) / p.segments : 0;
  const all = p.segments ? (100 * p.by_anyone) / p.segments : 0;
  const bar = make("div", {
    class: "at-bar", role: "progressbar", "aria-label": "Heard by you", "aria-valuemin": "0",
    "aria-valuemax": String(p.segments), "aria-valuenow": String(p.by_me),
  }, make("i", { class: "at-bar-all" }), make("i", { class: "at-bar-me" }));
  bar.firstChild.style.width = `${all}%`;
  bar.lastChild.style.width = `${share}%`;
  fill(progress, bar, make("p", {}, make("strong", {}, `You heard ${p.by_me} of ${p.segments}`),
    ` · the group heard ${p.by_anyone} of them · ${p.by_all} heard by all ${p.members} members`));
};
const showHeard = (list) =>
  fill(heard, list.length
    ? list.map((each) => make("button", { type: "button", class: "at-answered-segment", onclick: () => open(each.id) }, each.title))
    : make("p", { class: "at-none" }, "Nothing yet."));
const answerOf = (given, mine) =>
  make("article", { class: `at-answer${mine ? " at-own-answer" : ""}` },
    make("h4", {}, mine ? `${given.name} (you)` : given.name),
    make("div", { class: "at-answer-words" },
      Object.entries(given.tags).flatMap(([facet, terms]) => terms.map((term) => {
        const both = !mine && (state.segment.mine?.tags[facet] || []).includes(term);
        return make("span", { class: `at-tag${both ? " at-shared-tag" : ""}` }, chips.label(facet, term));
      }))),
    given.words ? make("p", {}, given.words) : null);
const showOthers = (s) => {
  if (!s.mine) {
    fill(others, make("p", { class: "at-hidden-note" }, s.others_count
      ? `${s.others_count} other ${s.others_count === 1 ? "answer waits" : "answers wait"} here, hidden until you give yours.`
      : "Nobody has answered this one yet. Your ears are the first."));
    return;
  }
  fill(others, make("h3", {}, "What everybody heard"), make("div", { class: "at-side-by-side" },
    answerOf(s.mine, true), s.others.map((each) => answerOf(each, false))),
    s.others.length ? null : make("p", { class: "at-none" }, "Nobody else has answered yet."));
};
const showSegment = (s, facets) => {
  state.player?.away();
  state.segment = s;
  for (const facet of Object.keys(state.chosen)) delete state.chosen[facet];
  Object.assign(state.chosen, structuredClone(s.mine?.tags || {}));
  words.value = s.mine?.words || "";
  state.dirty = false;
  if (facets) chips.load(facets);
  else chips.show();
  state.player = makePlayer({ url: s.url, peaks: s.peaks, seconds: s.seconds, label: s.title });
  fill(stage, make("h2", { class: "at-title" }, s.title), make("p", { class: "at-about" }, s.about),
    s.trouble ? make("p", { class: "at-message at-bad" }, s.trouble) : state.player.wave,
    make("div", { class: "at-transport" }, state.player.button, state.player.time,
      make("span", { class: "at-badge" }, s.mine ? "you answered; change it as you like" : "not heard by you yet")));
  showOthers(s);
  root.dataset.segment = s.id;
  layout(true);
};
const note = (title, text) => {
  state.player?.away();
  state.segment = null;
  delete root.dataset.segment;
  fill(stage, make("div", { class: "at-empty" }, make("h2", {}, title), make("p", {}, text)));
  layout(false);
};
const take = (answer) => {
  if (answer.error) { tell(answer.error, "at-bad"); return false; }
  if (answer.progress) showProgress(answer.progress);
  if (answer.heard) showHeard(answer.heard);
  if (answer.segment) showSegment(answer.segment, answer.facets);
  else if (answer.progress && answer.progress.segments) note("You have heard everything.", "Nothing waits for you. Open one below to compare with the others.");
  else if (answer.progress) note("Nothing to hear yet.", "Upload a jam first. Its segments appear here as soon as they are cut.");
  return true;
};
const calling = async (call, given) => {
  if (state.busy) return null;
  state.busy = true;
  root.setAttribute("aria-busy", "true");
  const answer = await ask(call, { member: state.member, ...given });
  state.busy = false;
  root.removeAttribute("aria-busy");
  return answer;
};
const start = async () => {
  state.member = (props.value || {}).member || "";
  state.leave = [];
  tell("");
  if (!state.member) { fill(progress); fill(heard); note("Who is listening?", "Choose who you are at the top of the page."); return; }
  const answer = await calling(server.start_annotating, {});
  if (answer) take(answer);
};
const open = async (segment) => {
  if (state.dirty && !window.confirm("Your words on this sound are not saved. Leave them?")) return;
  const answer = await calling(server.open_segment, { segment });
  if (answer && take(answer)) root.scrollIntoView({ block: "start" });
};
const leave = async () => {
  if (!state.segment) return;
  state.leave = [...state.leave.filter((id) => id !== state.segment.id), state.segment.id];
  const answer = await calling(server.next_segment, { leave: state.leave });
  if (answer && take(answer)) tell("Left for later.");
};
const save = async (goOn) => {
  if (!state.segment) return;
  const given = { segment: state.segment.id, tags: state.chosen, words: words.value, go_on: goOn, leave: state.leave };
  const answer = await calling(server.save_answer, given);
  if (!answer || !take(answer)) return;
  document.activeElement?.blur?.();
  tell(goOn ? "Saved. Here is the next one." : "Saved.", "at-good");
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
      : { " ": () => state.player.toggle(), "/": () => chips.parts.find.focus(), 0: () => words.focus(), ".": () => leave(),
          ...(onChip ? {} : { r: () => state.player.again() }),
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
  const side = make("details", { class: "at-more" }, make("summary", {}, "Sounds you answered"), heard);
  const keys = make("details", { class: "at-more at-keys" }, make("summary", {}, "Keyboard"),
    make("dl", {}, KEYS.flatMap(([key, what]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, what)])));
  fill(root, progress, say,
    ready
      ? make("div", { class: "at-columns" },
          make("div", { class: "at-left" }, stage, picked, words, make("div", { class: "at-actions" }, thumb, skip, saveStay, saveNext), others),
          make("div", { class: "at-right" }, find, tabs, panel, own))
      : stage,
    make("div", { class: "at-foot" }, side, keys));
};
start();
watch("value", () => { if (((props.value || {}).member || "") !== state.member) start(); });
