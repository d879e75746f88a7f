"""Programs of docker/ as modules: they have no ending by which Python would know them."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

CHECKOUT = Path(__file__).resolve().parents[1]


def load(path: str) -> ModuleType:
    """The program at `path` in the checkout, loaded and not run."""
    name = path.replace("/", "_").replace("-", "_")
    loader = SourceFileLoader(name, str(CHECKOUT / path))
    spec = spec_from_loader(name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module
