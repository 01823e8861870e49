"""A small modular synthesizer: sounds and their captions.

The demo, the tests and the tiny base are made with it. Every word of a caption is true of the sound, so that a model can learn it
and a test can measure it.
"""

from audiotune.audio.synthesizer.patch import ENVELOPES, REGISTERS, TIMBRES, Patch, make_random_patch
from audiotune.audio.synthesizer.voice import play_patch

__all__ = ["ENVELOPES", "REGISTERS", "TIMBRES", "Patch", "make_random_patch", "play_patch"]
