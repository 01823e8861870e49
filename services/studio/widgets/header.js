// The header of the page: the group's name and the member.
const root = element.querySelector(".at-header");
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
  );
};
show();
watch("value", show);
