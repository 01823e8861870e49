{{- /* What the compiled pipelines need to know of this cluster, as JSON. The keys below `cluster` are those of the recipe's table. */ -}}
{{- define "audio-tune.cluster" -}}
{{- $v := .Values.pipelines -}}
{{- $gpu := include "audio-tune.gpu" (dict "root" . "gpu" $v.gpu "use" "pipelines") | fromYaml -}}
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
  "service_account" (ternary .Values.kfp.serviceAccount "" (eq .Values.kfp.mode "multi-user"))
  "gpu_resource" ($gpu.resource | default "nvidia.com/gpu")
  "gpus" (int $gpu.count)
  "nodes" (int $v.nodes)
  "gpu_node_selector" ($gpu.nodeSelector | default dict)
  "gpu_taint" (first (append $taints ""))
  "shared_memory" $gpu.sharedMemory
  "cpu_request" $v.cpuRequest
  "memory_request" $v.memoryRequest
  "memory_limit" $v.memoryLimit
  "gpu_memory_limit" $v.gpuMemoryLimit
  "gpu_timeout_s" (int $v.gpuTimeoutSeconds)
  "retries" (int $v.retries)
-}}
{{- $images := dict "prepare" (include "audio-tune.image" (dict "root" . "image" "prepare")) "train" (include "audio-tune.image" (dict "root" . "image" "train")) -}}
{{- dict "cluster" $cluster "preset" $gpu.preset "recipe" $gpu.recipe "batch_size" (int $gpu.batchSize) "runtime_class" $gpu.runtimeClassName "device" $gpu.device "device_class" $gpu.deviceClass "tolerations" $tolerations "images" $images | toPrettyJson -}}
{{- end -}}
