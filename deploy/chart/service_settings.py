"""Chart values that are settings of a service. The settings class says type, bounds, default and sentence; the chart takes them."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr
from pydantic.fields import FieldInfo

from services.generation.settings import GenerationSettings
from services.studio.settings import PREFIX as STUDIO_PREFIX
from services.studio.settings import StudioSettings

_PREFIXES = {GenerationSettings: GenerationSettings.model_config["env_prefix"], StudioSettings: STUDIO_PREFIX}
_BOUNDS = ("gt", "ge", "lt", "le", "min_length", "max_length", "pattern")


@dataclass(frozen=True)
class ServiceSetting:
    """One field of a settings class, and how a template gives it to the program.

    Attributes:
        settings: the settings class.
        name: its field.
        expression: Go template expression over $root, $values and $gpu; empty takes the chart value as it is.
        when: Go template condition; empty gives it always.
        secret_key: the value names a Secret, and the setting is this key of it.
        shared_variable: variable that all services read; empty takes the service's own.
        reason: why the chart's default differs, or why the chart decides and no value does.
    """

    settings: type[BaseModel]
    name: str
    expression: str = ""
    when: str = ""
    secret_key: str = ""
    shared_variable: str = ""
    reason: str = ""

    @property
    def field(self) -> FieldInfo:
        return self.settings.model_fields[self.name]

    @property
    def variable(self) -> str:
        """The environment variable that the service reads."""
        return self.shared_variable or f"{_PREFIXES[self.settings]}{self.name.upper()}"

    @property
    def default(self) -> Any:
        """The default of the settings class; a secret's is plain text."""
        default = self.field.default
        return default.get_secret_value() if isinstance(default, SecretStr) else default

    def check_type(self, annotation: Any) -> None:
        """Raises TypeError where a chart value of this type cannot be the setting."""
        given, wanted = _get_bare_type(annotation), _get_bare_type(self.field.annotation)
        whole_number = given is int and wanted is float
        names_secret = bool(self.secret_key) and given is str and wanted in (str, SecretStr)
        joined_list = get_origin(given) is list and wanted is str
        if not (given == wanted or whole_number or names_secret or joined_list):
            raise TypeError(f"a chart value of type {given} cannot be {self.settings.__name__}.{self.name}, which is {wanted}")


def _get_bare_type(annotation: Any) -> Any:
    """The type without None and without constraints; a Literal as the set of its choices."""
    while get_origin(annotation) in (Union, UnionType, Annotated):
        inner = [part for part in get_args(annotation) if part is not NoneType]
        annotation = inner[0]
    return set(get_args(annotation)) if get_origin(annotation) is Literal else annotation


def take_setting(
    settings: type[BaseModel], name: str, *, note: str = "", secret_key: str = "", reason: str = "", **how: Any
) -> Any:
    """A field of the chart's values that stands for a field of a settings class.

    Args:
        settings: the settings class.
        name: its field.
        note: stands in the chart instead of what follows the first semicolon of the setting's sentence.
        secret_key: as in ServiceSetting.
        reason: must be given with a `default` that is not the setting's, and only with one.
        how: `default`, and the other attributes of ServiceSetting.

    Raises:
        TypeError: a default that differs without a reason, or a reason without such a default.
    """
    unchanged = ServiceSetting(settings, name).default
    default = how.pop("default", unchanged)
    differs = default != unchanged and not (default == [] and unchanged == "")
    if differs != bool(reason):
        raise TypeError(f"{settings.__name__}.{name}: a default that differs needs a reason, and a reason such a default")
    setting = ServiceSetting(settings, name, secret_key=secret_key, reason=reason, **how)
    sentence = setting.field.description or ""
    if note:
        sentence = f"{sentence.partition(';')[0]}; {note}"
    if secret_key:
        sentence = f"existing Secret with the key `{secret_key}`: {sentence}"
    bounds = {} if secret_key or isinstance(default, list) else _list_bounds(setting.field)
    info: FieldInfo = Field(default=default, description=sentence, **bounds)
    info.metadata.append(setting)
    return info


def _list_bounds(info: FieldInfo) -> dict[str, Any]:
    found = {bound: getattr(rule, bound, None) for rule in info.metadata for bound in _BOUNDS if hasattr(rule, bound)}
    return {bound: value for bound, value in found.items() if value is not None}


def get_setting(info: FieldInfo) -> ServiceSetting | None:
    """The setting that a field of the values stands for."""
    return next((rule for rule in info.metadata if isinstance(rule, ServiceSetting)), None)
