"""GPU, memory, secrets, retries and timeouts of every task, set in this one place from the recipe's [cluster] table."""

from kfp import dsl, kubernetes

from pipelines.recipe import Cluster

# Kubeflow counts this from the first start of a task, not per pause: shorter than all attempts together means no retry.
_LONGER_THAN_ANY_RUN = "604800s"
# A number, so that PodSecurity "restricted" can see it is not root; the images' own user.
_USER = 10001


def place(task: dsl.PipelineTask, cluster: Cluster, *, gpu: bool = False) -> dsl.PipelineTask:
    """Puts one task where it belongs and gives it what it needs."""
    task.set_cpu_request(cluster.cpu_request).set_memory_request(cluster.memory_request)
    task.set_memory_limit(cluster.gpu_memory_limit if gpu else cluster.memory_limit)
    if cluster.retries:
        task.set_retry(
            num_retries=cluster.retries, backoff_duration="30s", backoff_factor=2, backoff_max_duration=_LONGER_THAN_ANY_RUN
        )
    kubernetes.set_security_context(task, run_as_user=_USER, run_as_group=0, run_as_non_root=True)
    kubernetes.use_secret_as_env(
        task, cluster.store_secret, {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
    )
    _environment(task, cluster)
    if gpu:
        _on_gpu(task, cluster)
    return task


def _environment(task: dsl.PipelineTask, cluster: Cluster) -> None:
    values = {
        "AUDIOTUNE_STORE": cluster.store,
        "AWS_ENDPOINT_URL_S3": cluster.store_endpoint,
        "MLFLOW_TRACKING_URI": cluster.mlflow,
    }
    for name, value in values.items():
        if value:
            task.set_env_variable(name, value)


def _on_gpu(task: dsl.PipelineTask, cluster: Cluster) -> None:
    kubernetes.empty_dir_mount(
        task, volume_name="shared-memory", mount_path="/dev/shm", medium="Memory", size_limit=cluster.shared_memory
    )
    kubernetes.set_timeout(task, cluster.gpu_timeout_s)
    if cluster.gpus:
        task.set_accelerator_type(cluster.gpu_resource).set_accelerator_limit(cluster.gpus)
    for label, value in cluster.gpu_node_selector.items():
        kubernetes.add_node_selector(task, label, value)
    if cluster.gpu_taint:
        kubernetes.add_toleration(task, key=cluster.gpu_taint, operator="Exists", effect="NoSchedule")
