// The bar on top: the group's name and who is listening.
const root = element.querySelector(".at-header");
const show = () => {
  const { group, members = [], member = "", signed_in = false, account = "", notice = "" } = props.value || {};
  const choice = make(
    "select",
    {
      id: "at-member", "aria-label": "Who you are",
      onchange: (event) => trigger("choose", { member: event.target.value }),
    },
    make("option", { value: "" }, "Who are you?"),
    members.map(([id, name]) => make("option", { value: id, selected: id === member }, name)),
  );
  choice.value = member;
  fill(
    root,
    make("div", { class: "at-brand" }, make("span", { class: "at-logo", "aria-hidden": "true" }),
      make("div", {}, make("h1", {}, "Audio Tune"), make("span", { class: "at-group" }, group || "no agreement yet"))),
    signed_in
      ? make("div", { class: "at-member-choice" }, make("span", { id: "at-signed-in" }, (members.find(([id]) => id === member) || [])[1] || account),
          make("a", { href: "logout", id: "at-sign-out" }, "Sign out"))
      : make("label", { class: `at-member-choice${member ? "" : " at-member-missing"}` }, make("span", {}, "I am"), choice),
    notice && make("p", { class: "at-notice", role: "status" }, notice),
  );
};
show();
watch("value", show);
