// A player: the browser's own audio, with a waveform of precomputed peaks on a canvas. One sound plays at a time.
const makePlayer = ({ url, peaks, seconds, label }) => {
  const audio = new Audio();
  audio.preload = "auto";
  audio.src = url;
  const canvas = createNode("canvas", { class: "at-wave-canvas", "aria-hidden": "true" });
  const wave = createNode(
    "div",
    {
      class: "at-wave", tabindex: "0", role: "slider", "aria-label": `Place in ${label}`, "aria-valuemin": "0",
      "aria-valuemax": seconds.toFixed(1), "aria-valuenow": "0", "aria-valuetext": `0 of ${seconds.toFixed(1)} seconds`,
    },
    canvas,
  );
  const button = createNode("button", { class: "at-play", type: "button", "aria-label": `Play ${label}` }, "▶");
  const time = createNode("span", { class: "at-time" }, `0:00.0 / ${formatTime(seconds)}`);

  const length = () => (Number.isFinite(audio.duration) && audio.duration > 0 ? audio.duration : seconds);
  const draw = () => {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const [played, rest] = [style.getPropertyValue("--at-accent"), style.getPropertyValue("--at-wave-unplayed")];
    const loudest = Math.max(1, ...peaks);
    const [step, here] = [3, (audio.currentTime / length()) * width];
    for (let x = 0; x < width; x += step) {
      const from = Math.floor((x / width) * peaks.length);
      const to = Math.max(from + 1, Math.floor(((x + step) / width) * peaks.length));
      const tall = Math.max(2, (Math.max(0, ...peaks.slice(from, to)) / loudest) * (height - 6));
      pen.fillStyle = x <= here && audio.currentTime > 0 ? played : rest;
      pen.fillRect(x, (height - tall) / 2, step - 1, tall);
    }
  };
  const updatePosition = () => {
    draw();
    time.textContent = `${formatTime(audio.currentTime)} / ${formatTime(length())}`;
    wave.setAttribute("aria-valuenow", audio.currentTime.toFixed(1));
    wave.setAttribute("aria-valuetext", `${audio.currentTime.toFixed(1)} of ${length().toFixed(1)} seconds`);
    if (!audio.paused) requestAnimationFrame(updatePosition);
  };
  const show = () => {
    button.textContent = audio.paused ? "▶" : "❚❚";
    button.setAttribute("aria-label", `${audio.paused ? "Play" : "Pause"} ${label}`);
    updatePosition();
  };
  const seek = (to) => {
    audio.currentTime = Math.min(Math.max(0, to), length());
    updatePosition();
  };
  const play = () => {
    if (window.audioTunePlaying && window.audioTunePlaying !== audio) window.audioTunePlaying.pause();
    window.audioTunePlaying = audio;
    return audio.play().catch(() => show()); // a browser may refuse to play before the first touch
  };
  const toggle = () => (audio.paused ? play() : audio.pause());
  const playFromStart = () => {
    seek(0);
    return play();
  };

  for (const event of ["play", "pause", "ended"]) audio.addEventListener(event, show);
  audio.addEventListener("loadedmetadata", updatePosition);
  button.addEventListener("click", toggle);
  const seekTo = (event) => {
    const box = wave.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * length());
  };
  wave.addEventListener("pointerdown", (event) => {
    wave.setPointerCapture(event.pointerId);
    seekTo(event);
  });
  wave.addEventListener("pointermove", (event) => event.buttons && seekTo(event));
  wave.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: audio.currentTime - 0.5, ArrowRight: audio.currentTime + 0.5, Home: 0, End: length() }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    seek(to);
  });
  const sized = new ResizeObserver(draw);
  sized.observe(canvas);
  const dispose = () => {
    audio.pause();
    audio.removeAttribute("src");
    sized.disconnect();
  };
  return { wave, button, time, play, toggle, playFromStart, dispose };
};
