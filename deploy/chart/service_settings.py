"""Chart values that set a setting of a service. Type, bounds, default and description come from the settings class."""

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr
from pydantic.fields import FieldInfo

from services.generation.settings import GenerationSettings
from services.governance.settings import PREFIX as GOVERNANCE_PREFIX
from services.governance.settings import GovernanceSettings
from services.studio.settings import PREFIX as STUDIO_PREFIX
from services.studio.settings import StudioSettings

_PREFIXES = {
    GenerationSettings: GenerationSettings.model_config["env_prefix"],
    GovernanceSettings: GOVERNANCE_PREFIX,
    StudioSettings: STUDIO_PREFIX,
}


@dataclass(frozen=True)
class ServiceSetting:
    """One field of a settings class, and how a template sets it.

    Attributes:
        settings: the settings class.
        name: its field.
        expression: Go template expression over $root, $values and $gpu; empty takes the chart value as it is.
        when: Go template condition under which it is set; empty sets it always.
        secret_key: the value names a Secret, and the setting is this key of it.
        shared_variable: variable that all services read; empty takes the service's own.
        reason: why the chart's default differs, or why no chart value sets it.
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


def take_setting(settings: type[BaseModel], name: str, *, note: str = "", default: Any = ..., **how: Any) -> Any:
    """A field of the chart's values that sets a field of a settings class.

    Args:
        settings, name: the settings class and its field.
        note: replaces what follows the first semicolon of the field's description.
        default: the chart's own default; one that differs needs a `reason`.
        how: the other attributes of ServiceSetting.

    Raises:
        TypeError: a default that differs without a reason, or a reason without such a default.
    """
    setting = ServiceSetting(settings, name, **how)
    chosen = setting.default if default is ... else default
    differs = chosen != setting.default and not (chosen == [] and setting.default == "")
    if differs != bool(setting.reason):
        raise TypeError(f"{settings.__name__}.{name}: a default that differs needs a reason, and a reason such a default")
    description = setting.field.description or ""
    if note:
        description = f"{description.partition(';')[0]}; {note}"
    if setting.secret_key:
        description = f"existing Secret with the key `{setting.secret_key}`: {description}"
    info: FieldInfo = Field(default=chosen, description=description)
    bounds = [] if setting.secret_key or isinstance(chosen, list) else setting.field.metadata
    info.metadata += [*bounds, setting]
    return info


def get_setting(info: FieldInfo) -> ServiceSetting | None:
    """The setting that a field of the values sets."""
    return next((rule for rule in info.metadata if isinstance(rule, ServiceSetting)), None)
