{{- /* Presets: what is null in a `gpu` value comes from files/presets.yaml. */ -}}

{{- /* root, gpu (the value), use (generation or pipelines). Gives one flat map as YAML. */ -}}
{{- define "audio-tune.gpu" -}}
{{- $presets := .root.Files.Get "files/presets.yaml" | fromYaml -}}
{{- $preset := index $presets .gpu.preset -}}
{{- $made := merge (dict) (index $preset .use) (omit $preset "generation" "pipelines") -}}
{{- range $key, $value := .gpu -}}
{{- if not (kindIs "invalid" $value) }}{{- $_ := set $made $key $value }}{{- end -}}
{{- end -}}
{{- toYaml $made -}}
{{- end -}}

{{- /* Limits of a container; a claim is named instead of a resource. */ -}}
{{- define "audio-tune.gpu-resources" -}}
{{- $resources := deepCopy .resources -}}
{{- if and (gt (int .gpu.count) 0) (eq .gpu.device "plugin") -}}
{{- $_ := set $resources.limits .gpu.resource (int .gpu.count) -}}
{{- $_ := set $resources.requests .gpu.resource (int .gpu.count) -}}
{{- end -}}
{{- include "audio-tune.resources" $resources }}
{{- if and (gt (int .gpu.count) 0) (eq .gpu.device "claim") }}
  claims:
    - name: gpu
{{- end }}
{{- end -}}

{{- /* The placement of a part with the preset's selector and tolerations under its own. */ -}}
{{- define "audio-tune.gpu-placement" -}}
{{- $made := deepCopy .values -}}
{{- $_ := set $made "nodeSelector" (merge (dict) (.values.nodeSelector | default dict) (.gpu.nodeSelector | default dict)) -}}
{{- $_ := set $made "tolerations" (concat (.values.tolerations | default list) (.gpu.tolerations | default list)) -}}
{{- toYaml (pick $made "nodeSelector" "tolerations" "affinity" "priorityClassName") -}}
{{- end -}}

{{- define "audio-tune.gpu-api" -}}
{{- /* by the version alone: without a cluster, Helm believes in every API that it knows itself */ -}}
{{- if semverCompare ">=1.34.0-0" .Capabilities.KubeVersion.Version -}}
resource.k8s.io/v1
{{- else -}}
resource.k8s.io/v1beta1
{{- end -}}
{{- end -}}
