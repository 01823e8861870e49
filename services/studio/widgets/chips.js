// The words of the vocabulary as chips: one open facet, a search over all facets; arrows and letters move, Enter chooses.
const makeChips = ({ chosen, onchange, onadd }) => {
  let facets = [];
  let open = "";
  const tabs = createNode("div", { class: "at-facets", role: "tablist", "aria-label": "Facets" });
  const find = createNode("input", {
    class: "at-find", type: "search", placeholder: "Find a word", "aria-label": "Find a word in all facets", autocomplete: "off",
    enterkeyhint: "done", "aria-keyshortcuts": "/",
  });
  const panel = createNode("div", { class: "at-chips", role: "tabpanel" });
  const own = createNode("input", { class: "at-text-input", maxlength: "60", autocomplete: "off" });
  const add = createNode("button", { type: "button", class: "at-quiet", onclick: () => addOwn() }, "Add");
  const picked = createNode("div", { class: "at-picked", "aria-label": "Chosen words" });

  const isOn = (facet, term) => (chosen[facet] || []).includes(term);
  const toggleTerm = (facet, term) => {
    const now = chosen[facet] || [];
    chosen[facet] = now.includes(term) ? now.filter((other) => other !== term) : [...now, term];
    if (!chosen[facet].length) delete chosen[facet];
    for (const chip of panel.children) chip.setAttribute("aria-pressed", isOn(chip.dataset.facet, chip.dataset.term));
    showTabs();
    showPicked();
    onchange();
  };
  const chip = (facet, term) =>
    createNode(
      "button",
      {
        type: "button", class: "at-chip", "data-facet": facet.id, "data-term": term.id, title: term.hint || null,
        "aria-pressed": isOn(facet.id, term.id), onclick: () => toggleTerm(facet.id, term.id),
      },
      term.label,
    );
  const showPicked = () =>
    replaceContent(
      picked,
      facets.flatMap((facet) =>
        facet.terms.filter((term) => isOn(facet.id, term.id)).map((term) =>
          createNode("button", {
            type: "button", class: "at-chip at-chip-picked", "aria-label": `Take back ${term.label}`,
            onclick: () => toggleTerm(facet.id, term.id),
          }, `${term.label} ×`))),
    );
  const showTabs = () =>
    replaceContent(
      tabs,
      facets.map((facet, place) => {
        const count = (chosen[facet.id] || []).length;
        return createNode(
          "button",
          {
            type: "button", role: "tab", class: "at-facet", "data-facet": facet.id, "aria-selected": facet.id === open && !find.value,
            "aria-keyshortcuts": String(place + 1), onclick: () => choose(facet.id, false),
          },
          createNode("kbd", { "aria-hidden": "true" }, String(place + 1)), ` ${facet.label}`,
          count ? createNode("span", { class: "at-count" }, String(count)) : null,
        );
      }),
    );
  const showPanel = () => {
    const wanted = find.value.trim().toLowerCase();
    const hits = facets.flatMap((facet) =>
      facet.terms.filter((term) => (wanted ? term.search.includes(wanted) : facet.id === open)).map((term) => chip(facet, term)));
    replaceContent(panel, hits.length ? hits : createNode("p", { class: "at-none" }, "No such word yet. Add it below."));
    const facet = facets.find((each) => each.id === open);
    own.placeholder = facet ? `Own word for ${facet.label.toLowerCase()}` : "Own word";
    own.setAttribute("aria-label", own.placeholder);
  };
  const show = () => {
    showTabs();
    showPanel();
    showPicked();
  };
  const choose = (facet, focus) => {
    open = facet;
    find.value = "";
    showTabs();
    showPanel();
    if (focus) panel.querySelector(".at-chip")?.focus();
  };
  const addOwn = async () => {
    const word = own.value.trim() || find.value.trim();
    if (!word || !open) return;
    if (await onadd(open, word)) {
      own.value = "";
      find.value = "";
      show();
    }
  };

  find.addEventListener("input", () => { showTabs(); showPanel(); });
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const first = panel.querySelector(".at-chip");
      if (first && find.value.trim()) toggleTerm(first.dataset.facet, first.dataset.term);
      find.value = "";
      showTabs();
      showPanel();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      panel.querySelector(".at-chip")?.focus();
    }
  });
  own.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      addOwn();
    }
  });
  panel.addEventListener("keydown", (event) => moveAmong([...panel.querySelectorAll(".at-chip")], event));
  tabs.addEventListener("keydown", (event) => moveAmong([...tabs.children], event));

  return {
    parts: { tabs, find, panel, picked, own: createNode("div", { class: "at-add-word" }, own, add) },
    load: (given) => {
      facets = given;
      open = facets.some((facet) => facet.id === open) ? open : facets[0]?.id || "";
      show();
    },
    show,
    openAt: (place) => facets[place] && choose(facets[place].id, true),
    label: (facet, term) => facets.find((each) => each.id === facet)?.terms.find((each) => each.id === term)?.label || term,
  };
};

// Arrows move the focus among buttons; a letter jumps to the next one that begins with it.
const moveAmong = (buttons, event) => {
  const here = buttons.indexOf(document.activeElement);
  if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  let to = -1;
  if (step) to = (here + step + buttons.length) % buttons.length;
  else if (event.key === "Home") to = 0;
  else if (event.key === "End") to = buttons.length - 1;
  else if (/^\p{L}$/u.test(event.key)) {
    const rest = [...buttons.slice(here + 1), ...buttons.slice(0, here + 1)];
    const hit = rest.find((button) => button.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase()));
    to = hit ? buttons.indexOf(hit) : -1;
  }
  if (to < 0) return;
  event.preventDefault();
  buttons[to].focus();
};
