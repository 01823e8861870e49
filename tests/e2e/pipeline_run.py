"""A run of the compiled pipeline on the cluster: takes in, a release out, every step in its own pod and image, by the stand-in."""

from __future__ import annotations

import itertools
import tempfile
import uuid
from pathlib import Path

from audiotune.outside.kubernetes import connect_kubernetes
from pipelines.cluster.settings import load_cluster
from pipelines.compile import compile_pipeline
from pipelines.recipe import load_recipe
from tests.e2e.cluster_namespace import ClusterError, ClusterNamespace
from tests.e2e.standin.driver import Run
from tests.e2e.standin.pipeline_runner import PipelineRunner, StepFailedError

RECIPE = Path(__file__).parent / "smallest.toml"
_STEP_S = 900  # with a pull of 6.5 GB in it
# Runs in the studio's pod: stores what a member would upload, and the group's agreement.
_TAKES = """
import io
import numpy as np, soundfile
from audiotune.governance import Agreement, Member
from audiotune.governance.writer import open_governance_writer
from audiotune.store import open_store
from audiotune.audio.synthesizer import make_random_patch, play_patch

store, rng = open_store(), np.random.default_rng(11)
ana = Member(id="ana", name="Ana", consents_to=("store", "train", "release", "generate"))
agreement = Agreement(group="e2e", version=1, members=(ana,), recordings_licence="CC0-1.0", accepted_licences=("CC0-1.0",),
                      weights_licence="CC0-1.0")
open_governance_writer(store).publish_agreement(agreement)
for number in range(6):
    register, envelope = ("low", "drone") if number % 2 else ("high", "pluck")
    patch, rest = make_random_patch(rng, register=register, envelope=envelope), np.zeros(32_000, np.float32)
    sounds = [play_patch(patch.move_to_register(register, rng), 1.5, 32_000, number * 10 + part).data[0] for part in range(3)]
    file = io.BytesIO()
    soundfile.write(file, np.concatenate([x for sound in sounds for x in (rest, sound)] + [rest]), 32_000, "PCM_16", format="WAV")
    store.put(f"inbox/e2e/files/{patch.make_caption().replace(' ', '_')}_{number}.wav", file.getvalue())
print("takes stored", len(list(store.list("inbox/e2e/files/"))))
"""


class StandInBackend:
    """Runs pipelines on this cluster in the place of Kubeflow. A step that it ran before comes from its cache, as with Kubeflow."""

    def __init__(self, cluster: ClusterNamespace, release: str) -> None:
        self._cluster, self._release = cluster, release
        self._runner = PipelineRunner(connect_kubernetes(cluster.env["KUBECONFIG"]), cluster.namespace, limit_s=_STEP_S)
        self._numbers = itertools.count(1)

    def upload_takes(self) -> None:
        output = self._cluster.kubectl("exec", f"deploy/{self._release}-studio", "--", "python", "-c", _TAKES)
        if "takes stored 6" not in output:
            raise ClusterError(f"the takes did not come to the store: {output}")

    def run_pipeline(self, length: str) -> str:
        """The pipeline `full` from the form to a registered release.

        Args:
            length: first word of a choice of `training_length` on the form, as in short.

        Returns:
            The release's version.
        """
        facts = self._cluster.get_object("configmap", f"{self._release}-cluster")["data"]["cluster.json"]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cluster.json"
            path.write_text(facts)
            cluster = load_cluster(path)
        documents = compile_pipeline("full", load_recipe(RECIPE), cluster)
        choices = documents[0]["root"]["inputDefinitions"]["parameters"]["training_length"]["literals"]
        arguments = {
            "source": f"{cluster.store}/inbox/e2e/files",
            "contributors": "ana",
            "training_length": next(words for words in choices if words.startswith(length)),
        }
        run = Run(documents, arguments, str(uuid.uuid4()), "e2e", f"{cluster.store}/kfp", {"Provider": "s3"}, self._numbers)
        try:
            done = self._runner.run_pipeline(run, lambda words: print(f"           {words}", flush=True))
        except (StepFailedError, ValueError) as e:
            raise ClusterError(f"the run failed: {e}") from e
        return str(done["register"].parameters["version"])
