"""A real Kubeflow Pipelines on the lab, from its own sources and its own manifests, for our compiled pipelines to run on."""
