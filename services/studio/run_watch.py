"""Looks after runs while no page is open: their end is written down when somebody asks how they go, and members are told of that."""

from __future__ import annotations

import logging
import threading

from audiotune.errors import AudioTuneError
from services.studio.training_runs import TrainingRuns
from services.studio.upload_runs import UploadRuns

LOG = logging.getLogger("audiotune.studio")
EVERY_S = 30.0


class RunWatch:
    """Asks how the newest training and the newest uploads go, again and again, so that their ends are told without an open page."""

    def __init__(self, trainings: TrainingRuns, uploads: UploadRuns) -> None:
        self._trainings, self._uploads = trainings, uploads
        self._ended = threading.Event()

    def start(self, every_s: float = EVERY_S) -> None:
        """In a thread of its own, until `stop` or the end of the process."""
        threading.Thread(target=self._repeat, args=[every_s], daemon=True, name="run-watch").start()

    def stop(self) -> None:
        self._ended.set()

    def look(self) -> None:
        """Writes down what has ended. What cannot be looked at now is looked at the next time."""
        for read in (self._trainings.read_status, self._uploads.list_uploads):
            try:
                read()
            except AudioTuneError as e:
                LOG.warning("runs: %s", e)
            except Exception:  # a bug must not end the loop
                LOG.exception("runs")

    def _repeat(self, every_s: float) -> None:
        while not self._ended.wait(every_s):
            self.look()
