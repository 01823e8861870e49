// A member's keys: made in this browser, registered, lost, and ended by the word of two members.
const root = element.querySelector(".at-member-keys");
const [message, showMessage] = createMessage();
const state = { keys: [], others: [], events: [], held: [], whyNot: "", losing: "" };
let shownFor = null;
let shown = "";
const member = () => (props.value || {}).member || "";
const call = (name, given = {}) => callServer(server[name], { ...given, member: member() });
const button = (words, onclick, id = "", kind = "at-quiet") => createNode("button", { type: "button", class: kind, id: id || null, onclick }, words);

const refresh = async (words = "", kind = "good") => {
  const told = await call("list_keys");
  if (told.error) return showMessage(told.error, "at-bad");
  const whyNot = await window.audioTuneKeys.explainNoKeys();
  const held = whyNot ? [] : (await window.audioTuneKeys.list(member())).map(({ id }) => id);
  const now = JSON.stringify([member(), told, held, whyNot]);
  if (now !== shown) { // what is being typed stays while nothing changes
    shown = now;
    Object.assign(state, told, { losing: "", whyNot, held });
    show();
  }
  if (words) showMessage(words, `at-${kind}`);
};
const act = async (name, given, done) => {
  const told = await call(name, given);
  return told.error ? showMessage(told.error, "at-bad") : refresh(done);
};

const makeKey = async () => {
  let made;
  try {
    made = await window.audioTuneKeys.make(member());
  } catch {
    return showMessage("This browser could not keep the key. Is its disk full, or the window a private one?", "at-bad");
  }
  const told = await call("register_key", { key: made.public, label: root.querySelector("#at-key-label").value.trim() });
  if (!told.error) return refresh("From now on this browser signs what you say here.");
  await window.audioTuneKeys.forget(made.id);
  return showMessage(told.error, "at-bad");
};

const nameKey = ({ id, label }) => [createNode("b", {}, label || "without a name"), ` · ${id}`];
const describeKey = (key) => [...nameKey(key), ` · ${key.state}${state.held.includes(key.id) ? " · in this browser" : ""}`];
const showKey = (key) => createNode("li", { class: "at-key", "data-key": key.id }, createNode("p", {}, describeKey(key)),
  key.counts && !key.lost && (state.losing === key.id
    ? createNode("div", { class: "at-key-form" }, createNode("span", {}, "Is it lost, or did somebody else get it? It ends when another member confirms it, and no key can be found again."),
        button("Yes, it is lost", () => act("report_loss", { id: key.id }, "Said. Ask another member to confirm it on this page; until then the key still counts."), "at-key-lost-confirm", "at-quiet at-danger"),
        button("No", () => { state.losing = ""; show(); }))
    : button("I lost it", () => { state.losing = key.id; show(); }, "at-key-lost")));
const showOther = (key) => createNode("li", { class: "at-key", "data-key": key.id },
  createNode("p", {}, `${key.who} says that this key is lost: `, nameKey(key), ". Confirm it only if you heard it from them, not in a message alone."),
  button(`${key.who} told me so: end this key`, () => act("confirm_loss", { id: key.id }, "The key has ended. What it signed before stays signed."), "at-key-confirm"));

const showMaking = () => {
  if (state.whyNot) return createNode("p", { class: "at-message", id: "at-key-why-not" }, state.whyNot);
  if (state.keys.some(({ id, counts }) => counts && state.held.includes(id))) return createNode("p", { id: "at-key-held" }, "This browser holds a key of yours, and signs what you say here.");
  return createNode("div", { class: "at-key-form" },
    createNode("input", { class: "at-text-input", id: "at-key-label", maxlength: "80", placeholder: "what you call it, as in: my phone", "aria-label": "What you call the key" }),
    button("Make a key in this browser", makeKey, "at-key-make", "at-main"));
};
const showPasting = () => createNode("details", {}, createNode("summary", {}, "A key that you made with `audiotune key make`"),
  createNode("div", { class: "at-key-form" },
    createNode("input", { class: "at-text-input", id: "at-key-public", maxlength: "64", placeholder: "its public half: 64 digits and letters a to f", "aria-label": "Public half of the key" }),
    button("Register it", () => act("register_key", { key: root.querySelector("#at-key-public").value.trim(), label: "command line" }, "Registered."), "at-key-register")));
const showEvents = () => createNode("table", { class: "at-table", id: "at-events" },
  createNode("thead", {}, createNode("tr", {}, ["Event", "When", "Who", "What", "On whose word"].map((name) => createNode("th", { scope: "col" }, name)))),
  createNode("tbody", {}, state.events.map((row) => createNode("tr", {}, ["number", "when", "who", "what", "word"].map((name, i) =>
    createNode("td", { "data-label": ["Event", "When", "Who", "What", "On whose word"][i] }, row[name]))))));

const show = () => {
  shownFor = member();
  replaceContent(root,
    createNode("h2", {}, "Keys"),
    createNode("p", { class: "at-intro" }, "Whatever you say in this group is kept in a ledger that nobody can change unnoticed. Without a key the studio vouches that it was you who signed in. With a key your browser signs it, and everybody can check that it was you; what is said without the key stays marked as such. The key stays in this browser, and nobody can copy it out."),
    member() ? showMaking() : createNode("p", {}, "Choose who you are at the top of the page first."),
    message,
    state.keys.length ? createNode("ul", { class: "at-key-list", id: "at-own-keys" }, state.keys.map(showKey)) : null,
    state.others.length ? createNode("div", {}, createNode("h3", {}, "Keys that others lost"), createNode("ul", { class: "at-key-list", id: "at-lost-keys" }, state.others.map(showOther))) : null,
    member() ? showPasting() : null,
    createNode("h3", {}, "The newest events of the ledger"), showEvents());
};
show();
watch("value", () => { if (member() !== shownFor) showMessage(""); refresh(); });
pollWhileVisible(root, () => Infinity, refresh); // whenever the part is opened
