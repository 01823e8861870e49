"""What KFP's launcher does around a step, inside its pod: inputs to /s3/..., the step, outputs back. Runs in our own images.

    python3 launch.py EXECUTOR_INPUT -- COMMAND...

A failed step publishes nothing. The last line of a good one is `STANDIN ` and its ExecutorOutput. boto3 and the standard library.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3


def local(uri: str) -> Path:
    return Path("/s3") / uri.removeprefix("s3://")


def fetch(client: object, uri: str) -> None:
    """A file or, where there is none, everything under the address as a folder."""
    bucket, key = urlsplit(uri).netloc, urlsplit(uri).path.lstrip("/")
    listed = client.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])  # type: ignore[attr-defined]
    for entry in listed:
        if entry["Key"] == key or entry["Key"].startswith(f"{key}/"):
            target = local(f"s3://{bucket}/{entry['Key']}")
            target.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, entry["Key"], str(target))  # type: ignore[attr-defined]


def push(client: object, uri: str) -> None:
    bucket, path = urlsplit(uri).netloc, local(uri)
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        client.upload_file(str(file), bucket, str(file.relative_to(Path("/s3") / bucket)))  # type: ignore[attr-defined]


def main() -> int:
    given = json.loads(sys.argv[1])
    command = sys.argv[sys.argv.index("--") + 1 :]
    client = boto3.client("s3", endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3"))
    for side in given["inputs"].get("artifacts", {}).values():
        fetch(client, side["artifacts"][0]["uri"])
    outputs = {n: s["artifacts"][0]["uri"] for n, s in given["outputs"]["artifacts"].items() if n != "executor-logs"}
    for uri in outputs.values():
        local(uri).parent.mkdir(parents=True, exist_ok=True)
    for side in given["outputs"].get("parameters", {}).values():
        Path(side["outputFile"]).parent.mkdir(parents=True, exist_ok=True)
    code = subprocess.run(command, check=False).returncode
    if code:
        return 1  # the launcher turns every exit code into 1
    written = json.loads(Path(given["outputs"]["outputFile"]).read_text())
    for uri in outputs.values():
        push(client, uri)
    print(f"\nSTANDIN {json.dumps(written)}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
