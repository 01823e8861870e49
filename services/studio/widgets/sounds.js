// Generated sounds: each with its waveform, its settings, a download and a way back to its settings.
const root = element.querySelector(".at-sounds");
let players = [];

const takeBack = (sound) => {
  trigger("restore", { id: sound.id });
  window.scrollTo({ top: 0 });
};
const card = (sound) => {
  const player = makePlayer({ url: sound.url, peaks: sound.peaks, seconds: sound.seconds, label: sound.prompt });
  players.push(player);
  const facts = sound.facts.map(([name, value]) => make("span", { class: "at-fact" }, make("b", {}, name), ` ${value}`));
  return make("article", { class: "at-sound", "data-seed": sound.seed, tabindex: "-1" },
    make("h3", {}, sound.prompt),
    player.wave,
    make("div", { class: "at-transport" }, player.button, player.time, make("span", { class: "at-badge" }, sound.when)),
    make("div", { class: "at-facts" }, facts),
    make("div", { class: "at-sound-actions" },
      make("a", { class: "at-quiet", href: sound.url, download: sound.file }, "Download"),
      make("button", { type: "button", class: "at-quiet at-restore", onclick: () => takeBack(sound) }, "Take these settings")));
};
const show = () => {
  players.forEach((player) => player.away());
  players = [];
  const { sounds = [], title = "", empty = "" } = props.value || {};
  fill(root, title ? make("h2", {}, title) : null,
    sounds.length ? make("div", { class: "at-sound-grid" }, sounds.map(card)) : empty ? make("p", { class: "at-none" }, empty) : null);
};
show();
watch("value", show);
