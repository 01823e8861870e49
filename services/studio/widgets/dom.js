// Building blocks of the widgets. Text goes in as text, never as markup: names and words come from people.
const createNode = (tag, given = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
};

const replaceContent = (node, ...children) => {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
};

// Like replaceContent; the element with the same id has the focus afterwards.
const replaceKeepingFocus = (node, ...children) => {
  const focused = node.contains(document.activeElement) ? document.activeElement.id : "";
  replaceContent(node, ...children);
  if (focused) node.querySelector(`#${CSS.escape(focused)}`)?.focus();
};

// A line for messages, and the function that sets its words.
const createMessage = () => {
  const message = createNode("p", { class: "at-message", role: "status", "aria-live": "polite" });
  const showMessage = (words, kind = "") => {
    message.textContent = words;
    message.className = `at-message ${kind}`;
  };
  return [message, showMessage];
};

const createProgressBar = (label, percent) => {
  const limits = { "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(percent) };
  const bar = createNode("div", { class: "at-bar", role: "progressbar", "aria-label": label, ...limits }, createNode("i", { class: "at-bar-me" }));
  bar.firstChild.style.width = `${percent}%`;
  return bar;
};

const inTextField = (target) =>
  target instanceof HTMLElement &&
  (target.isContentEditable || target.matches("textarea, select, input:not([type=checkbox]):not([type=radio]):not([type=range])"));

const formatTime = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

// Calls a function of the server; a failure comes back as { error: words }.
const callServer = async (call, given) => {
  try {
    const answer = await call(given);
    return answer && typeof answer === "object" ? answer : { error: "The studio gave no answer." };
  } catch {
    return { error: "The studio does not answer. Is the network still there?" };
  }
};

// As callServer, for what the member says: first asks what there is to sign, and sends it with the signature of this browser's key.
const callSigned = async (call, given) => {
  const asked = await callServer(call, { ...given, prepare: true });
  if (asked.error) return asked;
  const signed = asked.sign && window.audioTuneKeys ? await window.audioTuneKeys.sign(asked.sign) : null;
  return callServer(call, { ...given, signed });
};

// Calls the asynchronous `refresh` when the widget comes into view, and again after `everyMs()` while it stays in view.
const pollWhileVisible = (root, everyMs, refresh) => {
  let visible = false;
  let refreshedAt = 0;
  const timer = setInterval(async () => {
    if (!root.isConnected) { clearInterval(timer); return; }
    const wasVisible = visible;
    visible = root.offsetParent !== null && !document.hidden;
    if (!visible || (wasVisible && Date.now() - refreshedAt < everyMs())) return;
    await refresh();
    refreshedAt = Date.now();
  }, 500);
};
