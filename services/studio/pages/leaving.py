"""A part of the agreement page: a member takes their data away, takes back what they gave, and sees that proved."""

import secrets
from pathlib import Path
from typing import Any

import gradio as gr

from audiotune.errors import AudioTuneError
from audiotune.reporting.html import join_markup, tag
from services.studio.context import StudioContext
from services.studio.markup import render_message
from services.studio.member_export import export_member_data
from services.studio.pages import PageRefresh
from services.studio.pages.header import find_present_member
from services.studio.pages.proof import build_proof_section
from services.studio.pages.withdrawal import build_withdrawal_section
from services.studio.releases import list_releases


def build_leaving_part(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
    words = "Everything you gave stays yours. Take it with you whenever you like, and the weights you co-own with it."
    gr.HTML(join_markup(tag("h2", "Take away my data"), tag("p", words, class_="at-intro")))
    weights = gr.Checkbox(label="with the weights of our releases (can be large)", value=False)
    pack = gr.Button("Pack everything of mine", variant="primary", elem_id="at-pack")
    news = gr.HTML()
    download = gr.DownloadButton("Download", visible=False, elem_id="at-download")

    def on_pack(chosen: str, with_weights: bool, request: gr.Request) -> tuple[Any, Any]:
        member = find_present_member(context, chosen, request)
        if not member:
            return render_message("Choose who you are at the top of the page first.", "bad"), gr.DownloadButton(visible=False)
        try:
            path = export_member_data(
                context.store,
                context.library.current(),
                context.require_agreement(),
                member,
                list_releases(context.store),
                Path(download.GRADIO_CACHE) / secrets.token_hex(16),  # nobody else can guess this folder
                weights=with_weights,
            )
        except AudioTuneError as e:
            return render_message(f"{e}.", "bad"), gr.DownloadButton(visible=False)
        label = f"Download {path.name} ({path.stat().st_size / 1e6:.1f} MB)"
        return render_message("Packed.", "good"), gr.DownloadButton(label, value=str(path), visible=True)

    pack.click(on_pack, [me, weights], [news, download])

    taken_back, proof = build_withdrawal_section(context, me), build_proof_section(context, me)
    return PageRefresh(
        lambda member: (*taken_back.load_values(member), *proof.load_values(member)), [*taken_back.outputs, *proof.outputs]
    )
