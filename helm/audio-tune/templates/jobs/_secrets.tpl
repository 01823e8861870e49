{{- /* What the secrets job makes, as JSON: only what nobody named in the values. */ -}}
{{- define "audio-tune.wanted" -}}
{{- $name := include "audio-tune.name" . -}}
{{- $v := .Values -}}
{{- $labels := include "audio-tune.labels" (dict "root" . "part" "cluster-jobs") | fromYaml -}}
{{- $key := dict "random" 40 -}}
{{- $secrets := list -}}{{- $volumes := list -}}
{{- if eq $v.objectStorage.kind "bundled" -}}
{{- if not $v.objectStorage.bundled.rootSecret -}}
{{- $secrets = append $secrets (dict "name" (printf "%s-object-store" $name) "labels" $labels "data" (dict "accesskey" (dict "value" "admin") "secretkey" $key)) -}}
{{- end -}}
{{- range $user := include "audio-tune.store-users" . | splitList "," -}}
{{- $secrets = append $secrets (dict "name" (printf "%s-store-%s" $name $user) "labels" $labels "data" (dict "accesskey" (dict "value" $user) "secretkey" $key)) -}}
{{- end -}}
{{- $volumes = append $volumes (dict "claim" (printf "%s-object-store" $name) "key" "objectStorage.bundled" "size" $v.objectStorage.bundled.size "storageClass" $v.objectStorage.bundled.storageClass) -}}
{{- end -}}
{{- if and (eq $v.registry.kind "bundled") (eq $v.database.kind "bundled") -}}
{{- if not $v.database.bundled.secret -}}
{{- $secrets = append $secrets (dict "name" (printf "%s-database" $name) "labels" $labels "data" (dict "username" (dict "value" "mlflow") "password" $key)) -}}
{{- end -}}
{{- $volumes = append $volumes (dict "claim" (printf "%s-database" $name) "key" "database.bundled" "size" $v.database.bundled.size "storageClass" $v.database.bundled.storageClass) -}}
{{- end -}}
{{- range $of := list "studio" "ingest" "erasure" "tickets" "ledger" -}}
{{- if not (get $v.governance.secrets $of) -}}
{{- $secrets = append $secrets (dict "name" (printf "%s-governance-%s" $name $of) "labels" $labels "data" (dict "key" $key)) -}}
{{- end -}}
{{- end -}}
{{- $secrets = concat $secrets (include "audio-tune.registry-wanted" (dict "root" . "labels" $labels) | fromJsonArray) -}}
{{- dict "secrets" $secrets "volumes" $volumes | toPrettyJson -}}
{{- end -}}

{{- define "audio-tune.store-users" -}}studio,generation,pipelines,registry,governance,backup,erasure{{- end -}}

{{- /* Names the job may read. */ -}}
{{- define "audio-tune.wanted-names" -}}
{{- $names := list -}}
{{- range (include "audio-tune.wanted" . | fromJson).secrets -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- $names | uniq | sortAlpha | toYaml -}}
{{- end -}}
