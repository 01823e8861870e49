{{- /* Environment variables of our programs. Lists of items; each name once. */ -}}

{{- define "audio-tune.store-url" -}}
{{- with .Values.objectStorage -}}
s3://{{ .bucket }}{{ with .prefix }}/{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "audio-tune.store-endpoint" -}}
{{- if eq .Values.objectStorage.kind "bundled" -}}
http://{{ include "audio-tune.name" . }}-object-store.{{ .Release.Namespace }}.svc:9000
{{- else -}}
{{ .Values.objectStorage.external.endpoint }}
{{- end -}}
{{- end -}}

{{- /* The Secret of a user of the store: root, user. */ -}}
{{- define "audio-tune.store-secret" -}}
{{- $storage := .root.Values.objectStorage -}}
{{- if eq $storage.kind "external" -}}
{{- default $storage.external.secret (get $storage.external.secrets .user) -}}
{{- else if eq .user "root" -}}
{{- default (printf "%s-object-store" (include "audio-tune.name" .root)) $storage.bundled.rootSecret -}}
{{- else -}}
{{ include "audio-tune.name" .root }}-store-{{ .user }}
{{- end -}}
{{- end -}}

{{- /* root, user, and url where it is not the group's store. */ -}}
{{- define "audio-tune.store-env" -}}
{{- $storage := .root.Values.objectStorage -}}
{{- $secret := include "audio-tune.store-secret" . -}}
- {name: AUDIOTUNE_STORE, value: {{ .url | default (include "audio-tune.store-url" .root) | quote }}}
{{- with include "audio-tune.store-endpoint" .root }}
- {name: AWS_ENDPOINT_URL_S3, value: {{ . | quote }}}
{{- end }}
- {name: AWS_REGION, value: {{ $storage.region | quote }}}
- {name: AWS_EC2_METADATA_DISABLED, value: "true"}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: accesskey}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: secretkey}}
{{- if eq $storage.kind "external" }}
{{- if not $storage.external.pathStyle }}
- {name: AUDIOTUNE_STORE_STYLE, value: virtual}
{{- end }}
{{- if $storage.external.caConfigMap }}
- {name: AWS_CA_BUNDLE, value: /etc/audio-tune/ca/ca.crt}
{{- end }}
{{- end }}
{{- end -}}

{{- define "audio-tune.ca-mount" -}}
{{- if include "audio-tune.has-ca" . }}
- {name: store-ca, mountPath: /etc/audio-tune/ca, readOnly: true}
{{- end }}
{{- end -}}

{{- define "audio-tune.ca-volume" -}}
{{- if include "audio-tune.has-ca" . }}
- name: store-ca
  configMap: {name: {{ .Values.objectStorage.external.caConfigMap | quote }}}
{{- end }}
{{- end -}}

{{- define "audio-tune.has-ca" -}}
{{- if and (eq .Values.objectStorage.kind "external") .Values.objectStorage.external.caConfigMap -}}yes{{- end -}}
{{- end -}}

{{- define "audio-tune.registry-url" -}}
{{- if eq .Values.registry.kind "bundled" -}}
http://{{ include "audio-tune.name" . }}-registry.{{ .Release.Namespace }}.svc:5000
{{- else -}}
{{ .Values.registry.external.url }}
{{- end -}}
{{- end -}}

{{- define "audio-tune.governance-url" -}}
http://{{ include "audio-tune.name" . }}-governance.{{ .Release.Namespace }}.svc:7870
{{- end -}}

{{- /* The Secret of a caller of the governance service, or of its tickets: root, of. */ -}}
{{- define "audio-tune.governance-secret" -}}
{{- default (printf "%s-governance-%s" (include "audio-tune.name" .root) .of) (get .root.Values.governance.secrets .of) -}}
{{- end -}}

{{- /* What makes a program write agreements, consents, accounts and tokens by the governance service: root, of. */ -}}
{{- define "audio-tune.governance-env" -}}
- {name: AUDIOTUNE_GOVERNANCE_URL, value: {{ include "audio-tune.governance-url" .root | quote }}}
- name: AUDIOTUNE_GOVERNANCE_KEY
  valueFrom: {secretKeyRef: {name: {{ include "audio-tune.governance-secret" . | quote }}, key: key}}
{{- end -}}

{{- /* libpq's own variables: a password with any character needs no escaping, and stands in no argument. */ -}}
{{- define "audio-tune.database-env" -}}
{{- $secret := include "audio-tune.database-secret" . -}}
- {name: PGHOST, value: {{ include "audio-tune.database-host" . | quote }}}
- {name: PGPORT, value: {{ ternary 5432 .Values.database.external.port (eq .Values.database.kind "bundled") | quote }}}
- {name: PGDATABASE, value: {{ .Values.database.name | quote }}}
- {name: PGSSLMODE, value: {{ ternary "disable" .Values.database.external.sslMode (eq .Values.database.kind "bundled") | quote }}}
- name: PGUSER
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: username}}
- name: PGPASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret | quote }}, key: password}}
{{- end -}}

{{- define "audio-tune.database-host" -}}
{{- if eq .Values.database.kind "bundled" -}}
{{ include "audio-tune.name" . }}-database.{{ .Release.Namespace }}.svc
{{- else -}}
{{ .Values.database.external.host }}
{{- end -}}
{{- end -}}

{{- define "audio-tune.database-secret" -}}
{{- if eq .Values.database.kind "external" -}}
{{ .Values.database.external.secret }}
{{- else -}}
{{ default (printf "%s-database" (include "audio-tune.name" .)) .Values.database.bundled.secret }}
{{- end -}}
{{- end -}}

{{- /* What every program of ours wants to hear. The root file system is read-only: home is /tmp. */ -}}
{{- define "audio-tune.common-env" -}}
- {name: HOME, value: /tmp}
- {name: AUDIOTUNE_CACHE, value: /cache}
- {name: PYTHONUNBUFFERED, value: "1"}
- {name: PYTHONDONTWRITEBYTECODE, value: "1"}
{{- end -}}

{{- define "audio-tune.more-env" -}}
{{- range $name, $value := . }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end -}}
