"""Requests of the chart's jobs to Kubernetes' API: makes Secrets once, checks volumes. Standard library only.

    python in_cluster.py prepare SPEC.json          refuse changes that volumes do not support, then make missing Secrets
    python in_cluster.py keep FILE SECRET RELEASE   put a file into a Secret that does not exist yet (owner.json)

Nothing is ever overwritten: a Secret that is there stays as it is. Nothing secret is printed.
"""

import base64
import json
import os
import re
import secrets
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path(os.environ.get("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class NamespaceApi:
    """Kubernetes' API for one namespace. It tries again for a while, because the pod's network may not be ready yet."""

    def __init__(self, server, namespace, token, context=None, patience_s=60.0):
        self._base, self._token, self._context = f"{server}/api/v1/namespaces/{namespace}", token, context
        self._patience_s = patience_s

    def get(self, kind, name):
        """The object, or None."""
        status, body = self._send_request("GET", f"/{kind}/{name}")
        return None if status == 404 else _check_answer(status, body, f"reading {kind} {name}")

    def create(self, kind, body):
        """True if it was made, False if it exists already."""
        status, answer = self._send_request("POST", f"/{kind}", body)
        if status == 409:
            return False
        _check_answer(status, answer, f"making {kind} {body['metadata']['name']}")
        return True

    def _send_request(self, method, path, body=None):
        until = time.monotonic() + self._patience_s
        while True:
            request = urllib.request.Request(self._base + path, method=method, data=json.dumps(body).encode() if body else None)
            request.add_header("Authorization", f"Bearer {self._token}")
            request.add_header("Content-Type", "application/json")
            try:
                with urllib.request.urlopen(request, timeout=10, context=self._context) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as e:
                return e.code, json.loads(e.read() or b"{}")
            except OSError as e:
                if time.monotonic() > until:
                    sys.exit(
                        f"Kubernetes' API does not answer ({e}): check network.apiPorts and the policy cluster-jobs-to-kubernetes"
                    )
                time.sleep(1)


def _check_answer(status, body, doing):
    if status >= 300:
        sys.exit(f"Kubernetes refuses {doing}: {body.get('message', status)}")
    return body


def find_volume_faults(api, volumes):
    """Changes that an existing volume does not support: another class, a smaller size."""
    faults = []
    for wanted in volumes:
        found = api.get("persistentvolumeclaims", wanted["claim"])
        if found is None:
            continue
        spec = found["spec"]
        storage_class = spec.get("storageClassName", "")
        if wanted["storageClass"] not in ("", storage_class):
            faults.append(
                f"{wanted['key']}.storageClass: volume {wanted['claim']} is of class {storage_class!r}; a volume cannot change "
                "its class. Put the old value back, or move the data (docs/operations/upgrade.md)"
            )
        size = spec["resources"]["requests"]["storage"]
        if parse_quantity(wanted["size"]) < parse_quantity(size):
            faults.append(
                f"{wanted['key']}.size: volume {wanted['claim']} has {size}; a volume cannot shrink to {wanted['size']}"
            )
    return faults


def parse_quantity(text):
    """Bytes of a quantity such as 10Gi."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text).groups()
    return float(number) * UNITS[unit]


def make_secrets(api, wanted):
    """Makes what is missing; returns a line for each."""
    lines = []
    for entry in wanted:
        made = False
        if api.get("secrets", entry["name"]) is None:
            data = {field: _make_value(how) for field, how in entry["data"].items()}
            made = api.create("secrets", _build_secret(entry["name"], entry["labels"], data))
        lines.append(f"secret {entry['name']} {'made' if made else 'is there and stays'}")
    return lines


def _make_value(how):
    """From {"value": text} or {"random": number of characters}: letters and digits, which need no quoting anywhere."""
    if "value" in how:
        return how["value"].encode()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(secrets.choice(letters) for _ in range(how["random"])).encode()


def _build_secret(name, labels, data):
    encoded = {field: base64.b64encode(value).decode() for field, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}, "type": "Opaque", "data": encoded}


def prepare_namespace(api, spec):
    faults = find_volume_faults(api, spec["volumes"])
    if faults:
        sys.exit("\n".join(faults))
    print("\n".join(make_secrets(api, spec["secrets"])))


def save_as_secret(api, path, name, instance=""):
    """Saves the file as a Secret, if the step before wrote one."""
    if not path.exists():
        print("nothing to keep: there is an owner already")
        return
    labels = {"app.kubernetes.io/part-of": "audio-tune", "app.kubernetes.io/instance": instance}
    if not api.create("secrets", _build_secret(name, labels, {path.name: path.read_bytes()})):
        sys.exit(f"secret {name} is there already: delete it, it holds the password of an owner before this one")
    print(f"the first owner's password and token are in secret {name}; the command in NOTES shows and removes it")


def connect_to_api():
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    return NamespaceApi(f"https://{host}:{port}", (ACCOUNT / "namespace").read_text(), (ACCOUNT / "token").read_text(), context)


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    if verb == "prepare":
        prepare_namespace(connect_to_api(), json.loads(Path(words[0]).read_text()))
    else:
        save_as_secret(connect_to_api(), Path(words[0]), *words[1:])
