"""Imports stable-audio-tools late and without output, and adds the pretransform of the tiny base to its factory."""

import contextlib
import importlib.abc
import importlib.machinery
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from audiotune.stable_audio.local_parts import SPECTRAL

_FACTORY = "stable_audio_tools.models.factory"


@contextlib.contextmanager
def silence_output() -> Iterator[None]:
    """Discards output and warnings of the library within the block."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def import_factory() -> Any:
    """stable_audio_tools.models.factory, imported without output."""
    with silence_output():
        return importlib.import_module(_FACTORY)


def register_pretransform() -> None:
    """Extends the factory now if it is imported already, else during its import; repeated calls do nothing."""
    module = sys.modules.get(_FACTORY)
    if module is not None:
        _extend_factory(module)
    elif not any(isinstance(finder, _FactoryFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _FactoryFinder())


class _FactoryFinder(importlib.abc.MetaPathFinder):
    """Finds the factory as usual and extends it after its code has run."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _FACTORY:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            return spec
        spec.loader = _ExtendingLoader(spec.loader.name, spec.loader.path)
        return spec


class _ExtendingLoader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _extend_factory(module)


def _extend_factory(module: Any) -> None:
    original = module.create_pretransform_from_config
    if getattr(original, "knows_audiotune", False):
        return

    def create_pretransform_from_config(pretransform_config: dict[str, Any], sample_rate: int) -> Any:
        if pretransform_config.get("type") != SPECTRAL:
            return original(pretransform_config, sample_rate)
        from audiotune.stable_audio.pretransform import SpectralPretransform

        enable_grad = bool(pretransform_config.get("enable_grad", False))
        pretransform = SpectralPretransform(sample_rate, enable_grad=enable_grad, **pretransform_config.get("config", {}))
        return pretransform.eval().requires_grad_(enable_grad)

    create_pretransform_from_config.knows_audiotune = True  # type: ignore[attr-defined]
    module.create_pretransform_from_config = create_pretransform_from_config
    for name in ("diffusion", "conditioners", "autoencoders"):  # these copied the function at their import
        user: Any = sys.modules.get(f"stable_audio_tools.models.{name}")
        if user is not None and hasattr(user, "create_pretransform_from_config"):
            user.create_pretransform_from_config = create_pretransform_from_config
