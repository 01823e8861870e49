"""A cluster whose nodes reach one private registry only: images copied there by digest, the chart rendered and installed from it.

    python -m tests.e2e.airgap

Plays "A cluster without the internet" of docs/images.md: a second registry on this machine stands for the private one; the images of
deploy/images.lock that hold no torch, and PostgreSQL, are copied under a prefix of it. Needs a lab (AUDIOTUNE_LAB) and docker-registry.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.e2e.cluster_access import CHART, ROOT
from tests.e2e.cluster_namespace import ClusterError
from tests.e2e.drill import NAME, SMALL, Drill, run_drill
from tests.e2e.light_stages import LIGHT_IMAGES

PORT = 5017
PRIVATE = f"localhost:{PORT}/inside/group"
RELOCATED = ROOT / "deploy/values/relocated.yaml"
CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


class AirGap(Drill):
    """The stages, in their order."""

    def __init__(self) -> None:
        super().__init__("audio-tune-airgap", ["-f", str(RELOCATED)])
        self.folder = Path(tempfile.mkdtemp(prefix="audio-tune-registry-"))
        self.log = self.folder / "registry.log"

    def stages(self) -> list[Callable[[], None]]:
        return [
            self.a_private_registry,
            self.relocate,
            self.every_image_is_from_there,
            self.install,
            self.ready,
            self.the_node_pulled_there,
            self.make_group_data,
            self.nothing_is_lost,
        ]

    def a_private_registry(self) -> None:
        config = self.folder / "registry.yaml"
        config.write_text(CONFIG.format(folder=self.folder / "data", port=PORT))
        with self.log.open("wb") as log:
            self.registry = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        for _ in range(60):
            try:
                urllib.request.urlopen(f"http://localhost:{PORT}/v2/", timeout=2).close()
                return
            except OSError:
                time.sleep(0.5)
        raise ClusterError(f"the private registry does not answer: {self.log.read_text()[-500:]}")

    def relocate(self) -> None:
        words = [
            "-m",
            "deploy.images",
            *LIGHT_IMAGES,
            "--relocate-to",
            PRIVATE,
            "--database",
            f"{self.cluster.access.registry}/postgres:15",
            "--plain-http",
        ]
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=self.cluster.env, capture_output=True, text=True, check=False, timeout=1800
        )
        if done.returncode:
            raise ClusterError(f"relocate ended with {done.returncode}: {(done.stderr or done.stdout)[-1500:]}")

    def every_image_is_from_there(self) -> None:
        """Of the chart as rendered with everything on; the light drill copies no image that holds torch, so those have no digest."""
        rendered = self.cluster.helm(
            "template",
            NAME,
            str(CHART),
            "--kube-version",
            "1.34.0",
            *SMALL,
            "-f",
            str(RELOCATED),
            "--set",
            "journey.enabled=true",
        )
        images = set(re.findall(r"image: \"?([^\s\",}]+)", rendered))
        foreign = sorted(image for image in images if not image.startswith(f"{PRIVATE}/"))
        loose = sorted(image for image in images if "@sha256:" not in image and not re.search("/(generation|train):", image))
        if foreign or loose or len(images) < len(LIGHT_IMAGES) + 1:
            raise ClusterError(f"from elsewhere: {foreign}; by tag only: {loose}; all: {sorted(images)}")
        print(f"           {len(images)} images, all below {PRIVATE}", flush=True)

    def the_node_pulled_there(self) -> None:
        """The pods name images of the private registry only, and the node's own client asked that registry for them."""
        pods = self.cluster.get_object("pods")["items"]
        named = {c["image"] for pod in pods for c in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", []))}
        if foreign := sorted(image for image in named if not image.startswith(f"{PRIVATE}/")):
            raise ClusterError(f"pods name images from elsewhere: {foreign}")
        log = self.log.read_text()
        for image in named:
            repository, digest = image.removeprefix(f"localhost:{PORT}/").split("@")
            asked = f"/v2/{repository.rpartition(':')[0]}/manifests/{digest}"
            if not any(asked in line and "containerd" in line for line in log.splitlines()):
                raise ClusterError(f"the node never asked the private registry for {asked}")

    def clean(self) -> None:
        super().clean()
        self.registry.terminate()
        self.registry.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        RELOCATED.unlink(missing_ok=True)


if __name__ == "__main__":
    raise SystemExit(run_drill(AirGap, __doc__ or "", lab_only=True))
