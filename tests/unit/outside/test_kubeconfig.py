"""Kubeconfigs of every kind against a small API server that checks credentials."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from audiotune.errors import KubernetesForbiddenError, KubernetesUnreachableError, PipelineError
from audiotune.outside import kubernetes
from audiotune.outside.kubernetes import connect_in_pod, connect_kubernetes
from tests.fakes.http_server import answering

# Prints an ExecCredential with another token each time it runs, and keeps what it was told.
PLUGIN = f"""#!{sys.executable}
import json, os, pathlib, sys
folder = pathlib.Path(__file__).parent
runs = folder / "runs"
number = int(runs.read_text()) + 1 if runs.exists() else 1
runs.write_text(str(number))
(folder / "told.json").write_text(json.dumps([sys.argv[1:], os.environ.get("KUBERNETES_EXEC_INFO"), os.environ.get("PROFILE")]))
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {{"token": f"token-{{number}}"}}}}))
"""


@dataclass
class FakeApi:
    """Which tokens count, and who asked.

    Attributes:
        accepted: tokens that count; empty accepts everybody.
        seen: token and impersonated user of every request.
        paths: path of every request.
    """

    accepted: set[str] = field(default_factory=set)
    seen: list[tuple[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        state = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                state.seen.append((token, self.headers.get("Impersonate-User") or ""))
                state.paths.append(self.path)
                self.send_response(200 if not state.accepted or token in state.accepted else 401)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        return Handler


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def url(api: FakeApi) -> Iterator[str]:
    with answering(api.handler()) as address:
        yield address


def write_config(folder: Path, cluster: dict[str, Any], user: dict[str, Any], name: str = "config") -> str:
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    (folder / name).write_text(yaml.safe_dump(config))
    return str(folder / name)


def write_plugin(folder: Path, text: str = PLUGIN) -> Path:
    made = folder / "plugin"
    made.write_text(text)
    made.chmod(0o755)
    return made


def sign_in_by(version: str = "v1beta1", command: str = "./plugin", **more: Any) -> dict[str, Any]:
    return {"exec": {"apiVersion": f"client.authentication.k8s.io/{version}", "command": command, "args": None, **more}}


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1", "v1"])
def test_a_plugin_signs_in(tmp_path: Path, api: FakeApi, url: str, version: str) -> None:
    """As EKS, GKE and AKS write it: arguments, environment, a path relative to the file, the cluster told where it is wanted."""
    write_plugin(tmp_path)
    user = sign_in_by(version, args=["get-token"], env=[{"name": "PROFILE", "value": "jam"}], provideClusterInfo=True)
    api.accepted = {"token-1"}
    found = connect_kubernetes(write_config(tmp_path, {"server": url}, user))
    assert found.get("/version") == {}
    assert found.get("/version") == {}
    words, info, profile = json.loads((tmp_path / "told.json").read_text())
    assert (words, profile) == (["get-token"], "jam")
    told = json.loads(info)
    assert told["apiVersion"] == f"client.authentication.k8s.io/{version}"
    assert told["spec"]["cluster"] == {"server": url}
    assert (tmp_path / "runs").read_text() == "1"  # one token serves until it is refused


def test_a_token_that_expired_is_renewed(tmp_path: Path, api: FakeApi, url: str) -> None:
    write_plugin(tmp_path)
    found = connect_kubernetes(write_config(tmp_path, {"server": url}, sign_in_by()))
    api.accepted = {"token-1"}
    assert found.get("/version") == {}
    api.accepted = {"token-2"}
    assert found.get("/version") == {}
    assert [token for token, _ in api.seen] == ["token-1", "token-1", "token-2"]
    api.accepted = {"none of them"}
    with pytest.raises(KubernetesForbiddenError, match="this user may not ask in /version"):
        found.get("/version")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\necho 'the session has expired' >&2\nexit 3\n", "returned 3: the session has expired"),
        ("#!/bin/sh\necho welcome\n", "it printed no ExecCredential with a token"),
        ("#!/bin/sh\necho '{\"status\": {}}'\n", "it printed no ExecCredential with a token"),
    ],
)
def test_a_plugin_that_fails_is_named_with_the_cure(tmp_path: Path, url: str, text: str, words: str) -> None:
    plugin = write_plugin(tmp_path, text)
    config = write_config(tmp_path, {"server": url}, sign_in_by(args=["get-token", "--cluster", "jam"]))
    with pytest.raises(PipelineError) as caught:
        connect_kubernetes(config).get("/version")
    assert f"sign-in program {plugin} failed" in str(caught.value)
    assert words in caught.value.what
    assert caught.value.where == config
    assert caught.value.cure == f"run it by hand and sign in: {plugin} get-token --cluster jam"


def test_a_plugin_that_is_not_installed(tmp_path: Path, url: str) -> None:
    config = write_config(tmp_path, {"server": url}, sign_in_by(command="no-such-plugin", installHint="brew install it\n"))
    with pytest.raises(PipelineError, match="the program no-such-plugin, which cannot be run: No such file.*Brew install it$"):
        connect_kubernetes(config).get("/version")
    config = write_config(tmp_path, {"server": url}, sign_in_by(command="no-such-plugin"))
    with pytest.raises(PipelineError, match="Install no-such-plugin, or put it on PATH"):
        connect_kubernetes(config).get("/version")


def test_a_token_file_is_read_again(tmp_path: Path, api: FakeApi, url: str) -> None:
    (tmp_path / "token").write_text("first\n")
    found = connect_kubernetes(write_config(tmp_path, {"server": url}, {"tokenFile": "token"}))
    api.accepted = {"first"}
    assert found.get("/version") == {}
    (tmp_path / "token").write_text("second\n")
    api.accepted = {"second"}
    assert found.get("/version") == {}
    (tmp_path / "token").unlink()
    api.accepted = {"third"}
    with pytest.raises(PipelineError, match=r"signing in failed: Token file .*/token not found"):
        found.get("/version")


def test_auth_providers(tmp_path: Path, api: FakeApi, url: str) -> None:
    """OpenID Connect's own token is taken as it is; the clouds' providers are gone from kubectl, too."""
    api.accepted = {"an id"}
    oidc = {"auth-provider": {"name": "oidc", "config": {"id-token": "an id"}}}
    assert connect_kubernetes(write_config(tmp_path, {"server": url}, oidc)).get("/version") == {}
    with pytest.raises(
        PipelineError, match=r"auth-provider 'gcp', which kubectl does not know since 1\.26.*write it anew, with `exec`"
    ):
        connect_kubernetes(write_config(tmp_path, {"server": url}, {"auth-provider": {"name": "gcp", "config": None}}))


def test_impersonation_and_users_without_credentials(tmp_path: Path, api: FakeApi, url: str) -> None:
    connect_kubernetes(write_config(tmp_path, {"server": url}, {"token": "t", "as": "ana"})).get("/version")
    config = yaml.safe_load((tmp_path / "config").read_text())
    del config["contexts"][0]["context"]["user"]
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    connect_kubernetes(str(tmp_path / "config")).get("/version")
    assert api.seen == [("t", "ana"), ("", "")]


def test_several_files_are_merged_as_kubectl_does(
    tmp_path: Path, api: FakeApi, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that names a thing counts; each one's paths are relative to itself; one that is not there is skipped."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    (two / "token").write_text("second")
    first = {"clusters": [{"name": "c", "cluster": {"server": url}}], "contexts": [], "users": None}
    (one / "config").write_text(yaml.safe_dump(first))
    write_config(two, {"server": "http://127.0.0.1:9"}, {"tokenFile": "token"})
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(tmp_path / "none"), str(one / "config"), str(two / "config")]))
    assert connect_kubernetes().get("/version") == {}
    assert api.seen == [("second", "")]
    with pytest.raises(PipelineError, match="no context of the name 'elsewhere' in "):
        connect_kubernetes(context="elsewhere")


def test_through_a_proxy(tmp_path: Path, api: FakeApi, url: str) -> None:
    cluster = {"server": "http://kubernetes.nowhere:6443", "proxy-url": url}
    assert connect_kubernetes(write_config(tmp_path, cluster, {})).get("/version") == {}
    assert api.paths == ["http://kubernetes.nowhere:6443/version"]


@pytest.mark.parametrize("inline", [True, False])
def test_certificates_and_the_name_in_them(tmp_path: Path, api: FakeApi, inline: bool) -> None:
    """By file or written into the kubeconfig; the server asks for the client's, and its own names another host."""
    certify(tmp_path)
    (tmp_path / "wrong").mkdir()
    certify(tmp_path / "wrong")
    with serving_tls(api, tmp_path) as url:

        def look(folder: Path, **cluster: str) -> Any:
            def given(name: str, file: str) -> dict[str, str]:
                data = (folder / file).read_bytes()
                return {f"{name}-data": base64.b64encode(data).decode()} if inline else {name: file}

            authority = given("certificate-authority", "ca.crt")
            user = {**given("client-certificate", "client.crt"), **given("client-key", "client.key")}
            return connect_kubernetes(write_config(folder, {"server": url, **authority, **cluster}, user)).get("/version")

        assert look(tmp_path, **{"tls-server-name": "kubernetes.jam"}) == {}
        with pytest.raises(KubernetesUnreachableError, match="CERTIFICATE_VERIFY_FAILED.*IP address mismatch"):
            look(tmp_path)
        with pytest.raises(KubernetesUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            look(tmp_path / "wrong", **{"tls-server-name": "kubernetes.jam"})
    (tmp_path / "client.key").write_text("no key")
    with pytest.raises(PipelineError, match="the kubeconfig cannot be used") as caught:
        look(tmp_path)
    assert caught.value.where == str(tmp_path / "config")


def test_in_a_pod(tmp_path: Path, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pod's own token, read again when the kubelet has changed it."""
    monkeypatch.setattr(kubernetes, "SERVICE_ACCOUNT_FOLDER", tmp_path)
    assert connect_in_pod() is None
    certify(tmp_path)
    (tmp_path / "token").write_text("first")
    (tmp_path / "namespace").write_text("jam")
    api.accepted = {"first"}
    with serving_tls(api, tmp_path, client=False) as url:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "localhost")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", url.rpartition(":")[2])
        found = connect_kubernetes()
        assert found.inside
        assert found.get("/version") == {}
        (tmp_path / "token").write_text("second")
        api.accepted = {"second"}
        assert found.get("/version") == {}


def certify(folder: Path) -> None:
    """An authority, a server named kubernetes.jam and localhost, and a client."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca")
    for name, alternative in (("server", "DNS:kubernetes.jam,DNS:localhost"), ("client", "DNS:ana")):
        (folder / "names").write_text(f"subjectAltName={alternative}\n")
        openssl(*new[:-2], "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.crt")


@contextmanager
def serving_tls(api: FakeApi, folder: Path, *, client: bool = True) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), api.handler())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.crt")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
