"""BentoML: loads a release and turns prompts into sounds over HTTP. Knows nothing of the components and pipelines."""
