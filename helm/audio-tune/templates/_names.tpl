{{- /* Names and labels. */ -}}
{{- define "audio-tune.chart" -}}{{ default .Chart.Name .Values.nameOverride }}{{- end -}}

{{- /* 40 characters leave room for what is added to it (63 is the most a Service may have). */ -}}
{{- define "audio-tune.name" -}}
{{- $chart := include "audio-tune.chart" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "audio-tune.selector" -}}
app.kubernetes.io/name: {{ include "audio-tune.chart" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "audio-tune.labels" -}}
{{ include "audio-tune.selector" . }}
app.kubernetes.io/part-of: audio-tune
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* Labels of pods: those a selector needs, and the operator's. No version, or every upgrade would restart everything. */ -}}
{{- define "audio-tune.pod-labels" -}}
{{ include "audio-tune.selector" . }}
app.kubernetes.io/part-of: audio-tune
{{- with .root.Values.pods.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "audio-tune.metadata" -}}
name: {{ include "audio-tune.name" .root }}-{{ .name | default .part }}
namespace: {{ .root.Release.Namespace | quote }}
labels: {{- include "audio-tune.labels" . | nindent 2 }}
{{- end -}}
