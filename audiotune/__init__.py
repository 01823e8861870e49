"""The nouns of Audio Tune: sounds, recordings, segments, captions, datasets, releases, and the store they live in.

Knows no kfp, bentoml, gradio or Lightning, and nothing of the components, pipelines and services built on it.
"""

__version__ = "0.1.0"
