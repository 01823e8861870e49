"""The only place where an image is named. Digests are put in when the pipelines are compiled for a cluster."""

import os

PREPARE = os.environ.get("AUDIOTUNE_IMAGE_PREPARE", "audio-tune/prepare:0.1.0")
TRAIN = os.environ.get("AUDIOTUNE_IMAGE_TRAIN", "audio-tune/train:0.1.0")
