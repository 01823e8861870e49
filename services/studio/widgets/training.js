// Make a new release: a look at what there is, a short form, and the run as it goes. What runs is asked of the server each time,
// so a page that was closed, reloaded or opened by somebody else shows the same run.
const root = element.querySelector(".at-training");
const RUNNING_MS = 2500, RESTING_MS = 15000;
const state = { member: "", run: null, whyNot: "", place: "", form: null, chosen: {}, opening: false, asking: false, sure: false, looked: 0, shown: false };

const say = make("p", { class: "at-message", role: "status", "aria-live": "polite" });
const tell = (words, kind = "") => {
  say.textContent = words;
  say.className = `at-message ${kind}`;
};
const button = (label, onclick, kind, id) => make("button", { type: "button", class: kind, id, onclick }, label);
const long = (seconds) => {
  const minutes = Math.round(seconds / 60), hours = Math.floor(minutes / 60);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return hours ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
};
const MARKS = { waiting: "○", running: "◐", done: "✓", failed: "✗" };
const STATES = { waiting: "waits", running: "runs", done: "done", failed: "stopped" };

const showStep = (step) => {
  const percent = step.share === null || step.share === undefined ? null : Math.round(100 * step.share);
  const bar = step.state === "running" && percent !== null
    ? make("div", { class: "at-bar", role: "progressbar", "aria-label": step.title, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(percent) },
        make("i", { class: "at-bar-me" }))
    : null;
  if (bar) bar.firstChild.style.width = `${percent}%`;
  const words = step.state === "running" ? [percent === null ? "" : `${percent} %`, step.words].filter(Boolean).join(" · ") : "";
  return make("li", { class: `at-step at-step-${step.state}` },
    make("span", { class: "at-step-mark", "aria-hidden": "true" }, MARKS[step.state]),
    make("div", { class: "at-step-body" },
      make("span", { class: "at-step-title" }, step.title, make("span", { class: "at-visually-hidden" }, `, ${STATES[step.state]}`)),
      bar, words ? make("span", { class: "at-about" }, words) : null));
};
const showSteps = (run) => make("ol", { class: "at-steps" }, run.steps.map(showStep));
const elsewhere = (run) => run.page ? make("p", { class: "at-about" }, make("a", { href: run.page, target: "_blank", rel: "noreferrer" }, "This run in Kubeflow")) : null;

const showRunning = (run) => {
  const done = run.steps.filter((step) => step.state === "done").length;
  const stop = run.may_cancel
    ? state.sure
      ? make("div", { class: "at-training-actions" }, make("span", {}, "Stop this training? Its steps begin again next time; checkpoints stay."),
          button("Yes, cancel it", cancel, "at-quiet at-danger", "at-training-cancel-confirm"), button("No, go on", () => { state.sure = false; show(); }, "at-quiet"))
      : make("div", { class: "at-training-actions" }, button("Cancel the training", () => { state.sure = true; show(); }, "at-quiet", "at-training-cancel"))
    : null;
  return [
    make("h2", {}, `${run.name} is being made`),
    make("p", { class: "at-about" }, `${run.mine ? "You" : run.who} began it ${long(run.took_s)} ago, ${run.place}. ${done} of ${run.steps.length} steps are done.`),
    run.chosen.length ? make("p", { class: "at-about" }, run.chosen.join(" · ")) : null,
    showSteps(run),
    run.trouble ? make("p", { class: "at-message at-bad" }, run.trouble) : null,
    run.cancelled_by ? make("p", { class: "at-message" }, `${run.cancelled_by} cancelled it; it is coming to its end.`)
      : make("p", { class: "at-about" }, "You may close this page. The training goes on, and the page finds it again."),
    elsewhere(run), stop,
  ];
};

const OUTCOMES = { done: "at-good", failed: "at-bad", cancelled: "", lost: "at-bad" };
const outcome = (run) => {
  const { how, by, release, new: fresh } = run.ended;
  if (how === "cancelled") return `${run.name} was cancelled${by ? ` by ${by}` : ""} after ${long(run.took_s)}.`;
  if (how === "failed") return `${run.name} failed after ${long(run.took_s)}.`;
  if (how === "lost") return `Nobody knows how ${run.name} ended.`;
  if (!release) return `${run.name} is done, but no release of this name is in the store.`;
  return fresh ? `${release.title} is there. It took ${long(run.took_s)}.` : `Nothing new was to be learned: ${release.title} has the same weights.`;
};
const judged = (release) => release.passed
  ? "It passed the gate: it becomes the champion if everybody in it agrees, and the generation service plays it."
  : `It did not pass the gate and stays a candidate: ${release.reasons.join("; ") || "no reason was given"}.`;
const showEnded = (run) => {
  const { how, words, release } = run.ended;
  const failed = run.steps.find((step) => step.state === "failed");
  return make("div", { class: "at-outcome" },
    make("p", { class: `at-message ${OUTCOMES[how]}`, id: "at-training-outcome" }, outcome(run)),
    how === "failed" && failed ? make("p", {}, "It stopped at ", make("b", {}, failed.title), ".") : null,
    words ? make("p", { class: "at-reason", id: "at-training-reason" }, words) : null,
    release ? make("p", {}, judged(release)) : null,
    how !== "done" ? showSteps(run) : null,
    elsewhere(run),
    release?.report ? make("div", {}, button("Its report", () => trigger("report", { digest: release.digest }), "at-quiet", "at-training-report")) : null);
};

const field = (box) => {
  const name = `at-box-${box.name}`;
  const given = { class: "at-text-input", id: name, name: box.name, "aria-describedby": `${name}-about`, onchange: (event) => { state.chosen[box.name] = event.target.value; } };
  const value = state.chosen[box.name] ?? box.default;
  const input = box.choices.length
    ? make("select", given, box.choices.map((choice) => make("option", { value: choice, selected: choice === value }, choice)))
    : make("input", { ...given, type: "text", maxlength: "100", value, autocomplete: "off", spellcheck: "false", oninput: given.onchange });
  return make("div", { class: "at-field" }, make("label", { for: name }, box.label), input, make("span", { class: "at-about", id: `${name}-about` }, box.about));
};
const SIGNS = { good: "✓", note: "!", bad: "✗" };
const showForm = (form) => [
  make("h2", {}, "Make a new release"),
  make("ul", { class: "at-readiness" }, form.lines.map((line) => make("li", { class: `at-readiness-${line.kind}` },
    make("span", { "aria-hidden": "true" }, SIGNS[line.kind]), make("span", {}, line.words)))),
  form.ready ? make("div", { class: "at-fields" }, form.boxes.map(field)) : null,
  make("div", { class: "at-training-actions" },
    button("Not now", () => { state.form = null; tell(""); show(); }, "at-quiet", "at-training-back"),
    form.ready ? button("Start the training", start, "at-main", "at-training-start") : null),
];
const LEAD = "A training merges what everybody heard, teaches the model your sound, holds it against your recordings and registers it.";
const showResting = () => [
  make("h2", {}, "Make a new release"),
  make("p", { class: "at-intro" }, `${LEAD} It runs ${state.place || "where the studio was told"}.`),
  state.run ? showEnded(state.run) : null,
  state.whyNot ? make("p", { class: "at-about", id: "at-training-refusal" }, state.whyNot)
    : make("div", { class: "at-training-actions" }, button(state.opening ? "Looking …" : "Make a new release", open, "at-main", "at-training-open")),
];
const show = () => {
  const running = state.run && !state.run.ended;
  const focused = root.contains(document.activeElement) ? document.activeElement.id : "";
  fill(root, ...(running ? showRunning(state.run) : state.form ? showForm(state.form) : showResting()), say);
  if (focused) root.querySelector(`#${CSS.escape(focused)}`)?.focus();
  root.setAttribute("aria-busy", String(state.asking));
};

const take = (answer) => {
  if (answer.error) { tell(answer.error, "at-bad"); return false; }
  const before = state.run;
  Object.assign(state, { run: answer.run, whyNot: answer.why_not, place: answer.place });
  if (state.run && !state.run.ended) state.form = null;
  const came = before && !before.ended && state.run?.number === before.number && state.run.ended;
  if (came && state.run.ended.release) trigger("made", { digest: state.run.ended.release.digest });
  return true;
};
const changes = (answer) => JSON.stringify([answer.run, answer.why_not, answer.place]);
let last = "";
const look = async () => {
  if (state.asking) return;
  state.asking = true;
  const answer = await ask(server.read_training_status, { member: state.member });
  state.asking = false;
  state.looked = Date.now();
  if (answer.error) { tell(answer.error, "at-bad"); return; }
  if (say.classList.contains("at-bad") && !state.form) tell("");
  const now = changes(answer);
  take(answer);
  if (now !== last && !(state.form && last)) show();
  last = now;
};
const open = async () => {
  if (state.opening) return;
  state.opening = true;
  tell("Looking at what there is to learn from …");
  show();
  const answer = await ask(server.read_training_form, { member: state.member });
  state.opening = false;
  if (answer.error) tell(answer.error, "at-bad");
  else { state.form = answer; state.chosen = {}; tell(""); }
  show();
  root.querySelector("select, input, #at-training-back")?.focus();
};
const act = async (call, given, words) => {
  tell(words);
  root.querySelectorAll("button").forEach((each) => { each.disabled = true; });
  state.asking = true;
  const answer = await ask(call, { member: state.member, ...given });
  state.asking = false;
  state.sure = false;
  if (take(answer)) { tell(""); last = changes(answer); }
  show();
};
const start = () => act(server.start_training, { chosen: Object.fromEntries(state.form.boxes.map((box) => [box.name, state.chosen[box.name] ?? box.default])) }, "Starting …");
const cancel = () => act(server.cancel_training, {}, "Cancelling …");

const arrive = () => {
  const member = props.value?.member || "";
  if (member !== state.member) Object.assign(state, { form: null, sure: false });
  state.member = member;
  last = "";
  look();
};
const beat = () => {
  if (!root.isConnected) { clearInterval(beating); return; }
  const seen = root.offsetParent !== null && !document.hidden;
  const every = state.run && !state.run.ended ? RUNNING_MS : RESTING_MS;
  if (seen && (!state.shown || Date.now() - state.looked >= every)) look();
  state.shown = seen;
};
const beating = setInterval(beat, 500);
show();
arrive();
watch("value", arrive);
