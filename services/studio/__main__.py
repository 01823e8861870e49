"""Starts the studio: `python -m services.studio --store FOLDER`."""

import argparse
import signal
import sys
from types import FrameType
from typing import Any

from audiotune.errors import AudioTuneError
from audiotune.outside.proxies import configure_proxies
from services.studio.settings import PREFIX, StudioSettings, load_studio_settings


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services.studio",
        description="The group's web page: upload, annotate, generate, releases, agreement.",
        epilog=f"Every flag is also an environment variable, as in {PREFIX}PORT=8080.",
    )
    for name, info in StudioSettings.model_fields.items():
        if not info.repr:  # a secret on a command line is a secret in the process list
            continue
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, help=f"{info.description} (default {info.default!s})")
    return parser


def main(argv: list[str] | None = None) -> int:
    given: dict[str, Any] = vars(build_parser().parse_args(argv))
    configure_proxies()
    try:
        settings = load_studio_settings(**given)
        # The first process of a container ignores every signal that it has no handler for.
        signal.signal(signal.SIGTERM, _raise_interrupt)
        from services.studio.app import serve_studio  # gradio takes seconds to import

        serve_studio(settings)
    except KeyboardInterrupt:  # before the server has started; afterwards gradio stops it
        return 0
    except AudioTuneError as e:
        print(f"studio: {e}", file=sys.stderr)
        return 1
    return 0


def _raise_interrupt(signum: int, frame: FrameType | None) -> None:
    """As Ctrl-C does: requests in progress end within five seconds, and the process with them."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
