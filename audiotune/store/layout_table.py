"""The table of the store's layout as Markdown, for docs/store.md."""

from audiotune.store.layout import PREFIXES, USERS, Prefix


def format_table() -> str:
    """The table as Markdown, for docs/store.md."""
    head = ["prefix", "holds", "written by", "read by", "kept", *USERS]
    rows = [_format_row(prefix) for prefix in PREFIXES]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ["---"] * len(head), *rows))


def _format_row(prefix: Prefix) -> list[str]:
    kept = {None: "", "tests": "1 day"}.get(prefix.limit, f"`{prefix.limit}Days`")
    old = "old versions for ever" if prefix.keeps_old_versions else ""
    rights = [prefix.rights.get(user, "") for user in USERS]
    path = ", ".join(f"`{pattern.removesuffix('*')}`" for pattern in prefix.patterns)
    return [path, prefix.holds, prefix.written_by, prefix.read_by, kept or old, *rights]
