"""The real studio, with a stand-in for the program that trains (tests.fakes.local_program).

python -m tests.fakes.studio --store FOLDER --port 7860 --work-folder FOLDER
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from audiotune.store import open_store
from services.studio.__main__ import _stop, parser
from services.studio.app import serve
from services.studio.desk import desk_for
from services.studio.machine_tuner import MachineTuner
from services.studio.settings import from_environment

PROGRAM = (sys.executable, "-m", "tests.fakes.local_program")

if __name__ == "__main__":
    settings = from_environment(**vars(parser().parse_args()))
    signal.signal(signal.SIGTERM, _stop)
    tuner = MachineTuner(open_store(settings.store or None), Path(settings.work_folder), command=PROGRAM)
    serve(settings, desk_for(settings, tuner=tuner))
