"""The library of Audio Tune: data types, storage, audio, models, governance.

It does not import kfp, bentoml, gradio or Lightning, nor the components, pipelines and services that use it.
"""

__version__ = "0.2.0"
