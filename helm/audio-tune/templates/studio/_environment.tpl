{{- /* The studio's own knobs. */ -}}
{{- define "audio-tune.studio-env" -}}
{{- $values := .Values.studio -}}
- {name: AUDIOTUNE_ACCESS, value: {{ .Values.access.mode }}}
- {name: AUDIOTUNE_STUDIO_GENERATION_URL, value: {{ printf "http://%s-generation.%s.svc:3000" (include "audio-tune.name" .) .Release.Namespace | quote }}}
- {name: AUDIOTUNE_STUDIO_WORK_FOLDER, value: /tmp/studio}
- {name: AUDIOTUNE_STUDIO_UPLOAD_LIMIT_MB, value: {{ int $values.uploadLimitMb | quote }}}
- {name: AUDIOTUNE_STUDIO_RELEASES_BY, value: {{ $values.releasesBy }}}
- {name: AUDIOTUNE_STUDIO_GENERATION_LIMIT_S, value: {{ int $values.generationLimitSeconds | quote }}}
{{- with $values.oidc }}
{{- if .issuer }}
{{- $host := ternary $.Values.ingress.studioHost $.Values.httpRoute.studioHost (and $.Values.ingress.enabled (not (empty $.Values.ingress.studioHost))) }}
- {name: AUDIOTUNE_STUDIO_PUBLIC_URL, value: {{ .url | default (printf "https://%s" $host) | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_ISSUER, value: {{ .issuer | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_CLIENT_ID, value: {{ .clientId | quote }}}
{{- if .secret }}
- name: AUDIOTUNE_STUDIO_OIDC_CLIENT_SECRET
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: client-secret}}
{{- end }}
- {name: AUDIOTUNE_STUDIO_OIDC_NAME, value: {{ .name | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_SCOPES, value: {{ .scopes | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_MEMBER_CLAIM, value: {{ .memberClaim | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_CLAIM_IS_MEMBER, value: {{ .claimIsMember | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_GROUPS, value: {{ join "," .groups | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_GROUPS_CLAIM, value: {{ .groupsClaim | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_SESSION_H, value: {{ .sessionHours | quote }}}
{{- if .caConfigMap }}
- {name: AUDIOTUNE_STUDIO_OIDC_CA, value: /etc/audio-tune/oidc/ca.crt}
{{- end }}
{{- end }}
{{- end }}
{{- if ne .Values.kfp.mode "none" }}
- {name: AUDIOTUNE_STUDIO_KFP_URL, value: {{ .Values.kfp.endpoint | quote }}}
{{- with .Values.kfp.pages }}
- {name: AUDIOTUNE_STUDIO_KFP_PAGES, value: {{ . | quote }}}
{{- end }}
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
