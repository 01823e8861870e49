"""The images of the steps. `pipelines.cluster.placement` replaces these names by a cluster's references."""

from audiotune import __version__

PREPARE = f"audio-tune/prepare:{__version__}"
TRAIN = f"audio-tune/train:{__version__}"
