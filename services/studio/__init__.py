"""Gradio: upload, annotate, listen, releases. A process of its own, without torch; asks the generation service over HTTP."""
