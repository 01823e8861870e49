"""A stand-in for Kubeflow's backend: runs a compiled pipeline on a real cluster, step by step as pods. Test code only.

What it does per step is what the driver and the launcher of KFP 2.17.0 were recorded to do; a contract test replays the recording.
It is no KFP: one namespace, no loops and conditions, no recurring runs, no MLMD, nothing kept after it ends but the artifacts.
"""
