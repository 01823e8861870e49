"""`python -m pipelines.doctor`: what keeps runs on Kubeflow from going well, and the cure."""
