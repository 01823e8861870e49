{{- /* What the compiled pipelines need to know of this cluster, as JSON. The keys below `cluster` are those of the recipe's table. */ -}}
{{- define "audio-tune.cluster" -}}
{{- $gpu := include "audio-tune.gpu" (dict "root" . "gpu" .Values.pipelines.gpu "use" "pipelines") | fromYaml -}}
{{- $taints := list -}}{{- $tolerations := list -}}
{{- range $gpu.tolerations -}}
{{- $taints = append $taints (.key | default "") -}}
{{- $tolerations = append $tolerations (dict "key" (.key | default "") "operator" (.operator | default "Equal") "value" (.value | default "") "effect" (.effect | default "")) -}}
{{- end -}}
{{- $cluster := dict
  "store" (include "audio-tune.store-url" .)
  "store_endpoint" (include "audio-tune.store-endpoint" .)
  "store_secret" (include "audio-tune.store-secret" (dict "root" . "user" "pipelines"))
  "store_region" .Values.objectStorage.region
  "mlflow" (include "audio-tune.registry-url" .)
  "mlflow_secret" (include "audio-tune.registry-secret" (dict "root" . "user" "pipelines"))
  "governance" (include "audio-tune.governance-url" .)
  "governance_secret" (include "audio-tune.governance-secret" (dict "root" . "of" "ingest"))
  "bases" .Values.bases
  "gpu_resource" ($gpu.resource | default "nvidia.com/gpu")
  "gpu_node_selector" ($gpu.nodeSelector | default dict)
  "gpu_taint" (first (append $taints ""))
-}}
{{- $settings := include "audio-tune.cluster-settings" (dict "root" . "values" .Values "gpu" $gpu) | fromYaml -}}
{{- $cluster = merge $cluster (omit $settings "recipe" "batch_size") -}}
{{- $images := dict "prepare" (include "audio-tune.image" (dict "root" . "image" "prepare")) "train" (include "audio-tune.image" (dict "root" . "image" "train")) -}}
{{- dict "cluster" $cluster "preset" $gpu.preset "recipe" $settings.recipe "batch_size" (int64 $settings.batch_size) "runtime_class" $gpu.runtimeClassName "device" $gpu.device "device_class" $gpu.deviceClass "tolerations" $tolerations "images" $images | toPrettyJson -}}
{{- end -}}
