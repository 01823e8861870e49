"""The generate page: a form, the generated sounds, and for each a button that restores its settings."""

from pathlib import Path
from typing import Any

import gradio as gr

from audiotune.domain.generation import LARGEST_SEED
from audiotune.errors import AudioTuneError
from audiotune.governance.sound_marks import WithdrawnMakers
from audiotune.reporting.html import Markup, tag
from services.studio import history
from services.studio.context import StudioContext
from services.studio.history import HistorySound, SoundRequest
from services.studio.markup import format_sentence, render_message
from services.studio.pages import PageRefresh
from services.studio.pages.header import find_acting_member
from services.studio.theme import build_widget

_LEAD = "Say what you would like to hear. The same words, settings and seed always give the same sound."
_FORMATS = [("WAV", "wav"), ("FLAC", "flac"), ("MP3", "mp3"), ("OGG", "ogg"), ("Opus", "opus")]
_SAMPLERS = ["as the release likes"]
_NOTHING_YET = "Sounds you make appear here, with everything needed to make them again."


def build_generate_page(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
    gr.HTML(tag("p", _LEAD, class_="at-intro"))
    form = _GenerateForm()
    with gr.Row():
        make = gr.Button("Make the sound", variant="primary", elem_id="at-make", scale=3)
        stop = gr.Button("Stop", elem_id="at-stop", scale=1, min_width=90, interactive=False)
    news = gr.HTML(elem_id="at-generate-message")
    withdrawn = WithdrawnMakers(context.store)
    new_sounds = _build_sounds_widget("at-new-sounds")
    past_sounds = _build_sounds_widget("at-history")

    def describe_sounds(rows: list[HistorySound], title: str, empty: str = "") -> dict[str, Any]:
        """Sounds as the widget takes them; each file is copied to a folder that browsers may fetch from."""
        paths = [past_sounds.move_resource_to_block_cache(str(context.store.fetch(row.blob))) for row in rows]
        marks = find_withdrawn(rows)
        sounds = [row.describe_for_page(f"gradio_api/file={path}", marks) for row, path in zip(rows, paths, strict=True)]
        return {"sounds": sounds, "title": title, "empty": empty}

    def find_withdrawn(rows: list[HistorySound]) -> dict[tuple[str, str], str]:
        """None where nobody can say: the sounds are shown all the same."""
        try:
            return withdrawn.find_reasons({maker for row in rows for maker in row.known_makers})
        except AudioTuneError:
            return {}

    def on_make(request: gr.Request, *given: Any) -> tuple[Any, ...]:
        member = find_acting_member(context, str(given[-1] or ""), request)
        if not member:
            return render_message("Choose who you are at the top of the page first.", "bad"), gr.skip(), gr.skip(), gr.skip()
        try:
            settings, init = _GenerateForm.read_request(given[:-1])
            rows = history.add_to_history(context.store, member, context.generation.generate_sounds(settings, init, member))
            message = render_message(f"Here {'it is' if len(rows) == 1 else 'they are'}.", "good")
            before = describe_sounds(history.read_history(context.store, member), "Before", _NOTHING_YET)
            return message, describe_sounds(rows, "Just made"), before, rows[0].seed if rows else gr.skip()
        except AudioTuneError as e:
            return render_message(format_sentence(e), "bad"), gr.skip(), gr.skip(), gr.skip()

    def on_restore(chosen: str, event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        rows = history.read_history(context.store, find_acting_member(context, chosen, request), limit=500)
        row = next((r for r in rows if r.id == event.id), None)
        if row is None:
            return (render_message("This sound is not in your history any more.", "bad"), *[gr.skip()] * len(form.parts))
        message = render_message("Settings taken; the seed is locked, so the same sound comes again.", "good")
        return (message, *_GenerateForm.restore_values(row))

    def load_values(member: str) -> tuple[Any, ...]:
        if not member:
            no_member = {"sounds": [], "empty": "Choose who you are at the top of the page."}
            return no_member, *_GenerateForm.apply_limits({}), gr.skip()
        try:
            past = describe_sounds(history.read_history(context.store, member), "Before", _NOTHING_YET)
        except AudioTuneError as e:
            past = {"sounds": [], "empty": f"{e}."}
        message, limits = _read_service_limits(context)
        return past, *_GenerateForm.apply_limits(limits), message or gr.skip()

    started = make.click(
        lambda: (render_message("Asking the generation service …"), gr.Button(interactive=False), gr.Button(interactive=True)),
        None,
        [news, make, stop],
        show_progress="hidden",
    )
    generation = started.then(
        on_make, [*form.parts, me], [news, new_sounds, past_sounds, form.seed], show_progress="hidden", concurrency_limit=4
    )
    generation.then(_reset_buttons, None, [make, stop], show_progress="hidden")
    stop.click(
        lambda: (render_message("Not waiting any longer. The service may still finish it."), *_reset_buttons()),
        None,
        [news, make, stop],
        cancels=[generation],
        show_progress="hidden",
    )
    for widget in (new_sounds, past_sounds):
        widget.restore(on_restore, [me], [news, *form.parts], show_progress="hidden")
    return PageRefresh(load_values, [past_sounds, *form.limited, news], cleared_outputs=[new_sounds])


class _GenerateForm:
    """The inputs, in the order that `read_request` and `restore_values` use too. `limited`: those that the service limits."""

    def __init__(self) -> None:
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                example = "a low drone that slowly opens, metallic"
                prompt = gr.Textbox(label="Prompt", lines=3, max_length=1000, elem_id="at-prompt", placeholder=example)
                negative = gr.Textbox(label="Rather not", placeholder="hiss, voices", max_length=1000, elem_id="at-negative")
                with gr.Accordion("Start from a sound", open=False):
                    init = gr.Audio(label="Sound", type="filepath", sources=["upload", "microphone"], elem_id="at-init")
                    about = "1 forgets the sound, 0.05 keeps nearly all."
                    strength = gr.Slider(0.05, 1.0, 0.7, step=0.05, label="Strength", info=about)
            with gr.Column(scale=2, min_width=300):
                seconds = gr.Slider(0.5, 12, 2, step=0.1, label="Length in seconds", elem_id="at-seconds")
                count = gr.Slider(1, 4, 1, step=1, label="Variations", elem_id="at-count")
                with gr.Row():
                    seed = gr.Number(
                        0, label="Seed", precision=0, minimum=0, maximum=LARGEST_SEED, elem_id="at-seed", min_width=120
                    )
                    locked = gr.Checkbox(False, label="Lock the seed", elem_id="at-lock", min_width=120)
                with gr.Accordion("Finer", open=False):
                    about = "1 to 250; more is finer and slower."
                    steps = gr.Number(
                        None, label="Steps", info=about, placeholder=_SAMPLERS[0], precision=0, minimum=0, maximum=250
                    )
                    about = "0 to 30; how closely to follow the words, 1 is without."
                    guidance = gr.Number(None, label="Guidance", info=about, placeholder=_SAMPLERS[0], minimum=0, maximum=30)
                    sampler = gr.Dropdown(_SAMPLERS, value=_SAMPLERS[0], label="Sampler")
                    about = "The group's light add-ons (LoRA) on top of the release, each with its strength, 0 to 2."
                    example = "grit=0.7, tape=0.3"
                    adapters = gr.Textbox(
                        label="Adapters", placeholder=example, max_length=300, elem_id="at-adapters", info=about
                    )
                    format = gr.Radio(_FORMATS, value="wav", label="File")
        self.parts = [prompt, negative, seconds, steps, guidance, seed, locked, sampler, count, format, init, strength, adapters]
        self.seed, self.limited = seed, [seconds, sampler]

    @staticmethod
    def read_request(given: tuple[Any, ...]) -> tuple[SoundRequest, Path | None]:
        prompt, negative, seconds, steps, guidance, seed, locked, sampler, count, format, init, strength, adapters = given
        request = SoundRequest(
            prompt=(prompt or "").strip(),
            negative_prompt=(negative or "").strip(),
            seconds=float(seconds),
            steps=int(steps) if steps else None,
            guidance=None if guidance is None else float(guidance),
            seed=int(seed or 0) if locked else None,
            sampler="" if sampler in (None, *_SAMPLERS) else sampler,
            count=int(count),
            format=format,
            strength=float(strength) if init else None,
            adapters=(adapters or "").strip(),
        )
        return request, Path(init) if init else None

    @staticmethod
    def restore_values(row: HistorySound) -> tuple[Any, ...]:
        """One value per input; the init audio is not stored, so that input stays as it is."""
        w = row.wish
        settings = (w.prompt, w.negative_prompt, w.seconds, w.steps, w.guidance, row.seed, True, w.sampler or _SAMPLERS[0], 1)
        return *settings, w.format, gr.skip(), gr.skip() if w.strength is None else w.strength, w.adapters

    @staticmethod
    def apply_limits(limits: dict[str, Any]) -> tuple[Any, Any]:
        longest = float(limits.get("max_seconds") or 12)
        samplers = [*_SAMPLERS, *map(str, limits.get("samplers") or [])]
        return gr.Slider(maximum=longest), gr.Dropdown(choices=samplers)


def _reset_buttons() -> tuple[Any, Any]:
    return gr.Button(interactive=True), gr.Button(interactive=False)


def _build_sounds_widget(elem_id: str) -> gr.HTML:
    element = '<section class="at-sounds" aria-live="polite"></section>'
    return build_widget(elem_id, element, {"sounds": []}, "player.js", "sounds.js")


def _read_service_limits(context: StudioContext) -> tuple[Markup, dict[str, Any]]:
    """A message when the service is unreachable, and the limits that it names."""
    try:
        return Markup(), context.generation.read_limits()
    except AudioTuneError as e:
        return render_message(format_sentence(e), "bad"), {}
