"""The page on the service graph: which connections are allowed. It is made from the data that the chart reads."""

from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[2] / "helm" / "audio-tune"


def load_graph() -> dict[str, Any]:
    """files/graph.yaml as it is."""
    graph: dict[str, Any] = yaml.safe_load((CHART / "files" / "graph.yaml").read_text())
    return graph


def draw_mermaid() -> str:
    """The graph as a Mermaid diagram; nodes outside the release are round."""
    data = load_graph()
    lines = ["```mermaid", "flowchart LR"]
    lines += [f'  {_make_node_id(name)}["{node["title"]}"]' for name, node in data["parts"].items()]
    lines += [f'  {_make_node_id(name)}(("{node["title"]}"))' for name, node in data["outside"].items()]
    lines += [f'  {_make_node_id(a["from"])} -- "{a["port"]}" --> {_make_node_id(a["to"])}' for a in data["arrows"]]
    return "\n".join([*lines, "```"])


def render_table() -> str:
    """Every arrow with its reason."""
    data = load_graph()
    nodes = {**data["parts"], **data["outside"]}
    lines = ["| from | to | port | why | when |", "|---|---|---|---|---|"]
    for arrow in data["arrows"]:
        ends = [nodes[arrow[end]].get("when") for end in ("from", "to")]
        when = " and ".join(word for word in ends if word) or "always"
        lines.append(f"| {arrow['from']} | {arrow['to']} | {arrow['port']} | {arrow['why']} | {when} |")
    return "\n".join(lines)


def render_page() -> str:
    return (
        "# Who may talk to whom\n\n"
        "<!-- Written by `python -m deploy.chart.generate` from helm/audio-tune/files/graph.yaml; change it there. -->\n\n"
        "All our pods refuse everything in and out, but these arrows. Each arrow is one pair of NetworkPolicies: what may leave on "
        "one side, what may enter on the other. Names are resolved by the cluster's DNS; the node itself reaches all pods (probes, "
        "port-forward). Addresses in `network.blocked` (clouds' metadata) are left out of every arrow that leads outside.\n\n"
        f"{draw_mermaid()}\n\n{render_table()}\n"
    )


def _make_node_id(name: str) -> str:
    return name.replace("-", "_")
