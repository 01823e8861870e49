"""A proof as a page that shows everything it rests on."""

from __future__ import annotations

from audiotune.reporting import html
from audiotune.withdrawal.proof_record import ProofCheck, WithdrawalProof

_KINDS = {"passed": "good", "failed": "bad"}


def render_proof(proof: WithdrawalProof) -> str:
    """The whole page."""
    title = f"Proof of withdrawal {proof.number}"
    return html.render_page(title, render_proof_body(proof), subtitle="What a withdrawal has done, as anybody can check it.")


def render_proof_body(proof: WithdrawalProof) -> html.Markup:
    """What the page shows, for another page."""
    release = f"{proof.release.name} version {proof.release.version}" if proof.release else "no release yet"
    failed = [check for check in proof.checks if check.outcome == "failed"]
    passed = sum(check.outcome == "passed" for check in proof.checks)
    verdict = f"{len(failed)} checks failed." if failed else f"{passed} of {len(proof.checks)} checks passed, none failed."
    facts = [
        ("withdrawal", f"event {proof.number} of the ledger"),
        ("ledger seen to", f"event {proof.ledger_number}, {proof.ledger_head}"),
        ("release", release),
        ("dataset", proof.release.lineage.dataset if proof.release else ""),
        ("weights", proof.release.weights.identity if proof.release else ""),
        ("made", f"{proof.made:%Y-%m-%d %H:%M} UTC"),
    ]
    parts = [
        html.render_note(verdict, kind="bad" if failed else "good"),
        html.render_section("What was looked at", html.render_table(("", ""), facts)),
        *(_render_check(check) for check in proof.checks),
        html.render_section("Check it yourself", *_list_instructions()),
        html.render_details("The event", html.tag("pre", proof.event)),
        html.render_details("Recordings that were taken back", html.tag("pre", "\n".join(proof.withdrawn.recordings))),
    ]
    return html.join_markup(*parts)


def _render_check(check: ProofCheck) -> html.Markup:
    note = html.render_note(f"{check.outcome}: {check.words}", kind=_KINDS.get(check.outcome, "plain"))
    rows = [(name.replace("_", " "), round(value, 4)) for name, value in check.figures.items()]
    return html.render_section(check.name.capitalize(), *([note, html.render_table(("", ""), rows)] if rows else [note]))


def _list_instructions() -> list[str]:
    return [
        "The JSON of this proof has the event, the dataset's and the latents' rows and the release's card. With it alone, "
        "“audiotune prove verify FILE --ledger LEDGER” computes the digests again, compares every hash with those that were taken "
        "back, and looks for the event in a ledger that you exported yourself.",
        "No software can call back copies that were given away before, or prove that nobody has one.",
    ]
