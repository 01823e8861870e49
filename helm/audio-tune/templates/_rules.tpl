{{- /* Written by `python -m deploy.chart.generate` from deploy/chart/rules.py. */ -}}
{{- define "audio-tune.rules" -}}
{{- $faults := list -}}
{{- with .Values -}}
{{- if (not .images.registry) -}}
{{- $faults = append $faults `images.registry: say where the images are, as in --set images.registry=registry.home:5000; 'make images REGISTRY=...' pushes them there` -}}
{{- end -}}
{{- if (and (eq .objectStorage.kind "external") (not .objectStorage.external.secret)) -}}
{{- $faults = append $faults `objectStorage.external.secret: an external store needs an existing Secret with accesskey and secretkey` -}}
{{- end -}}
{{- if (and (eq .registry.kind "bundled") (eq .database.kind "external") (not .database.external.host)) -}}
{{- $faults = append $faults `database.external.host: an external database needs a host name` -}}
{{- end -}}
{{- if (and (eq .registry.kind "bundled") (eq .database.kind "external") (not .database.external.secret)) -}}
{{- $faults = append $faults `database.external.secret: an external database needs an existing Secret with username and password` -}}
{{- end -}}
{{- if (and (eq .registry.kind "external") (not .registry.external.url)) -}}
{{- $faults = append $faults `registry.external.url: an external registry needs its address` -}}
{{- end -}}
{{- if (and (not (eq .kfp.mode "none")) (not .kfp.endpoint)) -}}
{{- $faults = append $faults `kfp.endpoint: say where its API answers, as in http://ml-pipeline.kubeflow:8888, or set kfp.mode to none` -}}
{{- end -}}
{{- if (gt (int .generation.autoscaling.minReplicas) (int .generation.autoscaling.maxReplicas)) -}}
{{- $faults = append $faults `generation.autoscaling.maxReplicas: must not be below minReplicas` -}}
{{- end -}}
{{- if (and (eq .generation.autoscaling.kind "keda") (not .generation.autoscaling.prometheusUrl)) -}}
{{- $faults = append $faults `generation.autoscaling.prometheusUrl: KEDA queries Prometheus for the queue; say where it answers` -}}
{{- end -}}
{{- if (and .ingress.enabled (not (or .ingress.studioHost .ingress.generationHost))) -}}
{{- $faults = append $faults `ingress.studioHost: an Ingress needs studioHost or generationHost` -}}
{{- end -}}
{{- if (and .httpRoute.enabled (not .httpRoute.parentRefs)) -}}
{{- $faults = append $faults `httpRoute.parentRefs: an HTTPRoute needs the Gateway it is attached to` -}}
{{- end -}}
{{- if (and .httpRoute.enabled (not (or .httpRoute.studioHost .httpRoute.generationHost))) -}}
{{- $faults = append $faults `httpRoute.studioHost: an HTTPRoute needs studioHost or generationHost` -}}
{{- end -}}
{{- if (and (eq .access.mode "open") (or .ingress.enabled .httpRoute.enabled)) -}}
{{- $faults = append $faults `access.mode: open lets everybody in; with an Ingress or HTTPRoute it must be members` -}}
{{- end -}}
{{- if (and (eq .studio.releasesBy "owners") (eq .access.mode "open")) -}}
{{- $faults = append $faults `studio.releasesBy: without sign-in owners are unknown; set access.mode to members` -}}
{{- end -}}
{{- if (and .studio.notices.webhook.url (not .studio.notices.webhook.secret)) -}}
{{- $faults = append $faults `studio.notices.webhook.secret: name the Secret with the key 'secret', which signs them` -}}
{{- end -}}
{{- if (and .studio.notices.mail.host (not .studio.notices.mail.sender)) -}}
{{- $faults = append $faults `studio.notices.mail.sender: say which address the mails come from` -}}
{{- end -}}
{{- if (and .studio.notices.matrix.url (not .studio.notices.matrix.room)) -}}
{{- $faults = append $faults `studio.notices.matrix.room: name the room by its id, as in !abcdef:band.example` -}}
{{- end -}}
{{- if (and .studio.notices.matrix.url (not .studio.notices.matrix.secret)) -}}
{{- $faults = append $faults `studio.notices.matrix.secret: name the Secret with the key 'token'` -}}
{{- end -}}
{{- if (and .studio.oidc.issuer (not .studio.oidc.clientId)) -}}
{{- $faults = append $faults `studio.oidc.clientId: say what the provider calls the studio` -}}
{{- end -}}
{{- if (and .studio.oidc.issuer (or (not (regexMatch "^https://" .studio.oidc.issuer)) (eq .access.mode "open"))) -}}
{{- $faults = append $faults `studio.oidc.issuer: it must begin with https://, and access.mode must be members` -}}
{{- end -}}
{{- if (and .studio.oidc.issuer (not (regexMatch "(^|\\s)openid(\\s|$)" .studio.oidc.scopes))) -}}
{{- $faults = append $faults `studio.oidc.scopes: they must hold openid, or the provider gives no name; as in openid email profile` -}}
{{- end -}}
{{- if (and .studio.oidc.issuer (not (or (regexMatch "^https://[^/]+/*$" .studio.oidc.url) (and (not .studio.oidc.url) (or (and .ingress.enabled .ingress.studioHost) (and .httpRoute.enabled .httpRoute.studioHost)))))) -}}
{{- $faults = append $faults `studio.oidc.url: the provider sends members back to an https address without a path: set it, or studioHost of an Ingress or HTTPRoute` -}}
{{- end -}}
{{- if (and (not (eq .generation.autoscaling.kind "none")) (eq (int .generation.replicas) 0)) -}}
{{- $faults = append $faults `generation.replicas: 0 pods and autoscaling contradict each other` -}}
{{- end -}}
{{- if (and (or (eq .objectStorage.kind "bundled") .objectStorage.external.makeBucket) (gt (int .objectStorage.lifecycle.jobsDays) 0) (or (eq (float64 .generation.keepDays) 0.0) (lt (float64 .objectStorage.lifecycle.jobsDays) (float64 .generation.keepDays)))) -}}
{{- $faults = append $faults `objectStorage.lifecycle.jobsDays: the store would remove jobs that generation.keepDays still keeps; make it as long, or 0` -}}
{{- end -}}
{{- if (regexMatch "(^|,)(AUDIOTUNE_|AWS_|MLFLOW_|HOME|XDG_CACHE_HOME)" (join "," (keys .generation.env))) -}}
{{- $faults = append $faults `generation.env: names beginning with AUDIOTUNE_, AWS_, MLFLOW_, HOME, XDG_CACHE_HOME are the chart's own; set the value that stands for it` -}}
{{- end -}}
{{- if (regexMatch "(^|,)(AUDIOTUNE_|AWS_|MLFLOW_|HOME|XDG_CACHE_HOME)" (join "," (keys .studio.env))) -}}
{{- $faults = append $faults `studio.env: names beginning with AUDIOTUNE_, AWS_, MLFLOW_, HOME, XDG_CACHE_HOME are the chart's own; set the value that stands for it` -}}
{{- end -}}
{{- end -}}
{{- if $faults -}}{{- fail (printf "\n- %s" (join "\n- " $faults)) -}}{{- end -}}
{{- end -}}
