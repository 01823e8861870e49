{{- /* Keys of MLflow: the pipelines' writes, the generation service's only reads releases (audiotune/registry/mlflow_app.py). */ -}}

{{- /* The Secret whose key `token` a part sends: root, user (generation or pipelines). Empty: an MLflow that asks for none. */ -}}
{{- define "audio-tune.registry-secret" -}}
{{- if eq .root.Values.registry.kind "bundled" -}}
{{ include "audio-tune.name" .root }}-registry-{{ .user }}
{{- else -}}
{{ .root.Values.registry.external.tokenSecret }}
{{- end -}}
{{- end -}}

{{- /* Address and key for a client: root, user. */ -}}
{{- define "audio-tune.registry-env" -}}
- {name: MLFLOW_TRACKING_URI, value: {{ include "audio-tune.registry-url" .root | quote }}}
{{- with include "audio-tune.registry-secret" . }}
- name: MLFLOW_TRACKING_TOKEN
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: token}}
{{- end }}
{{- end -}}

{{- /* The keys that the server takes. */ -}}
{{- define "audio-tune.registry-keys-env" -}}
- name: AUDIOTUNE_REGISTRY_WRITE_KEY
  valueFrom: {secretKeyRef: {name: {{ include "audio-tune.registry-secret" (dict "root" . "user" "pipelines") | quote }}, key: token}}
- name: AUDIOTUNE_REGISTRY_READ_KEY
  valueFrom: {secretKeyRef: {name: {{ include "audio-tune.registry-secret" (dict "root" . "user" "generation") | quote }}, key: token}}
{{- end -}}

{{- /* What the secrets job makes for them, as a JSON list: root, labels. */ -}}
{{- define "audio-tune.registry-wanted" -}}
{{- $secrets := list -}}
{{- if eq .root.Values.registry.kind "bundled" -}}
{{- range $user := list "generation" "pipelines" -}}
{{- $secrets = append $secrets (dict "name" (include "audio-tune.registry-secret" (dict "root" $.root "user" $user)) "labels" $.labels "data" (dict "token" (dict "random" 40))) -}}
{{- end -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end -}}
