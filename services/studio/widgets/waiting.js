// Recordings that wait for the member's word: hear one, say yes or no to each use, answer. Nothing is ticked beforehand.
const root = element.querySelector(".at-waiting-for-me");
const state = { member: "", waiting: [], uses: [], answers: {}, urls: {} };
const [message, showMessage] = createMessage();

const findAnswers = (id) => (state.answers[id] ||= {});
const setAll = (id, word) => {
  for (const { use } of state.uses) findAnswers(id)[use] = word;
  show();
};

const makeChoice = (one, { use, text }) => {
  const name = `at-use-${one.id}-${use}`;
  const [short, ...rest] = text.split(": ");
  const option = (word) =>
    createNode("label", { class: "at-yes-no" },
      createNode("input", { type: "radio", id: `${name}-${word}`, name, value: word, checked: findAnswers(one.id)[use] === word, onchange: () => { findAnswers(one.id)[use] = word; showHint(one); } }),
      word === "yes" ? "Yes" : "No");
  return createNode("fieldset", { class: "at-use-choice", "data-use": use },
    createNode("legend", {}, createNode("b", {}, `${short}:`), ` ${rest.join(": ")}`), option("yes"), option("no"));
};

const describeAnswer = (one) => {
  const given = findAnswers(one.id);
  if (given.store === "no") return one.deletes ? "Without “Keep” the recording is deleted, for everybody and for good." : "Without “Keep” it is used for nothing any more.";
  return state.uses.some(({ use }) => !given[use]) ? "Say yes or no to each." : "";
};
const showHint = (one) => {
  const hint = root.querySelector(`#at-hint-${CSS.escape(one.id)}`);
  if (hint) hint.textContent = describeAnswer(one);
};

const showOne = (one) =>
  createNode("article", { class: "at-card at-waiting-one", "data-id": one.id },
    createNode("h3", {}, one.title),
    createNode("p", { class: "at-about" }, [one.why, one.about, one.until ? `Answer until ${one.until}${one.deletes ? ", or it is deleted" : ""}.` : ""].filter(Boolean).join(" ")),
    state.urls[one.id]
      ? createNode("audio", { controls: true, src: state.urls[one.id], id: `at-hear-${one.id}`, "aria-label": `Hear ${one.title}` })
      : createNode("button", { type: "button", class: "at-quiet", id: `at-hear-${one.id}`, "aria-label": `Hear it: ${one.title}`, onclick: () => hearOne(one) }, "Hear it"),
    state.uses.map((use) => makeChoice(one, use)),
    createNode("p", { class: "at-about", id: `at-hint-${one.id}`, role: "status" }, describeAnswer(one)),
    createNode("div", { class: "at-training-actions" },
      createNode("button", { type: "button", class: "at-quiet", id: `at-all-yes-${one.id}`, onclick: () => setAll(one.id, "yes") }, "Yes to all"),
      createNode("button", { type: "button", class: "at-quiet", id: `at-all-no-${one.id}`, onclick: () => setAll(one.id, "no") }, "No to all"),
      createNode("button", { type: "button", class: "at-main", id: `at-answer-${one.id}`, "aria-label": `Answer: ${one.title}`, onclick: () => answerOne(one) }, "Answer")));

const show = () => {
  const count = state.waiting.length;
  replaceKeepingFocus(root,
    count ? createNode("h2", {}, `${count} ${count === 1 ? "recording waits" : "recordings wait"} for you`) : null,
    count ? createNode("p", { class: "at-intro" }, "Hear it, then say what the group may do with it. Until everybody in it agrees, it is used for nothing, and only you, the others in it and who brought it in can hear it.") : null,
    message, state.waiting.map(showOne));
};

const applyAnswer = (answer) => {
  if (answer.error) { showMessage(answer.error, "at-bad"); return; }
  Object.assign(state, { waiting: answer.waiting, uses: answer.uses });
  show();
};
const refreshWaiting = async () => {
  if (!state.member) { state.waiting = []; show(); return; }
  applyAnswer(await callServer(server.list_waiting, { member: state.member }));
};
const hearOne = async (one) => {
  showMessage("Fetching …");
  const answer = await callServer(server.hear_recording, { member: state.member, id: one.id });
  showMessage(answer.error || "", "at-bad");
  if (answer.error) return;
  state.urls[one.id] = answer.url;
  show();
  root.querySelector(`#at-hear-${CSS.escape(one.id)}`)?.play?.().catch(() => {});
};
const answerOne = async (one) => {
  const given = findAnswers(one.id);
  const hint = state.uses.some(({ use }) => !given[use]) && given.store !== "no" ? "Say yes or no to each use first." : "";
  if (hint) { showMessage(hint, "at-bad"); return; }
  const uses = given.store === "no" ? [] : Object.keys(given).filter((use) => given[use] === "yes");
  root.querySelectorAll("button").forEach((each) => { each.disabled = true; });
  showMessage("Recording …");
  const answer = await callSigned(server.answer_recording, { member: state.member, id: one.id, uses });
  if (!answer.error) { delete state.answers[one.id]; delete state.urls[one.id]; }
  applyAnswer(answer);
  if (answer.error) { show(); return; }
  showMessage(answer.words, "at-good");
  message.scrollIntoView({ block: "center" });
};

const changeMember = () => {
  const member = props.value?.member || "";
  if (member !== state.member) Object.assign(state, { answers: {}, urls: {}, waiting: [] });
  state.member = member;
  refreshWaiting();
};
show();
changeMember();
watch("value", changeMember);
