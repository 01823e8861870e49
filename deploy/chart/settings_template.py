"""templates/_settings.tpl: every setting of our programs that the chart gives, from the table in service_values.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from pydantic import BaseModel

from deploy.chart.service_settings import ServiceSetting
from deploy.chart.service_values import CHART_DECIDES
from deploy.chart.value_fields import build_defaults, list_value_fields
from pipelines.cluster.settings import Cluster
from services.generation.settings import GenerationSettings
from services.studio.settings import StudioSettings

_HEAD = """\
{{- /* Written by `python -m deploy.chart.generate` from deploy/chart/service_values.py; change it there.
root; values: those of the chart, or what stands for them; gpu: the resolved machine. */ -}}
"""


def list_given_settings(settings: type[BaseModel]) -> Iterator[ServiceSetting]:
    """Settings of a class that the chart gives, each with the expression that gives it."""
    for field in list_value_fields(build_defaults()):
        if field.setting and (field.setting.settings is settings or _is_shared(field.setting, settings)):
            yield replace(field.setting, expression=field.setting.expression or _make_expression(field.name, field.kind))
    yield from (setting for setting in CHART_DECIDES if setting.settings is settings)


def _is_shared(setting: ServiceSetting, settings: type[BaseModel]) -> bool:
    return bool(setting.shared_variable) and settings is not Cluster


def _make_expression(name: str, kind: str) -> str:
    value = f"$values.{name}"
    if kind.startswith("list"):
        return f'join "," {value}'
    return f"int64 {value}" if kind.startswith("integer") else value


def render_template() -> str:
    generation = _render_environment("generation", GenerationSettings)
    return _HEAD + generation + _render_environment("studio", StudioSettings) + _render_cluster()


def _render_environment(part: str, settings: type[BaseModel]) -> str:
    """A list of environment variables of a container."""
    lines = _begin_definition(f"{part}-settings")
    for condition, group in groupby(list_given_settings(settings), _get_condition):
        variables = [line for setting in group for line in _render_variable(setting)]
        lines += [f"{{{{- if {condition} }}}}", *variables, "{{- end }}"] if condition else variables
    return "\n".join([*lines, "{{- end -}}", ""])


def _get_condition(setting: ServiceSetting) -> str:
    """A Secret is named only where the value names one."""
    if not setting.secret_key:
        return setting.when
    return f"and ({setting.when}) {setting.expression}" if setting.when else setting.expression


def _render_variable(setting: ServiceSetting) -> list[str]:
    if setting.secret_key:
        source = f"{{secretKeyRef: {{name: {{{{ {setting.expression} | quote }}}}, key: {setting.secret_key}}}}}"
        return [f"- name: {setting.variable}", f"  valueFrom: {source}"]
    return [f"- {{name: {setting.variable}, value: {{{{ {setting.expression} | quote }}}}}}"]


def _render_cluster() -> str:
    """A YAML map with the keys of the recipe's [cluster] table."""
    lines = _begin_definition("cluster-settings")
    for setting in list_given_settings(Cluster):
        quoted = "" if setting.expression.startswith("int64") else " | quote"
        lines.append(f"{setting.name}: {{{{ {setting.expression}{quoted} }}}}")
    return "\n".join([*lines, "{{- end -}}", ""])


def _begin_definition(name: str) -> list[str]:
    return [
        f'{{{{- define "audio-tune.{name}" -}}}}',
        "{{- $root := .root -}}",
        "{{- $values := .values -}}",
        "{{- $gpu := .gpu -}}",
    ]
