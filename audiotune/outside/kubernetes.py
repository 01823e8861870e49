"""Kubernetes' API by path: the few calls that the doctor and finetune need. lightkube handles certificates, proxies and sign-in."""

import os
import re
from pathlib import Path
from typing import Any

import httpx
from lightkube import ConfigError, KubeConfig
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.models import Cluster, User

from audiotune.errors import (
    KubernetesConflictError,
    KubernetesForbiddenError,
    KubernetesNotFoundError,
    KubernetesRefusedError,
    KubernetesUnreachableError,
    PipelineError,
)
from audiotune.outside.kubeconfig import CURE, Connection, load_kubeconfig

SERVICE_ACCOUNT_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# A 403 that does not concern rights: the object itself was refused.
_ADMISSION = re.compile(r"admission webhook|exceeded quota|violates PodSecurity")
_ERRORS = {409: KubernetesConflictError, 400: KubernetesRefusedError, 422: KubernetesRefusedError}


class Kubernetes:
    """Kubernetes' API server.

    A token that expires is renewed: after an answer of 401 lightkube reads the token file again, or runs the sign-in program again.

    Args:
        connection: address and credentials.
        inside: whether this process runs in a pod, where the names of the cluster's Services resolve.
        timeout_s: seconds one answer may take.
    """

    def __init__(self, connection: Connection, *, inside: bool = False, timeout_s: float = 10) -> None:
        self.address, self.inside = connection.config.cluster.server.rstrip("/"), inside
        self._connection = connection
        params = ConnectionParams(timeout=httpx.Timeout(timeout_s), proxy=connection.proxy or None)
        try:
            self._http = Client(connection.config, params)
        except (OSError, ValueError, TypeError) as e:  # a certificate that is missing or damaged, a proxy's address
            words = f"the kubeconfig cannot be used: {e}"
            raise PipelineError(words, where=connection.where, cure=CURE) from e

    def get(self, path: str, **params: str) -> dict[str, Any] | None:
        """The object at a path, or None. Raises KubernetesForbiddenError, KubernetesUnreachableError."""
        answer = self._send_request("GET", path, params=params)
        return None if answer is None else dict(answer.json())

    def post(self, path: str, body: dict[str, Any], *, user: str = "", strict: bool = False) -> dict[str, Any]:
        """Creates an object. Raises the Kubernetes errors of `audiotune.errors`.

        Args:
            path: of the kind, in a namespace.
            body: the object.
            user: acts as another user, as in system:serviceaccount:jam:pipeline-runner.
            strict: refuses fields that the server does not know, instead of dropping them.
        """
        headers = {"Impersonate-User": user} if user else {}
        params = {"fieldValidation": "Strict"} if strict else {}
        answer = self._send_request("POST", path, json=body, headers=headers, params=params)
        if answer is None:
            raise KubernetesNotFoundError("Kubernetes has no such kind", where=path)
        return dict(answer.json())

    def patch(self, path: str, change: dict[str, Any]) -> dict[str, Any] | None:
        """Merges a change into an object; None when it does not exist."""
        answer = self._send_request("PATCH", path, json=change, headers={"Content-Type": "application/merge-patch+json"})
        return None if answer is None else dict(answer.json())

    def delete(self, path: str, uid: str = "") -> None:
        """Deletes an object and, afterwards, what it owns; no error when it does not exist.

        Raises KubernetesConflictError: the object of that name has another uid than `uid`.
        """
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        self._send_request("DELETE", path, json=options)

    def get_text(self, path: str, **params: str) -> str | None:
        """The text that a path answers; None when it does not exist."""
        answer = self._send_request("GET", path, params=params)
        return None if answer is None else answer.text

    def server_date(self) -> str:
        """The Date header of an answer."""
        answer = self._send_request("GET", "/version")
        return "" if answer is None else str(answer.headers.get("Date", ""))

    def _send_request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **how: Any
    ) -> httpx.Response | None:
        own = {"Impersonate-User": self._connection.act_as} if self._connection.act_as else {}
        name = self._connection.tls_server_name
        extensions = {"sni_hostname": name} if name else {}
        try:
            answer = self._http.request(method, path, headers={**own, **(headers or {})}, extensions=extensions, **how)
        except httpx.HTTPError as e:
            raise KubernetesUnreachableError(f"Kubernetes does not answer: {e}", where=self.address, cure=CURE) from e
        except (ConfigError, OSError, ValueError, LookupError, TypeError) as e:  # from the sign-in, before anything was sent
            raise self._explain_sign_in(e) from e
        if answer.status_code == 404:
            return None
        if answer.is_error:
            raise _explain_answer(answer, path)
        return answer

    def _explain_sign_in(self, error: Exception) -> PipelineError:
        user, where = self._connection.config.user, self._connection.where
        if user is None or user.exec is None:
            return PipelineError(f"signing in failed: {error}", where=where, cure=CURE)
        program, hint = user.exec.command, self._connection.install_hint
        if isinstance(error, OSError):
            words = f"the kubeconfig signs in by the program {program}, which cannot be run: {error.strerror}"
            return PipelineError(words, where=where, cure=hint or f"install {program}, or put it on PATH")
        why = " ".join(str(error).split())[-500:]
        if not isinstance(error, ConfigError):
            why = f"it printed no ExecCredential with a token ({type(error).__name__}: {why})"
        cure = f"run it by hand and sign in: {' '.join([program, *user.exec.args])}"
        return PipelineError(f"the kubeconfig's sign-in program {program} failed: {why}", where=where, cure=cure)


def _explain_answer(answer: httpx.Response, path: str) -> PipelineError:
    code = answer.status_code
    if code == 403 and _ADMISSION.search(answer.text):
        return KubernetesRefusedError(f"Kubernetes answered 403: {_parse_message(answer)}", where=path)
    if code in (401, 403):
        return KubernetesForbiddenError("this user may not ask", where=path, cure="ask as somebody who may, or let an admin look")
    return _ERRORS.get(code, KubernetesUnreachableError)(f"Kubernetes answered {code}: {_parse_message(answer)}", where=path)


def _parse_message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])[:500]
    except (ValueError, LookupError, TypeError):
        return answer.text[:200]


def connect_in_pod(timeout_s: float = 10) -> Kubernetes | None:
    """Connects as the service account of this pod; None outside of pods, and where no token is mounted."""
    try:
        config = KubeConfig.from_service_account(SERVICE_ACCOUNT_FOLDER).get()
    except (ConfigError, KeyError):
        return None
    assert config is not None
    return Kubernetes(Connection(config, where=str(SERVICE_ACCOUNT_FOLDER)), inside=True, timeout_s=timeout_s)


def connect_kubernetes(kubeconfig: str = "", address: str = "", context: str = "", timeout_s: float = 10) -> Kubernetes:
    """Connects by address (kubectl proxy), as the pod's service account, or by kubeconfig (KUBECONFIG, ~/.kube/config).

    Raises PipelineError: none of them exists, or the kubeconfig signs in by something that is not supported.
    """
    if address:
        cluster = Cluster(server=address, insecure=address.startswith("http:"))
        config = KubeConfig.from_one(cluster=cluster, user=User()).get()
        assert config is not None
        return Kubernetes(Connection(config), timeout_s=timeout_s)
    here = None if kubeconfig else connect_in_pod(timeout_s)
    named = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    files = [Path(file).expanduser() for file in named.split(os.pathsep) if file]
    return here or Kubernetes(load_kubeconfig(files, context), timeout_s=timeout_s)
