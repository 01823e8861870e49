"""Training on several nodes: the step creates a Kubeflow TrainJob, follows it, and reads its checkpoint from the store.

node_resources.py       image, resources and volumes of a training pod, written by pipelines.cluster.placement
task_spec.py            the task of the pods, kept in the store
trainjob.py             the TrainJob object
trainjob_monitor.py     the state of the TrainJob and its pods, and their logs
trainjob_controller.py  creates or adopts the TrainJob, follows it, and ends it
__main__.py             the program of each pod
"""
