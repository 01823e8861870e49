"""The only place where an image is named. `pipelines.cluster.placement` puts a cluster's own references, by digest, in their place."""

PREPARE = "audio-tune/prepare:0.1.0"
TRAIN = "audio-tune/train:0.1.0"
