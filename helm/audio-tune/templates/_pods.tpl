{{- /* What all pods have in common: PodSecurity "restricted", no token, where they may run. */ -}}

{{- /* root, part, values (a Placement), user (number or none), token (true where the pod talks to the API), class. */ -}}
{{- define "audio-tune.pod" -}}
{{- $values := .values | default dict -}}
{{- $pods := .root.Values.pods -}}
serviceAccountName: {{ .account | default (printf "%s-pods" (include "audio-tune.name" .root)) }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- $classes := .root.Values.priorityClasses -}}
{{- $own := $values.priorityClassName | default (ternary (printf "%s-%s" (include "audio-tune.name" .root) (.class | default "services")) $pods.priorityClassName $classes.create) -}}
{{- with $own }}
priorityClassName: {{ . | quote }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- if .user }}
  runAsUser: {{ int64 .user }}
  runAsGroup: {{ int64 .user }}
  fsGroup: {{ int64 .user }}
  {{- else }}
  {{- if $pods.runAsUser }}
  runAsUser: {{ int64 $pods.runAsUser }}
  runAsGroup: 0
  {{- end }}
  {{- if $pods.fsGroup }}
  fsGroup: {{ int64 $pods.fsGroup }}
  {{- end }}
  {{- end }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "audio-tune.spread" -}}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "audio-tune.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{- define "audio-tune.locked" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "audio-tune.resources" -}}
{{- $limits := dict -}}
{{- range $name, $amount := .limits }}{{- if $amount }}{{- $_ := set $limits $name $amount }}{{- end }}{{- end -}}
resources:
  requests: {{- toYaml .requests | nindent 4 }}
  limits: {{- toYaml $limits | nindent 4 }}
{{- end -}}

{{- /* A volume of the node that is lost with the pod. */ -}}
{{- define "audio-tune.scratch" -}}
- name: {{ .name }}
  emptyDir: {sizeLimit: {{ .size | quote }}}
{{- end -}}

{{- define "audio-tune.pod-annotations" -}}
{{- with .values.annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
