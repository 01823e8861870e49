"""Tells members what happened in the group: by webhook, by e-mail and in a Matrix room. Does not import gradio."""
