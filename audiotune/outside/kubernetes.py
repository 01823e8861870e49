"""Kubernetes' API over plain HTTP, by a kubeconfig or from inside a pod: the few calls that doctor and finetune need, no package more."""

from __future__ import annotations

import base64
import os
import re
import ssl
import tempfile
from pathlib import Path
from typing import Any

import httpx
import yaml

from audiotune.errors import (
    KubernetesConflictError,
    KubernetesForbiddenError,
    KubernetesNotFoundError,
    KubernetesRefusedError,
    KubernetesUnreachableError,
    PipelineError,
)

SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# A 403 that is no matter of rights: the object itself was not liked.
_ADMISSION = re.compile(r"admission webhook|exceeded quota|violates PodSecurity")
_CURE = "name a kubeconfig with --kubeconfig, or run `kubectl proxy` and give --kubernetes http://127.0.0.1:8001"


class Kubernetes:
    """Kubernetes' API server.

    Args:
        address: as in https://10.0.0.1:6443.
        token: bearer token; empty for none.
        token_file: file that holds the token, read anew for each call: kubelet changes a pod's token while the pod runs.
        verify: TLS settings, or whether to check certificates.
        inside: whether this runs in a pod, where the cluster's names resolve.
        timeout_s: seconds one answer may take.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        token_file: Path | None = None,
        verify: ssl.SSLContext | bool = True,
        inside: bool = False,
        timeout_s: float = 10,
    ) -> None:
        self.address, self.inside = address.rstrip("/"), inside
        self._token, self._token_file = token, token_file
        self._http = httpx.Client(base_url=self.address, verify=verify, timeout=timeout_s)

    def get(self, path: str, **params: str) -> dict[str, Any] | None:
        """The object at a path, or None when it is not there.

        Raises:
            ForbiddenError: this user may not ask.
            AwayError: the server is away or in trouble.
        """
        answer = self._send_request("GET", path, params=params)
        return None if answer is None else dict(answer.json())

    def post(self, path: str, body: dict[str, Any], *, user: str = "", strict: bool = False) -> dict[str, Any]:
        """Makes an object.

        Args:
            path: of the kind, in a namespace.
            body: the object.
            user: acts as somebody else, as in system:serviceaccount:jam:pipeline-runner.
            strict: refuses fields the server does not know, instead of dropping them.

        Raises:
            NoSuchPlaceError, ConflictError, RefusedError, ForbiddenError, AwayError.
        """
        headers = {"Impersonate-User": user} if user else {}
        answer = self._send_request(
            "POST", path, json=body, headers=headers, params={"fieldValidation": "Strict"} if strict else {}
        )
        if answer is None:
            raise KubernetesNotFoundError("Kubernetes has no such kind", where=path)
        return dict(answer.json())

    def patch(self, path: str, change: dict[str, Any]) -> dict[str, Any] | None:
        """Merges a change into an object; None when it is not there."""
        answer = self._send_request("PATCH", path, json=change, headers={"Content-Type": "application/merge-patch+json"})
        return None if answer is None else dict(answer.json())

    def delete(self, path: str, uid: str = "") -> None:
        """Deletes an object and, afterwards, what it owns; no error when it is not there.

        Raises:
            ConflictError: `uid` was given, and the object of that name is another one.
        """
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        self._send_request("DELETE", path, json=options)

    def get_text(self, path: str, **params: str) -> str | None:
        """What a path answers, as it is; None when it is not there."""
        answer = self._send_request("GET", path, params=params)
        return None if answer is None else answer.text

    def server_date(self) -> str:
        """The Date header of an answer."""
        answer = self._send_request("GET", "/version")
        return "" if answer is None else str(answer.headers.get("Date", ""))

    def _send_request(self, method: str, path: str, **how: Any) -> httpx.Response | None:
        try:
            headers = {**self._auth_headers(), **how.pop("headers", {})}
            answer = self._http.request(method, path, headers=headers, **how)
        except (httpx.HTTPError, OSError) as e:
            raise KubernetesUnreachableError(f"Kubernetes does not answer: {e}", where=self.address, cure=_CURE) from e
        if answer.status_code == 404:
            return None
        if answer.status_code == 403 and _ADMISSION.search(answer.text):
            raise KubernetesRefusedError(f"Kubernetes answered 403: {_parse_message(answer)}", where=path)
        if answer.status_code in (401, 403):
            raise KubernetesForbiddenError(
                "this user may not ask", where=path, cure="ask as somebody who may, or let an admin look"
            )
        if answer.is_error:
            kind = {409: KubernetesConflictError, 400: KubernetesRefusedError, 422: KubernetesRefusedError}.get(
                answer.status_code, KubernetesUnreachableError
            )
            raise kind(f"Kubernetes answered {answer.status_code}: {_parse_message(answer)}", where=path)
        return answer

    def _auth_headers(self) -> dict[str, str]:
        token = self._token_file.read_text().strip() if self._token_file else self._token
        return {"Authorization": f"Bearer {token}"} if token else {}


def _parse_message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])[:500]
    except (ValueError, LookupError, TypeError):
        return answer.text[:200]


def connect_in_pod(timeout_s: float = 10) -> Kubernetes | None:
    """As the service account of the pod this runs in; None outside of pods, and where no token is mounted."""
    if not (SERVICE_ACCOUNT_FOLDER / "token").exists():
        return None
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default")
    host = f"[{host}]" if ":" in host else host
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    tls = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT_FOLDER / "ca.crt"))
    return Kubernetes(
        f"https://{host}:{port}", token_file=SERVICE_ACCOUNT_FOLDER / "token", verify=tls, inside=True, timeout_s=timeout_s
    )


def connect_kubernetes(kubeconfig: str = "", address: str = "", context: str = "") -> Kubernetes:
    """By address (kubectl proxy), from inside a pod, or by kubeconfig (KUBECONFIG, ~/.kube/config).

    Raises:
        PipelineError: none of them is there, or the kubeconfig asks for what we cannot do.
    """
    if address:
        return Kubernetes(address)
    if not kubeconfig:
        here = connect_in_pod()
        if here is not None:
            return here
    named = kubeconfig or os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or str(Path.home() / ".kube" / "config")
    return _connect_by_kubeconfig(Path(named), context)


def _connect_by_kubeconfig(path: Path, context: str) -> Kubernetes:
    try:
        config = yaml.safe_load(path.read_text())
        chosen = _find_named(config["contexts"], context or config["current-context"])["context"]
        cluster = _find_named(config["clusters"], chosen["cluster"])["cluster"]
        user = _find_named(config["users"], chosen["user"])["user"]
    except OSError as e:
        raise PipelineError(f"no kubeconfig: {e.strerror}", where=str(path), cure=_CURE) from e
    except (yaml.YAMLError, KeyError, TypeError, StopIteration) as e:
        raise PipelineError(f"the kubeconfig cannot be understood: {e}", where=str(path), cure=_CURE) from e
    if "exec" in user or "auth-provider" in user:
        raise PipelineError("the kubeconfig signs in by a program of its own", where=str(path), cure=_CURE)
    return Kubernetes(cluster["server"], token=_read_token(user, path), verify=_build_tls_context(cluster, user, path))


def _find_named(things: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(thing for thing in things if thing["name"] == name)


def _read_token(user: dict[str, Any], path: Path) -> str:
    file = user.get("tokenFile")
    return (path.parent / file).read_text().strip() if file else str(user.get("token", ""))


def _build_tls_context(cluster: dict[str, Any], user: dict[str, Any], path: Path) -> ssl.SSLContext | bool:
    if cluster.get("insecure-skip-tls-verify"):
        return False
    authority = _read_bytes(cluster, "certificate-authority", path)
    made = ssl.create_default_context(cadata=authority.decode() if authority else None)
    certificate, key = _read_bytes(user, "client-certificate", path), _read_bytes(user, "client-key", path)
    if certificate and key:
        with tempfile.TemporaryDirectory() as folder:  # Python reads a client's certificate from files only
            files = [Path(folder) / name for name in ("certificate", "key")]
            for file, content in zip(files, (certificate, key)):
                file.touch(mode=0o600)
                file.write_bytes(content)
            made.load_cert_chain(*map(str, files))
    return made


def _read_bytes(table: dict[str, Any], name: str, path: Path) -> bytes | None:
    if f"{name}-data" in table:
        return base64.b64decode(table[f"{name}-data"])
    return (path.parent / table[name]).read_bytes() if name in table else None
