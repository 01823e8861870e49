// The header of the page: the group's name, the member, what waits for them, and what is wrong with the ledger that the page is shown.
const root = element.querySelector(".at-header");
let ledgerFault = "";

// Opens a page, and a part of it.
const openPage = (...titles) => {
  const tabs = titles.map((title, depth) => {
    const find = () => [...document.querySelectorAll(`${depth ? "#at-parts" : "#at-pages"} > .tab-wrapper button[role=tab]`)].find((tab) => tab.innerText.trim() === title);
    return find;
  });
  tabs.forEach((find, depth) => setTimeout(() => find()?.click(), depth * 400)); // the inner tabs come with their page
};

const showWaiting = (waiting) => {
  if (!waiting.length) return null;
  const rows = waiting.map(({ words, page, part }) =>
    createNode("li", {}, createNode("button", { type: "button", class: "at-link", onclick: () => openPage(...[page, part].filter(Boolean)) }, words)));
  const count = waiting.reduce((sum, one) => sum + one.count, 0);
  return createNode("details", { class: "at-waiting", id: "at-waiting" },
    createNode("summary", {}, createNode("span", { class: "at-count" }, String(count)), count === 1 ? " thing waits for you" : " things wait for you"),
    createNode("ul", {}, rows));
};

const showFault = () =>
  ledgerFault && createNode("div", { class: "at-notice", role: "alert", id: "at-ledger-fault" }, createNode("p", {}, ledgerFault),
    createNode("button", { type: "button", class: "at-quiet", id: "at-ledger-accept", onclick: () => { forgetSeen(); checkAgain(); } }, "I know why: go on from what is there now"));

const show = () => {
  const { group, members = [], member = "", signed_in = false, account = "", notice = "", waiting = [] } = props.value || {};
  const choice = createNode(
    "select",
    {
      id: "at-member", "aria-label": "Who you are",
      onchange: (event) => trigger("choose", { member: event.target.value }),
    },
    createNode("option", { value: "" }, "Who are you?"),
    members.map(([id, name]) => createNode("option", { value: id, selected: id === member }, name)),
  );
  choice.value = member;
  replaceContent(
    root,
    createNode("div", { class: "at-brand" }, createNode("span", { class: "at-logo", "aria-hidden": "true" }),
      createNode("div", {}, createNode("h1", {}, "Audio Tune"), createNode("span", { class: "at-group" }, group || "no agreement yet"))),
    signed_in
      ? createNode("div", { class: "at-member-choice" }, createNode("span", { id: "at-signed-in" }, (members.find(([id]) => id === member) || [])[1] || account),
          createNode("form", { method: "post", action: "logout" }, createNode("button", { type: "submit", id: "at-sign-out" }, "Sign out")))
      : createNode("label", { class: `at-member-choice${member ? "" : " at-member-missing"}` }, createNode("span", {}, "I am"), choice),
    notice && createNode("p", { class: "at-notice", role: "status" }, notice),
    showFault(),
    showWaiting(waiting),
  );
};

const checkAgain = async () => {
  const { member = "" } = props.value || {};
  if (!member) return;
  const found = await checkLedger((given) => server.list_events({ ...given, member }));
  if (found !== ledgerFault) { ledgerFault = found; show(); }
};
show();
checkAgain();
watch("value", () => { show(); checkAgain(); });
