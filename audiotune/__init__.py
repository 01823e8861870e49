"""The library of Audio Tune: data types, storage, audio, models, governance.

Knows no kfp, bentoml, gradio or Lightning, and nothing of the components, pipelines and services that use it.
"""

__version__ = "0.2.0"
