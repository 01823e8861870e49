"""Starts the generation service: `python -m services.generation --port 3000`. host/server.py describes how it stops."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from audiotune.outside.proxies import configure_proxies


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m services.generation", description="Sounds from the group's releases over HTTP."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=3000, help="port (default 3000)")
    parser.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    parser.add_argument(
        "--notice", type=float, default=3.0, metavar="SECONDS", help="how long to answer as not ready before stopping (default 3)"
    )
    args = parser.parse_args()
    configure_proxies()
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"  # a release is served from the store alone
    if args.store:
        os.environ["AUDIOTUNE_STORE"] = args.store
    if not os.environ.get("AUDIOTUNE_STORE"):
        sys.exit("generation: no store is named. Give --store or set AUDIOTUNE_STORE")
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    # A container's first process has no default action for SIGTERM: without this one it could not be stopped while it imports.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    from services.generation.host.server import DrainingServer
    from services.generation.host.service import CONTEXT, GenerationService

    DrainingServer(GenerationService.to_asgi(), CONTEXT, args.host, args.port, args.notice).run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
