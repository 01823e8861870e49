"""Pipeline runs: one port to start, follow and stop them (port.py), here as detached processes and on Kubeflow."""
