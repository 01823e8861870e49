"""A pipeline of two container components, as small as they come; kfp reads real annotations, so this file has no future import."""

from pathlib import Path
from typing import Optional

from kfp import compiler, dsl

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
