{{- /* The studio's own knobs. */ -}}
{{- define "audio-tune.studio-env" -}}
{{- $values := .Values.studio -}}
- {name: AUDIOTUNE_ACCESS, value: {{ .Values.access.mode }}}
- {name: AUDIOTUNE_STUDIO_GENERATION_URL, value: {{ printf "http://%s-generation.%s.svc:3000" (include "audio-tune.name" .) .Release.Namespace | quote }}}
- {name: AUDIOTUNE_STUDIO_WORK_FOLDER, value: /tmp/studio}
- {name: AUDIOTUNE_STUDIO_UPLOAD_LIMIT_MB, value: {{ int $values.uploadLimitMb | quote }}}
- {name: AUDIOTUNE_STUDIO_RELEASES_BY, value: {{ $values.releasesBy }}}
- {name: AUDIOTUNE_STUDIO_GENERATION_LIMIT_S, value: {{ int $values.generationLimitSeconds | quote }}}
{{- if ne .Values.kfp.mode "none" }}
- {name: AUDIOTUNE_STUDIO_KFP_URL, value: {{ .Values.kfp.endpoint | quote }}}
{{- if eq .Values.kfp.mode "multi-user" }}
- {name: AUDIOTUNE_STUDIO_KFP_NAMESPACE, value: {{ .Release.Namespace | quote }}}
{{- with .Values.kfp.serviceAccount }}
- {name: AUDIOTUNE_STUDIO_KFP_SERVICE_ACCOUNT, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- with .Values.kfp.tokenSecret }}
- name: AUDIOTUNE_STUDIO_KFP_TOKEN
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: token}}
{{- end }}
{{- end }}
{{- end -}}
