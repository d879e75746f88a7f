"""Which extensions there are, and loading the one file of each that belongs to a host.

Built-ins live in the folder `extensions/`; a package adds its own by the entry point group
`argonath.extensions`. An unknown hook or a broken import stops the start.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points

import pluggy

from gateway.errors import BrokenExtension
from gateway.hookspecs import HOSTS, PROJECT

HOST_FILES = ("node", "worker", "portal", "service")


@dataclass(frozen=True)
class Extension:
    """One feature: its package and which host files it has."""

    name: str
    package: str
    title: str
    version: str
    hosts: tuple[str, ...]


def discover(blocked: str = "") -> list[Extension]:
    """Every extension that is not named in `blocked` (names, by commas)."""
    refused = {name.strip() for name in blocked.split(",")}
    return sorted(
        (_describe(name, package) for name, package in _packages() if name not in refused),
        key=lambda extension: extension.name,
    )


def load(host: str, extensions: Collection[Extension]) -> pluggy.PluginManager:
    """A plugin manager with `<extension>/<host>.py` of each; raises `BrokenExtension`."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(HOSTS[host])
    for extension in extensions:
        if host in extension.hosts:
            manager.register(_import(f"{extension.package}.{host}"), name=extension.name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise BrokenExtension(str(error)) from error
    return manager


def _packages() -> Iterator[tuple[str, str]]:
    import extensions

    for module in pkgutil.iter_modules(extensions.__path__):
        if module.ispkg:
            yield module.name, f"extensions.{module.name}"
    for point in entry_points(group="argonath.extensions"):
        yield point.name, point.value


def _describe(name: str, package: str) -> Extension:
    module = _import(package)
    title = (module.__doc__ or name).strip().split("\n")[0].rstrip(".")
    hosts = tuple(h for h in HOST_FILES if importlib.util.find_spec(f"{package}.{h}"))
    return Extension(name, package, title, str(getattr(module, "__version__", "0")), hosts)


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise BrokenExtension(f"{name}: {type(error).__name__}: {error}.") from error
