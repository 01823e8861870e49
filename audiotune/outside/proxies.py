"""Proxies that the environment names (HTTP_PROXY, ALL_PROXY): not for this machine's own servers, and none that we cannot speak to."""

import importlib.util
import os
import sys
import urllib.request
from collections.abc import MutableMapping
from urllib.parse import urlsplit

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy")


def configure_proxies(environment: MutableMapping[str, str] = os.environ) -> None:
    """Lets every library of this process reach this machine's servers without a proxy. Call it first in a program.

    SOCKS proxies need a package that is not installed; libraries then fail while they are imported. Such a variable is taken out of
    the environment, with a sentence on stderr.
    """
    ignored = [] if importlib.util.find_spec("socksio") else [name for name, url in environment.items() if _is_socks(name, url)]
    for name in ignored:
        del environment[name]
        cure = "name an HTTP proxy in HTTPS_PROXY if one is needed"
        print(f"{name} names a SOCKS proxy, which is ignored: {cure}", file=sys.stderr)
    if any(name.lower() in _PROXY_NAMES for name in environment):
        for name in ("no_proxy", "NO_PROXY"):  # libraries differ in which one they read
            named = [host.strip() for host in environment.get(name, "").split(",") if host.strip()]
            environment[name] = ",".join(dict.fromkeys([*named, *THIS_MACHINE]))


def build_opener(url: str, *handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """An opener for a server: without a proxy where the server is on this machine."""
    if (urlsplit(url).hostname or "") in THIS_MACHINE:
        handlers = (*handlers, urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _is_socks(name: str, url: str) -> bool:
    return name.lower() in _PROXY_NAMES and urlsplit(url).scheme.startswith("socks")
