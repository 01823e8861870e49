"""The real studio, with a stand-in for the program that trains (tests.fakes.local_program).

python -m tests.fakes.studio --store FOLDER --port 7860 --work-folder FOLDER
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from audiotune.store import open_store
from services.studio.__main__ import _raise_interrupt, build_parser
from services.studio.app import serve_studio
from services.studio.context import create_context
from services.studio.local_training_runner import LocalTrainingRunner
from services.studio.settings import load_studio_settings

PROGRAM = (sys.executable, "-m", "tests.fakes.local_program")

if __name__ == "__main__":
    settings = load_studio_settings(**vars(build_parser().parse_args()))
    signal.signal(signal.SIGTERM, _raise_interrupt)
    tuner = LocalTrainingRunner(open_store(settings.store or None), Path(settings.work_folder), command=PROGRAM)
    serve_studio(settings, create_context(settings, tuner=tuner))
