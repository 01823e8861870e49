"""A small modular synthesizer that jams by itself: sounds, the words for them, exact boundaries.

The demo, the tests and the tiny base are made with it. Words are not decoration: every word of a patch names something that
the sound really does, so a model can learn it and a test can measure it.

It knows no model, no store and no pipeline.
"""

from audiotune.audio.synthesizer.jam import JamEvent, play_jam
from audiotune.audio.synthesizer.patch import ENVELOPES, REGISTERS, TIMBRES, Patch, make_random_patch
from audiotune.audio.synthesizer.voice import play_patch

__all__ = ["ENVELOPES", "REGISTERS", "TIMBRES", "JamEvent", "Patch", "make_random_patch", "play_jam", "play_patch"]
