{{- /* The service graph: which nodes are there, and how a NetworkPolicy names them. */ -}}

{{- /* Node -> true or false, as YAML. */ -}}
{{- define "audio-tune.nodes" -}}
{{- $v := .Values -}}
{{- $registry := eq $v.registry.kind "bundled" -}}
generation: true
studio: {{ $v.studio.enabled }}
governance: true
registry: {{ $registry }}
database: {{ and $registry (eq $v.database.kind "bundled") }}
object-store: {{ eq $v.objectStorage.kind "bundled" }}
jobs: true
cluster-jobs: true
withdrawals: true
backup: {{ $registry }}
bases: {{ not (empty $v.bases) }}
journey: {{ $v.journey.enabled }}
steps: {{ eq $v.kfp.mode "multi-user" }}
training: {{ and (eq $v.kfp.mode "multi-user") (gt (int $v.pipelines.nodes) 1) }}
kubernetes: true
internet: {{ $v.pipelines.internet }}
hub: {{ not (empty $v.bases) }}
webhooks: {{ ne $v.generation.webhooks.secret "" }}
notices: {{ and $v.studio.enabled (or $v.studio.notices.webhook.url $v.studio.notices.mail.host $v.studio.notices.matrix.url | empty | not) }}
routes: {{ or $v.ingress.enabled $v.httpRoute.enabled (not (empty $v.network.ingressFrom)) }}
prometheus: {{ or $v.monitoring.serviceMonitor.enabled (not (empty $v.monitoring.scrapeFrom)) }}
sign-in: {{ and $v.studio.enabled (not (empty $v.studio.oidc.issuer)) }}
kubeflow: {{ ne $v.kfp.mode "none" }}
external-store: {{ eq $v.objectStorage.kind "external" }}
external-database: {{ and $registry (eq $v.database.kind "external") }}
external-registry: {{ not $registry }}
{{- end -}}

{{- define "audio-tune.node-selector" -}}
{{- if eq .part "steps" -}}
matchExpressions:
  - {key: workflows.argoproj.io/workflow, operator: Exists}
{{- else if eq .part "training" -}}
matchLabels: {app.kubernetes.io/name: audio-tune, app.kubernetes.io/component: training}
{{- else -}}
matchLabels: {{- include "audio-tune.selector" . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- /* Peers of a rule: root, part. */ -}}
{{- define "audio-tune.peers" -}}
{{- $v := .root.Values -}}
{{- if hasKey .parts .part -}}
- podSelector: {{- include "audio-tune.node-selector" . | nindent 4 }}
{{- else if eq .part "routes" -}}
{{ toYaml ($v.network.ingressFrom | default (list (dict "namespaceSelector" dict))) }}
{{- else if eq .part "prometheus" -}}
{{ toYaml ($v.monitoring.scrapeFrom | default (list (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" "monitoring"))))) }}
{{- else if eq .part "kubeflow" -}}
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: {{ $v.kfp.namespace | quote }}}
{{- else -}}
{{ include "audio-tune.outside-peers" .root }}
{{- /* receivers of webhooks that are named may be pods, which are no ipBlock to some networks */}}
{{- if or (contains ".svc" (include "audio-tune.address" .)) (and (eq .part "webhooks") $v.generation.webhooks.hosts) (and (eq .part "notices") $v.studio.notices.hosts) }}
- namespaceSelector: {}
{{- end }}
{{- end -}}
{{- end -}}

{{- /* Where an outside node is, as far as the values say: an address inside the cluster is no ipBlock to some networks. */ -}}
{{- define "audio-tune.address" -}}
{{- $v := .root.Values -}}
{{- get (dict "external-store" $v.objectStorage.external.endpoint "external-database" $v.database.external.host "external-registry" $v.registry.external.url "sign-in" $v.studio.oidc.issuer "hub" $v.huggingFace.endpoint) .part -}}
{{- end -}}

{{- /* Everywhere outside but the blocked addresses. */ -}}
{{- define "audio-tune.outside-peers" -}}
{{- $four := list -}}{{- $six := list -}}
{{- range .Values.network.blocked -}}
{{- if contains ":" . }}{{- $six = append $six . }}{{- else }}{{- $four = append $four . }}{{- end -}}
{{- end -}}
- ipBlock:
    cidr: 0.0.0.0/0
    {{- with $four }}
    except: {{- toYaml . | nindent 6 }}
    {{- end }}
- ipBlock:
    cidr: ::/0
    {{- with $six }}
    except: {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end -}}

{{- /* Ports of an arrow; those of outside nodes are values. */ -}}
{{- define "audio-tune.ports" -}}
{{- $v := .root.Values -}}
{{- $own := dict "external-store" $v.objectStorage.external.port "external-database" $v.database.external.port "external-registry" $v.registry.external.port "sign-in" $v.studio.oidc.port -}}
{{- $ports := list (get $own .to | default .port) -}}
{{- if eq .to "webhooks" -}}
{{- range $v.generation.webhooks.hosts }}{{- with regexFind ":[0-9]+$" . }}{{- $ports = append $ports (trimPrefix ":" .) }}{{- end }}{{- end -}}
{{- $ports = without $ports "443" | uniq -}}
{{- end -}}
{{- if eq .to "notices" -}}
{{- with $v.studio.notices -}}
{{- if .mail.host }}{{- $ports = append $ports (print (int .mail.port)) }}{{- end -}}
{{- range .hosts }}{{- with regexFind ":[0-9]+$" . }}{{- $ports = append $ports (trimPrefix ":" .) }}{{- end }}{{- end -}}
{{- $ports = without $ports "443" | uniq -}}
{{- end -}}
{{- end -}}
{{- if eq .to "hub" -}}
{{- with $v.huggingFace.endpoint -}}
{{- $ports = list (regexFind ":[0-9]+$" (get (urlParse .) "host") | trimPrefix ":" | default (ternary "80" "443" (hasPrefix "http:" .))) -}}
{{- end -}}
{{- end -}}
{{- if eq .to "kubernetes" }}{{- $ports = $v.network.apiPorts }}{{- end -}}
{{- range $ports }}
- {protocol: TCP, port: {{ int . }}}
{{- end }}
{{- end -}}
