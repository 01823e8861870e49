"""The studio's theme (light or dark by the system's setting, the system's fonts), and its widgets."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

WIDGETS = Path(__file__).parent / "widgets"
CSS = Path(__file__).parent / "studio.css"

_FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SF Mono", "Cascadia Mono", "Noto Sans Mono", "monospace")

_SHAPES = {
    "block_shadow": "none",
    "block_border_width": "1px",
    "block_radius": "16px",
    "container_radius": "16px",
    "input_border_width": "1px",
    "input_radius": "10px",
    "button_large_radius": "12px",
    "checkbox_label_border_width": "1px",
}

HEAD = (
    '<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">'
    '<meta name="color-scheme" content="light dark">'
)


def create_theme() -> gr.themes.Base:
    """Gradio's components in the colours of studio.css, which defines every variable named here."""
    base = gr.themes.Base(
        font=_FONT, font_mono=_MONO, radius_size=gr.themes.sizes.radius_md, spacing_size=gr.themes.sizes.spacing_md
    )
    colours = {
        "body_background_fill": "var(--at-background)",
        "body_text_color": "var(--at-text)",
        "body_text_color_subdued": "var(--at-text-muted)",
        "background_fill_primary": "var(--at-surface)",
        "background_fill_secondary": "var(--at-background)",
        "block_background_fill": "var(--at-surface)",
        "block_border_color": "var(--at-border)",
        "block_label_background_fill": "var(--at-surface)",
        "block_label_text_color": "var(--at-text-muted)",
        "block_title_text_color": "var(--at-text)",
        "block_info_text_color": "var(--at-text-muted)",
        "border_color_primary": "var(--at-border)",
        "border_color_accent": "var(--at-accent)",
        "input_background_fill": "var(--at-field)",
        "input_border_color": "var(--at-border-strong)",
        "input_border_color_focus": "var(--at-accent)",
        "input_placeholder_color": "var(--at-text-muted)",
        "button_primary_background_fill": "var(--at-accent)",
        "button_primary_background_fill_hover": "var(--at-accent-strong)",
        "button_primary_text_color": "var(--at-on-accent)",
        "button_primary_border_color": "transparent",
        "button_primary_border_color_hover": "transparent",
        "button_secondary_background_fill": "var(--at-surface)",
        "button_secondary_background_fill_hover": "var(--at-field)",
        "button_secondary_text_color": "var(--at-text)",
        "button_secondary_border_color": "var(--at-border-strong)",
        "checkbox_background_color": "var(--at-field)",
        "checkbox_background_color_selected": "var(--at-accent)",
        "checkbox_border_color": "var(--at-border-strong)",
        "checkbox_border_color_selected": "var(--at-accent)",
        "checkbox_label_background_fill": "var(--at-field)",
        "checkbox_label_background_fill_selected": "var(--at-accent-light)",
        "checkbox_label_text_color": "var(--at-text)",
        "checkbox_label_text_color_selected": "var(--at-text)",
        "checkbox_label_border_color": "var(--at-border)",
        "color_accent": "var(--at-accent)",
        "color_accent_soft": "var(--at-accent-light)",
        "slider_color": "var(--at-accent)",
        "link_text_color": "var(--at-accent)",
        "link_text_color_hover": "var(--at-accent-strong)",
        "loader_color": "var(--at-accent)",
        "panel_background_fill": "var(--at-surface)",
        "table_even_background_fill": "var(--at-surface)",
        "table_odd_background_fill": "var(--at-field)",
    }
    dark_colours = {f"{name}_dark": value for name, value in colours.items() if name != "color_accent"}
    return base.set(**colours, **dark_colours, **_SHAPES)


def build_widget(
    elem_id: str, element: str, value: dict[str, Any], *scripts: str, functions: Sequence[Callable[..., Any]] = ()
) -> gr.HTML:
    """A widget: `element` is its HTML; dom.js and the named files of widgets/, in order, are its script."""
    return gr.HTML(
        value,
        html_template=element,
        js_on_load="\n".join((WIDGETS / name).read_text(encoding="utf-8") for name in ("dom.js", *scripts)),
        server_functions=list(functions) or None,
        apply_default_css=False,
        elem_id=elem_id,
    )
