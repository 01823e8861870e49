{{- /* Containers around a dump: the server's own tools, then our store. root. */ -}}
{{- define "audio-tune.dump-container" -}}
- name: dump
  {{- include "audio-tune.container-image" (dict "root" .root "image" "database") | nindent 2 }}
  command: [pg_dump, --format=custom, --no-owner, --file=/work/database.dump]
  env:
    {{- include "audio-tune.database-env" .root | nindent 4 }}
  {{- include "audio-tune.locked" . | nindent 2 }}
  {{- include "audio-tune.resources" .root.Values.jobs.resources | nindent 2 }}
  volumeMounts:
    - {name: work, mountPath: /work}
    - {name: tmp, mountPath: /tmp}
{{- end -}}

{{- /* root, verb (keep or fetch), user of the store where it is not `backup`. */ -}}
{{- define "audio-tune.backup-container" -}}
- name: {{ .verb }}
  {{- include "audio-tune.container-image" (dict "root" .root "image" "prepare") | nindent 2 }}
  command: [python, -m, audiotune.store.backup, {{ .verb }}, database, /work/database.dump]
  env:
    {{- include "audio-tune.common-env" .root | nindent 4 }}
    {{- include "audio-tune.store-env" (dict "root" .root "user" (.user | default "backup")) | nindent 4 }}
  {{- include "audio-tune.locked" . | nindent 2 }}
  {{- include "audio-tune.resources" .root.Values.jobs.resources | nindent 2 }}
  volumeMounts:
    - {name: work, mountPath: /work}
    - {name: tmp, mountPath: /tmp}
    {{- include "audio-tune.ca-mount" .root | nindent 4 }}
{{- end -}}

{{- define "audio-tune.backup-volumes" -}}
{{- include "audio-tune.scratch" (dict "name" "tmp" "size" "64Mi") }}
{{ include "audio-tune.scratch" (dict "name" "work" "size" "2Gi") }}
{{- include "audio-tune.ca-volume" . }}
{{- end -}}
