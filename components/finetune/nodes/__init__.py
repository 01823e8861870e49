"""Training on several nodes: the step makes a Kubeflow TrainJob, follows it, and takes what it left in the store.

place.py     what a training pod gets: written by pipelines.cluster.placement, read from the step's environment
order.py     what the pods are to do, kept in the store
trainjob.py  the object
watch.py     what it and its pods say
run.py       make or adopt, follow, end
__main__.py  what each pod runs
"""
