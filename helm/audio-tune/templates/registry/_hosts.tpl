{{- /* libpq takes host, user and password from its own variables. */ -}}
{{- define "audio-tune.database-uri" -}}
postgresql://{{ include "audio-tune.database-host" . }}:{{ ternary 5432 (int .Values.database.external.port) (eq .Values.database.kind "bundled") }}/{{ .Values.database.name }}
{{- end -}}

{{- /* Names MLflow answers to; every other Host header gets a 403, which keeps pages of other sites out. */ -}}
{{- define "audio-tune.registry-hosts" -}}
{{- $service := printf "%s-registry" (include "audio-tune.name" .) -}}
{{- $namespaced := printf "%s.%s" $service .Release.Namespace -}}
{{- $names := list $service $namespaced (printf "%s.svc" $namespaced) (printf "%s.svc.cluster.local" $namespaced) "localhost" "127.0.0.1" -}}
{{- $hosts := .Values.registry.allowedHosts -}}
{{- range $names }}{{- $hosts = append $hosts . }}{{- $hosts = append $hosts (printf "%s:*" .) }}{{- end -}}
{{- join "," $hosts -}}
{{- end -}}
