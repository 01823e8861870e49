"""The real studio, with a stand-in for the program that runs pipelines (tests.fakes.local_program).

python -m tests.fakes.studio --store FOLDER --port 7860 --work-folder FOLDER
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from audiotune.runs.local_runner import LocalRunner
from audiotune.store import open_store
from services.studio.__main__ import _raise_interrupt, build_parser
from services.studio.app import serve_studio
from services.studio.context import create_context
from services.studio.settings import load_studio_settings

PROGRAM = (sys.executable, "-m", "tests.fakes.local_program")

if __name__ == "__main__":
    settings = load_studio_settings(**vars(build_parser().parse_args()))
    signal.signal(signal.SIGTERM, _raise_interrupt)
    store = open_store(settings.store or None)
    runners = {
        pipeline: LocalRunner(store.url, Path(settings.work_folder) / folder, pipeline, command=(*PROGRAM, pipeline))
        for pipeline, folder in (("prepare", "uploads"), ("tune", "tunings"))
    }
    serve_studio(settings, create_context(settings, preparer=runners["prepare"], trainer=runners["tune"]))
