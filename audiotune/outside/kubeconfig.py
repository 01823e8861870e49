"""Reads kubeconfig files for lightkube as kubectl does: several files, paths relative to their file, and sign-in by a program.

lightkube 0.22 signs in by token, token file, certificate and `exec`. It does not read `tls-server-name`, `proxy-url` and `as`, refuses
`exec` of version v1 and does not pass the cluster's data to the program; this module adds that. A program that answers with a
certificate instead of a token is not supported.
"""

import base64
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightkube import ConfigError, KubeConfig, SingleConfig
from lightkube.config.models import User

from audiotune.errors import PipelineError

CURE = "name a kubeconfig with --kubeconfig, or run `kubectl proxy` and give --kubernetes http://127.0.0.1:8001"
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
# The cluster's data for a sign-in program, where the kubeconfig says provideClusterInfo.
_CLUSTER_INFO = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
_EXEC_API = "client.authentication.k8s.io"
Table = dict[str, Any]


@dataclass(frozen=True)
class Connection:
    """How to reach one cluster as one user.

    Attributes:
        config: address, certificates and credentials.
        tls_server_name: name in the server's certificate, where it is not the name in the address.
        proxy: address of an HTTP proxy.
        act_as: the user to impersonate.
        install_hint: how to get the sign-in program, in the kubeconfig's words.
        where: the files this was read from.
    """

    config: SingleConfig
    tls_server_name: str = ""
    proxy: str = ""
    act_as: str = ""
    install_hint: str = ""
    where: str = ""


def load_kubeconfig(files: Sequence[Path], context: str = "") -> Connection:
    """The connection of a context, or of the current one. Of two entries with one name, that of the first file counts.

    Raises PipelineError: no file can be read, an entry is missing, or the way to sign in is not supported.
    """
    where = os.pathsep.join(map(str, files))
    try:
        merged = _merge_tables([_read_table(file) for file in files if file.exists() or len(files) == 1])
        chosen = _find_entry(merged, "contexts", context or merged["current-context"])
        cluster = _find_entry(merged, "clusters", chosen["cluster"])
        user = _find_entry(merged, "users", chosen["user"]) if chosen.get("user") else {}
        _prepare_sign_in(user, cluster, where)
        config = KubeConfig.from_dict(merged).get(context or None)
    except OSError as e:
        raise PipelineError(f"no kubeconfig: {e.strerror}", where=str(e.filename or where), cure=CURE) from e
    except (yaml.YAMLError, ConfigError, KeyError, TypeError, AttributeError) as e:
        raise PipelineError(f"the kubeconfig cannot be understood: {e}", where=where, cure=CURE) from e
    assert config is not None  # `get` returns None only for a default
    return Connection(
        config if config.user else config._replace(user=User()),
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        proxy=str(cluster.get("proxy-url") or ""),
        act_as=str(user.get("as") or ""),
        install_hint=str((user.get("exec") or {}).get("installHint") or "").strip(),
        where=where,
    )


def _read_table(path: Path) -> Table:
    """One file, its relative paths made absolute."""
    table: Table = yaml.safe_load(path.read_text())
    for kind, key in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
        table[kind] = [{"name": entry["name"], key: dict(entry.get(key) or {})} for entry in table.get(kind) or []]
        for entry in table[kind]:
            inner = entry[key]
            inner.update({name: str(path.parent / inner[name]) for name in _FILES if inner.get(name)})
            plugin = inner.get("exec")
            if plugin and os.sep in plugin["command"]:
                plugin["command"] = str(path.parent / plugin["command"])
    return table


def _merge_tables(tables: list[Table]) -> Table:
    merged: Table = {
        kind: list({entry["name"]: entry for table in reversed(tables) for entry in table[kind]}.values())
        for kind in ("clusters", "users", "contexts")
    }
    return {**merged, "current-context": next((t["current-context"] for t in tables if t.get("current-context")), "")}


def _find_entry(table: Table, kind: str, name: str) -> Table:
    for entry in table[kind]:
        if entry["name"] == name:
            inner: Table = entry[kind.removesuffix("s")]
            return inner
    raise ConfigError(f"no {kind.removesuffix('s')} of the name {name!r}" if name else "no current-context")


def _prepare_sign_in(user: Table, cluster: Table, where: str) -> None:
    """Changes a user's entry to the form that lightkube reads."""
    provider = user.pop("auth-provider", None)
    if provider:
        token = (provider.get("config") or {}).get("id-token") if provider["name"] == "oidc" else None
        if not token:
            words = f"the kubeconfig signs in by auth-provider {provider['name']!r}, which kubectl does not know since 1.26"
            raise PipelineError(words, where=where, cure=f"let your cloud's tool write it anew, with `exec`; or {CURE}")
        user["token"] = token
    plugin = user.get("exec")
    if plugin:
        info: Table = {"interactive": sys.stdin is not None and sys.stdin.isatty()}
        if plugin.get("provideClusterInfo"):
            info["cluster"] = _describe_cluster(cluster)
        request = {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": info}
        plugin["env"] = [*(plugin.get("env") or []), {"name": "KUBERNETES_EXEC_INFO", "value": json.dumps(request)}]
        plugin["args"] = plugin.get("args") or []
        plugin["apiVersion"] = f"{_EXEC_API}/v1beta1"  # the answer's token is at the same place in all versions


def _describe_cluster(cluster: Table) -> Table:
    info = {name: cluster[name] for name in _CLUSTER_INFO if name in cluster}
    if cluster.get("certificate-authority"):
        info["certificate-authority-data"] = base64.b64encode(Path(cluster["certificate-authority"]).read_bytes()).decode()
    return info
