// Generated sounds: each with its waveform, its settings, a download and a button that restores the settings.
const root = element.querySelector(".at-sounds");
let players = [];

const restoreSettings = (sound) => {
  trigger("restore", { id: sound.id });
  window.scrollTo({ top: 0 });
};
const renderSound = (sound) => {
  const player = makePlayer({ url: sound.url, peaks: sound.peaks, seconds: sound.seconds, label: sound.prompt });
  players.push(player);
  const facts = sound.facts.map(([name, value]) => createNode("span", { class: "at-fact" }, createNode("b", {}, name), ` ${value}`));
  return createNode("article", { class: "at-sound", "data-seed": sound.seed, tabindex: "-1" },
    createNode("h3", {}, sound.prompt),
    player.wave,
    createNode("div", { class: "at-transport" }, player.button, player.time, createNode("span", { class: "at-badge" }, sound.when)),
    sound.withdrawn ? createNode("p", { class: "at-withdrawn" }, sound.withdrawn) : null,
    createNode("div", { class: "at-facts" }, facts),
    createNode("div", { class: "at-sound-actions" },
      createNode("a", { class: "at-quiet", href: sound.url, download: sound.file }, "Download"),
      createNode("button", { type: "button", class: "at-quiet at-restore", onclick: () => restoreSettings(sound) }, "Take these settings")));
};
const show = () => {
  players.forEach((player) => player.dispose());
  players = [];
  const { sounds = [], title = "", empty = "" } = props.value || {};
  replaceContent(root, title ? createNode("h2", {}, title) : null,
    sounds.length ? createNode("div", { class: "at-sound-grid" }, sounds.map(renderSound)) : empty ? createNode("p", { class: "at-none" }, empty) : null);
};
show();
watch("value", show);
