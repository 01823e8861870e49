"""`python -m pipelines.doctor`: finds what makes runs on Kubeflow fail, and names the cure."""
