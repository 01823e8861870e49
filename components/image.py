"""The only place where an image is named. `pipelines.cluster.placement` puts a cluster's own references, by digest, in their place."""

from audiotune import __version__

PREPARE = f"audio-tune/prepare:{__version__}"
TRAIN = f"audio-tune/train:{__version__}"
