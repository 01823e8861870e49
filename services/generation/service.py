"""What BentoML serves: its server, workers and metrics around our own application."""

from __future__ import annotations

import logging
import sys

import bentoml

from audiotune import access
from audiotune.stable_audio.sample import generate
from audiotune.store import open_store
from services.generation.api import create_app
from services.generation.engine import Engine
from services.generation.models import RegisteredModels
from services.generation.settings import Settings

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
SETTINGS = Settings()
STORE = open_store()
ENGINE = Engine(SETTINGS, RegisteredModels(SETTINGS, STORE), generate)


@bentoml.service(
    name="audio-tune-generation", workers=1, traffic={"timeout": 900, "max_concurrency": 256}, metrics={"enabled": False}
)
@bentoml.asgi_app(create_app(ENGINE, STORE, members=access.asked()), path="/")
class GenerationService:
    """One engine a worker; it loads its release in the background and says in /v1/health how far it is."""

    def __init__(self) -> None:
        ENGINE.start()

    def __is_ready__(self) -> bool:
        return ENGINE.current is not None
