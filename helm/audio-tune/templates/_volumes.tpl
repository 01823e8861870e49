{{- /* A volume that stays when the release goes: root, part, volume. Not a claim template of the StatefulSet, whose size nobody
can change later. */ -}}
{{- define "audio-tune.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "audio-tune.metadata" . | nindent 2 }}
  annotations: {helm.sh/resource-policy: keep}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .volume.storageClass }}
  storageClassName: {{ . | quote }}
  {{- end }}
  resources:
    requests: {storage: {{ .volume.size | quote }}}
{{- end -}}
