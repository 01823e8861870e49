"""A section of the part Leaving: what a withdrawal has done, proved as far as the studio can, and as a file that verifies without it."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import gradio as gr

from audiotune.domain.release import Release
from audiotune.errors import AccessError, AudioTuneError, GovernanceError
from audiotune.reporting.html import join_markup, tag
from audiotune.store.atomic_files import write_atomic_file
from audiotune.withdrawal.proof import ProofOptions, prove_withdrawal
from audiotune.withdrawal.proof_page import render_proof_body
from services.studio import withdrawals
from services.studio.context import StudioContext
from services.studio.markup import format_sentence, render_message
from services.studio.pages import PageRefresh
from services.studio.pages.header import find_present_member

_LEAD = (
    "Is it true that the newest release has nothing of what was taken back? Look here, or take the proof with you: anybody can verify it "
    "without this studio. The command “audiotune prove” looks further: it trains again and tests what the weights remember."
)


def build_proof_section(context: StudioContext, me: gr.BrowserState) -> PageRefresh:
    gr.HTML(join_markup(tag("h2", "Proof"), tag("p", _LEAD, class_="at-intro")))
    which = gr.Dropdown([], label="Withdrawal", elem_id="at-proof-of")
    prove = gr.Button("Prove it", elem_id="at-prove")
    shown = gr.HTML(elem_id="at-proof")
    download = gr.DownloadButton("Download the proof", visible=False, elem_id="at-proof-file")

    def on_prove(chosen: str, number: int | None, request: gr.Request) -> tuple[Any, Any]:
        try:
            if not find_present_member(context, chosen, request):
                raise AccessError("nobody is chosen", cure="choose who you are at the top of the page first")
            if not number:
                raise GovernanceError("no withdrawal is chosen", cure="choose one above")
            proof = prove_withdrawal(context.store, number, ProofOptions(), _refuse_remake)
        except AudioTuneError as e:
            return render_message(format_sentence(e), "bad"), gr.DownloadButton(visible=False)
        path = Path(download.GRADIO_CACHE) / secrets.token_hex(16) / f"proof-{number}.json"  # nobody else can guess this folder
        path.parent.mkdir(parents=True)
        write_atomic_file(path, proof.model_dump_json(indent=1))
        return render_proof_body(proof), gr.DownloadButton(value=str(path), visible=True)

    def load_values(member: str) -> tuple[Any]:
        try:
            choices = withdrawals.list_choices(context.store, context.find_agreement())
        except AudioTuneError:  # another section says why
            return (gr.Dropdown([]),)
        return (gr.Dropdown(choices, value=choices[0][1] if choices else None),)

    prove.click(on_prove, [me, which], [shown, download])
    return PageRefresh(load_values, [which])


def _refuse_remake(release: Release, times: int) -> list[str]:
    raise GovernanceError("the studio trains nothing for a proof", cure="audiotune prove withdrawal NUMBER --remakes 5")
