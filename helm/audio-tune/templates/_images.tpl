{{- /* References of images: registry/name[:tag][@digest]. */ -}}
{{- define "audio-tune.image" -}}
{{- $images := .root.Values.images -}}
{{- $image := index $images .image -}}
{{- $reference := printf "%s/%s" (default $images.registry $image.registry) $image.name -}}
{{- $tag := default .root.Chart.AppVersion $image.tag -}}
{{- if $image.digest -}}{{ printf "%s:%s@%s" $reference $tag $image.digest }}{{- else -}}{{ printf "%s:%s" $reference $tag }}{{- end -}}
{{- end -}}

{{- define "audio-tune.container-image" -}}
image: {{ include "audio-tune.image" . }}
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
{{- end -}}
