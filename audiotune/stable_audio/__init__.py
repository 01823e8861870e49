"""Stable Audio: loading, conditioning, encoding, decoding and generating with models of stable-audio-tools.

Only this package and components/finetune import stable_audio_tools, and only inside functions: the import takes 10 to 30 s.
The package knows no dataset and no service.

`import audiotune.stable_audio` registers the pretransform type of the tiny base with the factory of stable-audio-tools when
that is imported (see `upstream_factory.register_pretransform`).
"""

from audiotune.stable_audio.upstream_factory import register_pretransform

register_pretransform()
