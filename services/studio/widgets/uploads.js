// The uploads of the group: what each is, how far it is, its reason when it failed, and "Try again". What runs is asked of the server
// each time, so a page that was left and opened again shows the same.
const root = element.querySelector(".at-uploads");
const RUNNING_MS = 2000, RESTING_MS = 15000;
const state = { member: "", uploads: [], summary: "", asking: false, askedAt: 0, shown: false };
const STATES = { waiting: "waiting", running: "running", done: "done", failed: "failed" };
const KINDS = { waiting: "", running: "", done: "at-good", failed: "at-bad" };

const message = make("p", { class: "at-message", role: "status", "aria-live": "polite" });
const tell = (words, kind = "") => {
  message.textContent = words;
  message.className = `at-message ${kind}`;
};

const showBar = (upload) => {
  const percent = Math.round(100 * upload.share);
  const bar = make("div", { class: "at-bar", role: "progressbar", "aria-label": `Progress of ${upload.title}`, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(percent) },
    make("i", { class: "at-bar-me" }));
  bar.firstChild.style.width = `${percent}%`;
  return bar;
};
const action = (upload, label, name, onclick) => make("button", { type: "button", class: "at-quiet", id: `at-upload-${name}-${upload.id}`, "aria-label": `${label}: ${upload.title}`, onclick }, label);
const showUpload = (upload) => make("article", { class: "at-card at-upload", "data-id": upload.id, "data-state": upload.state, "data-attempt": upload.attempt },
  make("h3", {}, upload.title),
  make("p", { class: "at-about" }, `${upload.files.length} ${upload.files.length === 1 ? "file" : "files"} by ${upload.who}: ${upload.files.slice(0, 6).join(", ")}${upload.files.length > 6 ? " …" : ""}`),
  make("div", {}, make("span", { class: `at-status ${KINDS[upload.state]}` }, STATES[upload.state]),
    upload.words ? make("span", { class: "at-upload-words" }, upload.words) : null),
  upload.state === "running" ? showBar(upload) : null,
  make("div", { class: "at-training-actions" },
    upload.page ? make("a", { href: upload.page, target: "_blank", rel: "noreferrer" }, "This run in Kubeflow") : null,
    upload.reports ? action(upload, "Its reports", "report", () => trigger("report", { id: upload.id })) : null,
    upload.may_stop ? action(upload, "Stop", "stop", () => act(server.stop_upload, upload, "Stopping …")) : null,
    upload.may_retry ? action(upload, "Try again", "retry", () => act(server.retry_upload, upload, "Starting …")) : null));

const show = () => {
  const focused = root.contains(document.activeElement) ? document.activeElement.id : "";
  fill(root, state.uploads.length ? make("h2", {}, "Uploads") : null,
    state.summary ? make("p", { class: "at-about", id: "at-uploads-summary" }, state.summary) : null,
    message, state.uploads.map(showUpload));
  if (focused) root.querySelector(`#${CSS.escape(focused)}`)?.focus();
};

let last = "";
const take = (answer) => {
  if (answer.error) { tell(answer.error, "at-bad"); return; }
  const now = JSON.stringify([answer.uploads, answer.summary]);
  Object.assign(state, { uploads: answer.uploads, summary: answer.summary });
  if (now !== last) show();
  last = now;
};
const look = async () => {
  if (state.asking) return;
  state.asking = true;
  const answer = await ask(server.list_uploads, { member: state.member });
  state.asking = false;
  state.askedAt = Date.now();
  take(answer);
};
const act = async (call, upload, words) => {
  tell(words);
  root.querySelectorAll("button").forEach((each) => { each.disabled = true; });
  state.asking = true;
  const answer = await ask(call, { member: state.member, id: upload.id });
  state.asking = false;
  tell("");
  last = "";
  take(answer);
  if (answer.error) show();
};

const arrive = () => {
  state.member = props.value?.member || "";
  last = "";
  look();
};
const beat = () => {
  if (!root.isConnected) { clearInterval(beating); return; }
  const seen = root.offsetParent !== null && !document.hidden;
  const every = state.uploads.some((upload) => upload.state === "running" || (upload.state === "waiting" && upload.attempt)) ? RUNNING_MS : RESTING_MS;
  if (seen && (!state.shown || Date.now() - state.askedAt >= every)) look();
  state.shown = seen;
};
const beating = setInterval(beat, 500);
show();
arrive();
watch("value", arrive);
