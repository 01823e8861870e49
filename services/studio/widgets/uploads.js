// The uploads of the group: title, progress, the reason of a failure, and "Try again". The server knows the runs, so a page that was
// left and opened again shows the same.
const root = element.querySelector(".at-uploads");
const RUNNING_MS = 2000, RESTING_MS = 15000;
const state = { member: "", uploads: [], summary: "", asking: false };
const KINDS = { waiting: "", running: "", done: "at-good", failed: "at-bad", deleted: "at-bad" };

const [message, showMessage] = createMessage();

const makeActionButton = (upload, label, name, onclick) => createNode("button", { type: "button", class: "at-quiet", id: `at-upload-${name}-${upload.id}`, "aria-label": `${label}: ${upload.title}`, onclick }, label);
const showUpload = (upload) => createNode("article", { class: "at-card at-upload", "data-id": upload.id, "data-state": upload.state, "data-attempt": upload.attempt },
  createNode("h3", {}, upload.title),
  createNode("p", { class: "at-about" }, `${upload.files.length} ${upload.files.length === 1 ? "file" : "files"} by ${upload.who}: ${upload.files.slice(0, 6).join(", ")}${upload.files.length > 6 ? " …" : ""}`),
  createNode("div", {}, createNode("span", { class: `at-status ${KINDS[upload.state]}` }, upload.state),
    upload.words ? createNode("span", { class: "at-upload-words" }, upload.words) : null),
  upload.state === "running" ? createProgressBar(`Progress of ${upload.title}`, Math.round(100 * upload.share)) : null,
  createNode("div", { class: "at-training-actions" },
    upload.page ? createNode("a", { href: upload.page, target: "_blank", rel: "noreferrer" }, "This run in Kubeflow") : null,
    upload.reports ? makeActionButton(upload, "Its reports", "report", () => trigger("report", { id: upload.id })) : null,
    upload.may_stop ? makeActionButton(upload, "Stop", "stop", () => runAction(server.stop_upload, upload, "Stopping …")) : null,
    upload.may_retry ? makeActionButton(upload, "Try again", "retry", () => runAction(server.retry_upload, upload, "Starting …")) : null));

const show = () => {
  replaceKeepingFocus(root, state.uploads.length ? createNode("h2", {}, "Uploads") : null,
    state.summary ? createNode("p", { class: "at-about", id: "at-uploads-summary" }, state.summary) : null,
    message, state.uploads.map(showUpload));
};

let last = "";
const applyAnswer = (answer) => {
  if (answer.error) { showMessage(answer.error, "at-bad"); return; }
  const now = JSON.stringify([answer.uploads, answer.summary]);
  Object.assign(state, { uploads: answer.uploads, summary: answer.summary });
  if (now !== last) show();
  last = now;
};
const refreshUploads = async () => {
  if (state.asking) return;
  state.asking = true;
  const answer = await callServer(server.list_uploads, { member: state.member });
  state.asking = false;
  applyAnswer(answer);
};
const runAction = async (call, upload, words) => {
  showMessage(words);
  root.querySelectorAll("button").forEach((each) => { each.disabled = true; });
  state.asking = true;
  const answer = await callServer(call, { member: state.member, id: upload.id });
  state.asking = false;
  showMessage("");
  last = "";
  applyAnswer(answer);
  if (answer.error) show();
};

const changeMember = () => {
  state.member = props.value?.member || "";
  last = "";
  refreshUploads();
};
const isRunning = (upload) => upload.state === "running" || (upload.state === "waiting" && upload.attempt);
pollWhileVisible(root, () => (state.uploads.some(isRunning) ? RUNNING_MS : RESTING_MS), refreshUploads);
show();
changeMember();
watch("value", changeMember);
