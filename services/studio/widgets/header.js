// The header of the page: the group's name, the member, what waits for them, and what is wrong with the ledger that the page is shown.
const root = element.querySelector(".at-header");
let ledgerFault = "";

let matters = [];

// Opens a page, and then a part of it, which comes with its page.
const openPage = (page, part = "") => {
  const press = (of, title) => [...document.querySelectorAll(`${of} > .tab-wrapper button[role=tab]`)].find((tab) => tab.innerText.trim() === title)?.click();
  press("#at-pages", page);
  if (part) setTimeout(() => press("#at-parts", part), 400);
};

// News that this browser's member has put away, by their ids.
const AWAY = "audio-tune-news-away";
const listAway = () => {
  try {
    return JSON.parse(localStorage.getItem(AWAY)) || [];
  } catch {
    return [];
  }
};
const putAway = (id) => {
  localStorage.setItem(AWAY, JSON.stringify([...listAway(), id].slice(-300)));
  show();
};

const showMatters = () => {
  const away = listAway();
  const shown = matters.filter(({ id, news }) => !news || !away.includes(id));
  if (!shown.length) return null;
  const count = shown.reduce((sum, one) => sum + (one.news ? 0 : one.count), 0);
  const fresh = shown.filter(({ news }) => news).length;
  const words = [count && `${count === 1 ? "thing waits" : "things wait"} for you`, fresh && `${count ? `${fresh} ` : ""}new`].filter(Boolean).join(", ");
  return createNode("details", { class: "at-matters", id: "at-matters", open: root.querySelector("#at-matters")?.open },
    createNode("summary", {}, createNode("span", { class: "at-count" }, String(count || fresh)), ` ${words}`),
    createNode("ul", {}, shown.map(({ id, words: told, news, place }) => createNode("li", { "data-matter": id },
      createNode("button", { type: "button", class: "at-link", onclick: () => openPage(...place) }, told),
      news && createNode("button", { type: "button", class: "at-quiet at-away", "aria-label": `Put away: ${told}`, onclick: () => putAway(id) }, "Seen")))));
};

const showFault = () =>
  ledgerFault && createNode("div", { class: "at-notice", role: "alert", id: "at-ledger-fault" }, createNode("p", {}, ledgerFault),
    createNode("button", { type: "button", class: "at-quiet", id: "at-ledger-accept", onclick: () => { forgetSeen(); checkAgain(); } }, "I know why: go on from what is there now"));

const show = () => {
  const { group, members = [], member = "", signed_in = false, account = "", notice = "" } = props.value || {};
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
    showMatters(),
  );
};

const checkAgain = async () => {
  const { member = "" } = props.value || {};
  if (!member) return;
  const found = await checkLedger((given) => server.list_events({ ...given, member }));
  if (found !== ledgerFault) { ledgerFault = found; show(); }
};
const readMatters = async () => {
  const { member = "" } = props.value || {};
  const { matters: found } = member ? await callServer(server.list_matters, { member }) : { matters: [] };
  if (!found || JSON.stringify(found) === JSON.stringify(matters)) return; // none: the studio is away
  matters = found;
  show();
};
show();
checkAgain();
watch("value", () => { show(); checkAgain(); readMatters(); });
pollWhileVisible(root, () => 10000, readMatters);
