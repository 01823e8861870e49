"""Clients of other people's APIs: Kubernetes and Kubeflow Pipelines."""
