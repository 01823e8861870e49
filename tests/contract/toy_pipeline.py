"""A pipeline of two container components, as small as they come; kfp reads real annotations, so this file has no future import."""

from pathlib import Path
from typing import Optional

from kfp import compiler, dsl, kubernetes

ARGS = ["--executor-input", "{{$}}"]


@dsl.container_component
def count(
    made: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    key: dsl.OutputPath(str),  # type: ignore[valid-type]
    settings: dict = {},  # noqa: B006
    n: Optional[int] = None,  # noqa: UP045
    nobody_passes_this: Optional[str] = None,  # noqa: UP045
) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="toy", command=["python", "-m", "toys.count"], args=ARGS)


@dsl.container_component
def tell(
    made: dsl.Input[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    settings: dict = {},  # noqa: B006
    key: str = "",
    fail: bool = False,
) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="toy", command=["python", "-m", "toys.tell"], args=ARGS)


@dsl.pipeline(name="toy")
def pipeline(n: int = 5, fail: bool = False) -> None:
    counted = count(settings={"words": ["x"], "n": 7}, n=n).set_env_variable("PLACE", "the cluster")
    tell(made=counted.outputs["made"], key=counted.outputs["key"], fail=fail)


def compile_to(path: Path) -> None:
    compiler.Compiler().compile(pipeline, str(path))


@dsl.container_component
def prepare_toy(x: str = "") -> dsl.ContainerSpec:
    return dsl.ContainerSpec(
        image="audio-tune/prepare:0.2.0", command=["python", "-m", "toy"], args=["--executor-input", "{{$}}"]
    )


@dsl.container_component
def encode(x: str = "") -> dsl.ContainerSpec:
    return dsl.ContainerSpec(image="audio-tune/train:0.2.0", command=["python", "-m", "toy2"], args=["--executor-input", "{{$}}"])


@dsl.pipeline(name="toy-placed")
def toy_placed() -> None:
    """Two tasks as we compile them: placed nowhere."""
    prepare_toy()
    encode()


@dsl.pipeline(name="toy-placed")
def placed_by_sdk() -> None:
    """The same, placed by the SDK for tests.contract.test_pipelines.CLUSTER."""
    digest = "@sha256:" + "5" * 64
    for task, name, memory in ((prepare_toy(), "prepare", "8Gi"), (encode(), "train", "48Gi")):
        task.set_container_image(f"home:5000/audio-tune/{name}{digest}")
        task.set_cpu_request("500m").set_memory_request("1Gi").set_memory_limit(memory)
        task.set_retry(num_retries=2, backoff_duration="30s", backoff_factor=2, backoff_max_duration="604800s")
        environment = {
            "AUDIOTUNE_STORE": "s3://jam",
            "AWS_ENDPOINT_URL_S3": "http://store:9000",
            "AWS_REGION": "eu",
            "MLFLOW_TRACKING_URI": "http://mlflow:5000",
            "AWS_CA_BUNDLE": "/etc/audio-tune/ca/ca.crt",
            "HF_HUB_OFFLINE": "1",
        }
        for key, value in environment.items():
            task.set_env_variable(key, value)
        kubernetes.set_security_context(task, run_as_user=10001, run_as_group=0, run_as_non_root=True)
        keys = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
        kubernetes.use_secret_as_env(task, "audiotune-store", keys)
        kubernetes.use_secret_as_volume(task, "ca", "/etc/audio-tune/ca")
        kubernetes.set_image_pull_secrets(task, ["login"])
        kubernetes.set_image_pull_policy(task, "Always")
        if name == "train":
            task.set_env_variable("HF_ENDPOINT", "http://hub:8081")
            kubernetes.use_secret_as_env(task, "hub", {"read": "HF_TOKEN"}, optional=True)
            task.set_accelerator_type("nvidia.com/mig-2g.20gb").set_accelerator_limit(1)
            kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", medium="Memory", size_limit="2Gi")
            kubernetes.set_timeout(task, 7 * 86_400)
            kubernetes.add_node_selector(task, "gpu", "yes")
            kubernetes.add_toleration(task, key="gpu", operator="Equal", value="x", effect="NoExecute")
