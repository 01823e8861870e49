"""Stable Audio: loading, conditioning, encoding, decoding and generating with models of stable-audio-tools.

The only package besides components/finetune that imports stable_audio_tools, and it does so late: the import costs 10 to 30 s.
It knows no dataset, no store and no service.

`import audiotune.stable_audio` makes the pretransform type of the tiny base known to stable-audio-tools' own factory, as soon
as that is imported (see `upstream_factory.register_pretransform`).
"""

from audiotune.stable_audio.upstream_factory import register_pretransform

register_pretransform()
