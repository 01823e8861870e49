"""templates/_settings.tpl: every setting of our programs that the chart sets, from the fields in service_values.py."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from pydantic import BaseModel

from deploy.chart.service_settings import ServiceSetting
from deploy.chart.service_values import CHART_DECIDES
from deploy.chart.value_fields import build_defaults, list_value_fields
from pipelines.cluster.settings import Cluster
from services.generation.settings import GenerationSettings
from services.governance.settings import GovernanceSettings
from services.studio.settings import StudioSettings

_HEAD = """\
{{- /* Written by `python -m deploy.chart.generate` from deploy/chart/service_values.py; change it there.
root; values: those of the chart, or what stands for them; gpu: the resolved machine. */ -}}
"""
_DEFINITION = """\
{{{{- define "audio-tune.{name}-settings" -}}}}
{{{{- $root := .root -}}}}
{{{{- $values := .values -}}}}
{{{{- $gpu := .gpu -}}}}
{lines}
{{{{- end -}}}}
"""


_SHARING = (GenerationSettings, StudioSettings)  # they read the shared variables, too


def list_given_settings(settings: type[BaseModel]) -> Iterator[ServiceSetting]:
    """Settings of a class that the chart sets, each with its template expression."""
    for field in list_value_fields(build_defaults()):
        setting = field.setting
        if setting and (setting.settings is settings or (setting.shared_variable and settings in _SHARING)):
            yield replace(setting, expression=setting.expression or _make_expression(field.name, field.kind))
    yield from (setting for setting in CHART_DECIDES if setting.settings is settings)


def _make_expression(name: str, kind: str) -> str:
    value = f"$values.{name}"
    if kind.startswith("list"):
        return f'join "," {value}'
    return f"int64 {value}" if kind.startswith("integer") else value


def render_template() -> str:
    generation, studio = _render_environment(GenerationSettings), _render_environment(StudioSettings)
    governance = _render_environment(GovernanceSettings)
    definitions = {"generation": generation, "studio": studio, "governance": governance, "cluster": _render_cluster()}
    return _HEAD + "".join(_DEFINITION.format(name=name, lines="\n".join(lines)) for name, lines in definitions.items())


def _render_environment(settings: type[BaseModel]) -> Iterator[str]:
    """A list of environment variables of a container."""
    for condition, group in groupby(list_given_settings(settings), _get_condition):
        variables = [line for setting in group for line in _render_variable(setting)]
        yield from [f"{{{{- if {condition} }}}}", *variables, "{{- end }}"] if condition else variables


def _get_condition(setting: ServiceSetting) -> str:
    """A setting from a Secret is set only where the value names a Secret."""
    if not setting.secret_key:
        return setting.when
    return f"and ({setting.when}) {setting.expression}" if setting.when else setting.expression


def _render_variable(setting: ServiceSetting) -> list[str]:
    if setting.secret_key:
        source = f"{{secretKeyRef: {{name: {{{{ {setting.expression} | quote }}}}, key: {setting.secret_key}}}}}"
        return [f"- name: {setting.variable}", f"  valueFrom: {source}"]
    return [f"- {{name: {setting.variable}, value: {{{{ {setting.expression} | quote }}}}}}"]


def _render_cluster() -> Iterator[str]:
    """A YAML map with the keys of the recipe's [cluster] table."""
    for setting in list_given_settings(Cluster):
        quoted = "" if setting.expression.startswith("int64") else " | quote"
        yield f"{setting.name}: {{{{ {setting.expression}{quoted} }}}}"
