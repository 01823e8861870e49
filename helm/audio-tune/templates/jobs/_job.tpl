{{- /* What all jobs have in common. */ -}}
{{- define "audio-tune.job-spec" -}}
backoffLimit: {{ int .root.Values.jobs.attempts }}
activeDeadlineSeconds: {{ int (.deadline | default .root.Values.jobs.deadlineSeconds) }}
{{- end -}}

{{- /* Kubernetes refuses changes to a job, so each revision has its own; Argo CD, which knows no revisions, runs it anew. */ -}}
{{- define "audio-tune.job-metadata" -}}
name: {{ include "audio-tune.name" .root }}-{{ .name }}-r{{ .root.Release.Revision }}
namespace: {{ .root.Release.Namespace | quote }}
labels: {{- include "audio-tune.labels" . | nindent 2 }}
annotations: {argocd.argoproj.io/hook: Sync, argocd.argoproj.io/hook-delete-policy: BeforeHookCreation}
{{- end -}}

{{- define "audio-tune.hook" -}}
annotations:
  helm.sh/hook: {{ .on }}
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation{{ if .gone }},hook-succeeded{{ end }}
  {{- if .log }}
  helm.sh/hook-output-log-policy: hook-failed
  {{- end }}
{{- end -}}

{{- define "audio-tune.script-volume" -}}
- name: script
  configMap: {name: {{ .name }}}
{{- end -}}
