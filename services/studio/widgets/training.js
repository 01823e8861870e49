// Make a new release: a check of what can be learned from, a short form, and the run's progress. The server knows the run, so a page
// that was closed, reloaded or opened by somebody else shows the same one.
const root = element.querySelector(".at-training");
const RUNNING_MS = 2500, RESTING_MS = 15000;
const state = { member: "", run: null, whyNot: "", place: "", form: null, chosen: {}, opening: false, asking: false, confirming: false };

const [message, showMessage] = createMessage();
const button = (label, onclick, kind, id) => createNode("button", { type: "button", class: kind, id, onclick }, label);
const formatDuration = (seconds) => {
  const minutes = Math.round(seconds / 60), hours = Math.floor(minutes / 60);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return hours ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
};
const MARKS = { waiting: "○", running: "◐", done: "✓", failed: "✗" };
const STATES = { waiting: "waits", running: "runs", done: "done", failed: "stopped" };

const showStep = (step) => {
  const percent = step.share === null || step.share === undefined ? null : Math.round(100 * step.share);
  const bar = step.state === "running" && percent !== null
    ? createProgressBar(step.title, percent)
    : null;
  const words = step.state === "running" ? [percent === null ? "" : `${percent} %`, step.words].filter(Boolean).join(" · ") : "";
  return createNode("li", { class: `at-step at-step-${step.state}` },
    createNode("span", { class: "at-step-mark", "aria-hidden": "true" }, MARKS[step.state]),
    createNode("div", { class: "at-step-body" },
      createNode("span", { class: "at-step-title" }, step.title, createNode("span", { class: "at-visually-hidden" }, `, ${STATES[step.state]}`)),
      bar, words ? createNode("span", { class: "at-about" }, words) : null));
};
const showSteps = (run) => createNode("ol", { class: "at-steps" }, run.steps.map(showStep));
const linkToRun = (run) => run.page ? createNode("p", { class: "at-about" }, createNode("a", { href: run.page, target: "_blank", rel: "noreferrer" }, "This run in Kubeflow")) : null;

const showRunning = (run) => {
  const done = run.steps.filter((step) => step.state === "done").length;
  const stop = run.may_cancel
    ? state.confirming
      ? createNode("div", { class: "at-training-actions" }, createNode("span", {}, "Stop this training? Its steps begin again next time; checkpoints stay."),
          button("Yes, cancel it", cancelTraining, "at-quiet at-danger", "at-training-cancel-confirm"), button("No, go on", () => { state.confirming = false; show(); }, "at-quiet"))
      : createNode("div", { class: "at-training-actions" }, button("Cancel the training", () => { state.confirming = true; show(); }, "at-quiet", "at-training-cancel"))
    : null;
  return [
    createNode("h2", {}, `${run.name} is being made`),
    createNode("p", { class: "at-about" }, `${run.mine ? "You" : run.who} began it ${formatDuration(run.took_s)} ago, ${run.place}. ${done} of ${run.steps.length} steps are done.`),
    run.chosen.length ? createNode("p", { class: "at-about" }, run.chosen.join(" · ")) : null,
    showSteps(run),
    run.trouble ? createNode("p", { class: "at-message at-bad" }, run.trouble) : null,
    run.cancelled_by ? createNode("p", { class: "at-message" }, `${run.cancelled_by} cancelled it; it is coming to its end.`)
      : createNode("p", { class: "at-about" }, "You may close this page. The training goes on, and the page finds it again."),
    linkToRun(run), stop,
  ];
};

const OUTCOMES = { done: "at-good", failed: "at-bad", cancelled: "", lost: "at-bad" };
const describeOutcome = (run) => {
  const { how, by, release, new: isNew } = run.ended;
  if (how === "cancelled") return `${run.name} was cancelled${by ? ` by ${by}` : ""} after ${formatDuration(run.took_s)}.`;
  if (how === "failed") return `${run.name} failed after ${formatDuration(run.took_s)}.`;
  if (how === "lost") return `Nobody knows how ${run.name} ended.`;
  if (!release) return `${run.name} is done, but no release of this name is in the store.`;
  return isNew ? `${release.title} is there. It took ${formatDuration(run.took_s)}.` : `Nothing new was to be learned: ${release.title} has the same weights.`;
};
const describeGateResult = (release) => release.passed
  ? "It passed the gate: it becomes the champion if everybody in it agrees, and the generation service plays it."
  : `It did not pass the gate and stays a candidate: ${release.reasons.join("; ") || "no reason was given"}.`;
const showEnded = (run) => {
  const { how, words, release } = run.ended;
  const failed = run.steps.find((step) => step.state === "failed");
  return createNode("div", { class: "at-outcome" },
    createNode("p", { class: `at-message ${OUTCOMES[how]}`, id: "at-training-outcome" }, describeOutcome(run)),
    how === "failed" && failed ? createNode("p", {}, "It stopped at ", createNode("b", {}, failed.title), ".") : null,
    words ? createNode("p", { class: "at-reason", id: "at-training-reason" }, words) : null,
    release ? createNode("p", {}, describeGateResult(release)) : null,
    how !== "done" ? showSteps(run) : null,
    linkToRun(run),
    release?.report ? createNode("div", {}, button("Its report", () => trigger("report", { digest: release.digest }), "at-quiet", "at-training-report")) : null);
};

const renderField = (box) => {
  const name = `at-box-${box.name}`;
  const given = { class: "at-text-input", id: name, name: box.name, "aria-describedby": `${name}-about`, onchange: (event) => { state.chosen[box.name] = event.target.value; } };
  const value = state.chosen[box.name] ?? box.default;
  const input = box.choices.length
    ? createNode("select", given, box.choices.map((choice) => createNode("option", { value: choice, selected: choice === value }, choice)))
    : createNode("input", { ...given, type: "text", maxlength: "100", value, autocomplete: "off", spellcheck: "false", oninput: given.onchange });
  return createNode("div", { class: "at-field" }, createNode("label", { for: name }, box.label), input, createNode("span", { class: "at-about", id: `${name}-about` }, box.about));
};
const SIGNS = { good: "✓", note: "!", bad: "✗" };
const showForm = (form) => [
  createNode("h2", {}, "Make a new release"),
  createNode("ul", { class: "at-readiness" }, form.lines.map((line) => createNode("li", { class: `at-readiness-${line.kind}` },
    createNode("span", { "aria-hidden": "true" }, SIGNS[line.kind]), createNode("span", {}, line.words)))),
  form.ready ? createNode("div", { class: "at-fields" }, form.boxes.map(renderField)) : null,
  createNode("div", { class: "at-training-actions" },
    button("Not now", () => { state.form = null; showMessage(""); show(); }, "at-quiet", "at-training-back"),
    form.ready ? button("Start the training", startTraining, "at-main", "at-training-start") : null),
];
const LEAD = "A training merges what everybody heard, teaches the model your sound, holds it against your recordings and registers it.";
const showResting = () => [
  createNode("h2", {}, "Make a new release"),
  createNode("p", { class: "at-intro" }, `${LEAD} It runs ${state.place || "where the studio was told"}.`),
  state.run ? showEnded(state.run) : null,
  state.whyNot ? createNode("p", { class: "at-about", id: "at-training-refusal" }, state.whyNot)
    : createNode("div", { class: "at-training-actions" }, button(state.opening ? "Looking …" : "Make a new release", openForm, "at-main", "at-training-open")),
];
const show = () => {
  const running = state.run && !state.run.ended;
  replaceKeepingFocus(root, ...(running ? showRunning(state.run) : state.form ? showForm(state.form) : showResting()), message);
  root.setAttribute("aria-busy", String(state.asking));
};

const applyAnswer = (answer) => {
  if (answer.error) { showMessage(answer.error, "at-bad"); return false; }
  const before = state.run;
  Object.assign(state, { run: answer.run, whyNot: answer.why_not, place: answer.place });
  if (state.run && !state.run.ended) state.form = null;
  const justEnded = before && !before.ended && state.run?.number === before.number && state.run.ended;
  if (justEnded && state.run.ended.release) trigger("made", { digest: state.run.ended.release.digest });
  return true;
};
const fingerprint = (answer) => JSON.stringify([answer.run, answer.why_not, answer.place]);
let last = "";
const refreshStatus = async () => {
  if (state.asking) return;
  state.asking = true;
  const answer = await callServer(server.read_training_status, { member: state.member });
  state.asking = false;
  if (answer.error) { showMessage(answer.error, "at-bad"); return; }
  if (message.classList.contains("at-bad") && !state.form) showMessage("");
  const now = fingerprint(answer);
  applyAnswer(answer);
  if (now !== last && !(state.form && last)) show();
  last = now;
};
const openForm = async () => {
  if (state.opening) return;
  state.opening = true;
  showMessage("Looking at what there is to learn from …");
  show();
  const answer = await callServer(server.read_training_form, { member: state.member });
  state.opening = false;
  if (answer.error) showMessage(answer.error, "at-bad");
  else { state.form = answer; state.chosen = {}; showMessage(""); }
  show();
  root.querySelector("select, input, #at-training-back")?.focus();
};
const runAction = async (call, given, words) => {
  showMessage(words);
  root.querySelectorAll("button").forEach((each) => { each.disabled = true; });
  state.asking = true;
  const answer = await callServer(call, { member: state.member, ...given });
  state.asking = false;
  state.confirming = false;
  if (applyAnswer(answer)) { showMessage(""); last = fingerprint(answer); }
  show();
};
const startTraining = () => runAction(server.start_training, { chosen: Object.fromEntries(state.form.boxes.map((box) => [box.name, state.chosen[box.name] ?? box.default])) }, "Starting …");
const cancelTraining = () => runAction(server.cancel_training, {}, "Cancelling …");

const changeMember = () => {
  const member = props.value?.member || "";
  if (member !== state.member) Object.assign(state, { form: null, confirming: false });
  state.member = member;
  last = "";
  refreshStatus();
};
pollWhileVisible(root, () => (state.run && !state.run.ended ? RUNNING_MS : RESTING_MS), refreshStatus);
show();
changeMember();
watch("value", changeMember);
