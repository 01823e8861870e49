"""Starts the governance service: `python -m services.governance --store FOLDER`. Keys come from the environment."""

from __future__ import annotations

import argparse
import logging
import sys

from audiotune.errors import AudioTuneError
from audiotune.outside.proxies import configure_proxies
from services.governance.settings import PREFIX, GovernanceSettings, load_governance_settings


def build_parser() -> argparse.ArgumentParser:
    lines = [f"  {PREFIX}{name.upper()}: {info.description}" for name, info in GovernanceSettings.model_fields.items()]
    parser = argparse.ArgumentParser(
        prog="python -m services.governance",
        description="The only writer of agreements, consents, accounts and tokens.",
        epilog="\n".join(["Environment:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=7870, help="port (default 7870)")
    parser.add_argument("--store", help="folder or s3://bucket/prefix (default: AUDIOTUNE_STORE)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    args = build_parser().parse_args(arguments)
    configure_proxies()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = load_governance_settings()
        import uvicorn

        from audiotune.store import open_store
        from services.governance.app import GovernanceService

        service = GovernanceService(open_store(args.store), settings)
    except AudioTuneError as e:
        print(f"governance: {e}", file=sys.stderr)
        return 1
    uvicorn.run(
        service.build_app(),
        host=args.host,
        port=args.port,
        limit_concurrency=settings.open_requests,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=10,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
