{{- /* Written by `python -m deploy.chart.generate` from deploy/chart/service_values.py; change it there.
root; values: those of the chart, or what stands for them; gpu: the resolved machine. */ -}}
{{- define "audio-tune.generation-settings" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $gpu := .gpu -}}
- {name: AUDIOTUNE_ACCESS, value: {{ $values.access.mode | quote }}}
- {name: AUDIOTUNE_GENERATION_RELEASE, value: {{ $values.generation.release.name | quote }}}
- {name: AUDIOTUNE_GENERATION_ALIAS, value: {{ $values.generation.release.alias | quote }}}
- {name: AUDIOTUNE_GENERATION_CANDIDATES, value: {{ $values.generation.release.candidates | quote }}}
- {name: AUDIOTUNE_GENERATION_QUEUE, value: {{ int64 $values.generation.queue | quote }}}
- {name: AUDIOTUNE_GENERATION_QUEUE_S, value: {{ $values.generation.queueSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_BATCH_S, value: {{ $values.generation.batchSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_BODY_MB, value: {{ $values.generation.bodyMb | quote }}}
- {name: AUDIOTUNE_GENERATION_INIT_S, value: {{ $values.generation.initSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_RATE_PER_MINUTE, value: {{ int64 $values.generation.allowance.ratePerMinute | quote }}}
- {name: AUDIOTUNE_GENERATION_SOUND_S_PER_DAY, value: {{ $values.generation.allowance.soundSecondsPerDay | quote }}}
- {name: AUDIOTUNE_GENERATION_KEPT_MB_PER_DAY, value: {{ $values.generation.allowance.keptMbPerDay | quote }}}
- {name: AUDIOTUNE_GENERATION_MEMBER_QUEUE, value: {{ int64 $values.generation.allowance.queue | quote }}}
- {name: AUDIOTUNE_GENERATION_MEMBER_JOBS, value: {{ int64 $values.generation.allowance.jobs | quote }}}
{{- if $values.generation.webhooks.secret }}
- name: AUDIOTUNE_GENERATION_WEBHOOK_SECRET
  valueFrom: {secretKeyRef: {name: {{ $values.generation.webhooks.secret | quote }}, key: secret}}
- {name: AUDIOTUNE_GENERATION_WEBHOOK_HOSTS, value: {{ join "," $values.generation.webhooks.hosts | quote }}}
{{- end }}
- {name: AUDIOTUNE_GENERATION_POLL_S, value: {{ $values.generation.pollSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_LEDGER_S, value: {{ $values.generation.ledgerSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_CONSENT_S, value: {{ $values.generation.consentSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_ADAPTERS, value: {{ $values.generation.adapters | quote }}}
- {name: AUDIOTUNE_GENERATION_GRACE_S, value: {{ $values.generation.graceSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_KEEP, value: {{ $values.generation.keep | quote }}}
- {name: AUDIOTUNE_GENERATION_KEEP_DAYS, value: {{ $values.generation.keepDays | quote }}}
- {name: AUDIOTUNE_GENERATION_LOG_PROMPTS, value: {{ $values.generation.logPrompts | quote }}}
- {name: AUDIOTUNE_GENERATION_CORS_ORIGINS, value: {{ join "," $values.generation.corsOrigins | quote }}}
- {name: AUDIOTUNE_GENERATION_ROOT_PATH, value: {{ $values.generation.rootPath | quote }}}
- {name: AUDIOTUNE_GENERATION_BATCH, value: {{ int64 $gpu.batchSize | quote }}}
- {name: AUDIOTUNE_GENERATION_PATIENCE_S, value: {{ int64 $values.generation.longestSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_DRAIN_S, value: {{ int64 $values.generation.longestSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_DEVICE, value: {{ ternary "cuda" "cpu" (gt (int $gpu.count) 0) | quote }}}
{{- end -}}
{{- define "audio-tune.studio-settings" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $gpu := .gpu -}}
- {name: AUDIOTUNE_ACCESS, value: {{ $values.access.mode | quote }}}
- {name: AUDIOTUNE_STUDIO_RELEASES_BY, value: {{ $values.studio.releasesBy | quote }}}
{{- if $values.studio.oidc.issuer }}
- {name: AUDIOTUNE_STUDIO_OIDC_ISSUER, value: {{ $values.studio.oidc.issuer | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_CLIENT_ID, value: {{ $values.studio.oidc.clientId | quote }}}
{{- end }}
{{- if and ($values.studio.oidc.issuer) $values.studio.oidc.secret }}
- name: AUDIOTUNE_STUDIO_OIDC_CLIENT_SECRET
  valueFrom: {secretKeyRef: {name: {{ $values.studio.oidc.secret | quote }}, key: client-secret}}
{{- end }}
{{- if $values.studio.oidc.issuer }}
- {name: AUDIOTUNE_STUDIO_OIDC_NAME, value: {{ $values.studio.oidc.name | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_SCOPES, value: {{ $values.studio.oidc.scopes | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_MEMBER_CLAIM, value: {{ $values.studio.oidc.memberClaim | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_CLAIM_IS_MEMBER, value: {{ $values.studio.oidc.claimIsMember | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_GROUPS, value: {{ join "," $values.studio.oidc.groups | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_GROUPS_CLAIM, value: {{ $values.studio.oidc.groupsClaim | quote }}}
- {name: AUDIOTUNE_STUDIO_PUBLIC_URL, value: {{ $values.studio.oidc.url | default (printf "https://%s" (ternary $values.ingress.studioHost $values.httpRoute.studioHost (and $values.ingress.enabled (not (empty $values.ingress.studioHost))))) | quote }}}
- {name: AUDIOTUNE_STUDIO_OIDC_SESSION_H, value: {{ $values.studio.oidc.sessionHours | quote }}}
{{- end }}
{{- if $values.studio.notices.webhook.url }}
- {name: AUDIOTUNE_STUDIO_NOTICE_WEBHOOK, value: {{ $values.studio.notices.webhook.url | quote }}}
{{- end }}
{{- if and ($values.studio.notices.webhook.url) $values.studio.notices.webhook.secret }}
- name: AUDIOTUNE_STUDIO_NOTICE_WEBHOOK_SECRET
  valueFrom: {secretKeyRef: {name: {{ $values.studio.notices.webhook.secret | quote }}, key: secret}}
{{- end }}
{{- if $values.studio.notices.mail.host }}
- {name: AUDIOTUNE_STUDIO_SMTP_HOST, value: {{ $values.studio.notices.mail.host | quote }}}
- {name: AUDIOTUNE_STUDIO_SMTP_PORT, value: {{ int64 $values.studio.notices.mail.port | quote }}}
- {name: AUDIOTUNE_STUDIO_SMTP_SECURITY, value: {{ $values.studio.notices.mail.security | quote }}}
- {name: AUDIOTUNE_STUDIO_SMTP_USER, value: {{ $values.studio.notices.mail.user | quote }}}
{{- end }}
{{- if and ($values.studio.notices.mail.host) $values.studio.notices.mail.secret }}
- name: AUDIOTUNE_STUDIO_SMTP_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $values.studio.notices.mail.secret | quote }}, key: password}}
{{- end }}
{{- if $values.studio.notices.mail.host }}
- {name: AUDIOTUNE_STUDIO_SMTP_FROM, value: {{ $values.studio.notices.mail.sender | quote }}}
{{- end }}
{{- if $values.studio.notices.matrix.url }}
- {name: AUDIOTUNE_STUDIO_MATRIX_URL, value: {{ $values.studio.notices.matrix.url | quote }}}
- {name: AUDIOTUNE_STUDIO_MATRIX_ROOM, value: {{ $values.studio.notices.matrix.room | quote }}}
{{- end }}
{{- if and ($values.studio.notices.matrix.url) $values.studio.notices.matrix.secret }}
- name: AUDIOTUNE_STUDIO_MATRIX_TOKEN
  valueFrom: {secretKeyRef: {name: {{ $values.studio.notices.matrix.secret | quote }}, key: token}}
{{- end }}
- {name: AUDIOTUNE_STUDIO_NOTICE_HOSTS, value: {{ join "," $values.studio.notices.hosts | quote }}}
- {name: AUDIOTUNE_STUDIO_UPLOAD_LIMIT_MB, value: {{ int64 $values.studio.uploadLimitMb | quote }}}
- {name: AUDIOTUNE_STUDIO_UPLOAD_QUOTA_GB, value: {{ $values.studio.uploadQuotaGb | quote }}}
- {name: AUDIOTUNE_STUDIO_HOSTS, value: {{ join "," (compact (concat $values.studio.hosts (list $values.ingress.studioHost $values.httpRoute.studioHost))) | quote }}}
- {name: AUDIOTUNE_STUDIO_ROOT_PATH, value: {{ $values.studio.rootPath | quote }}}
- {name: AUDIOTUNE_STUDIO_PROXIES, value: {{ join "," $values.studio.proxies | quote }}}
- {name: AUDIOTUNE_STUDIO_GENERATION_LIMIT_S, value: {{ int64 $values.studio.generationLimitSeconds | quote }}}
{{- if ne $values.kfp.mode "none" }}
- {name: AUDIOTUNE_STUDIO_KFP_URL, value: {{ $values.kfp.endpoint | quote }}}
- {name: AUDIOTUNE_STUDIO_KFP_PAGES, value: {{ $values.kfp.pages | quote }}}
{{- end }}
{{- if and (ne $values.kfp.mode "none") $values.kfp.tokenSecret }}
- name: AUDIOTUNE_STUDIO_KFP_TOKEN
  valueFrom: {secretKeyRef: {name: {{ $values.kfp.tokenSecret | quote }}, key: token}}
{{- end }}
{{- if eq $values.kfp.mode "multi-user" }}
- {name: AUDIOTUNE_STUDIO_KFP_SERVICE_ACCOUNT, value: {{ $values.kfp.serviceAccount | quote }}}
{{- end }}
- {name: AUDIOTUNE_STUDIO_GENERATION_URL, value: {{ printf "http://%s-generation.%s.svc:3000" (include "audio-tune.name" $root) $root.Release.Namespace | quote }}}
- {name: AUDIOTUNE_STUDIO_WORK_FOLDER, value: {{ "/tmp/studio" | quote }}}
{{- if and $values.studio.oidc.issuer $values.studio.oidc.caConfigMap }}
- {name: AUDIOTUNE_STUDIO_OIDC_CA, value: {{ "/etc/audio-tune/oidc/ca.crt" | quote }}}
{{- end }}
{{- if eq $values.kfp.mode "multi-user" }}
- {name: AUDIOTUNE_STUDIO_KFP_NAMESPACE, value: {{ $root.Release.Namespace | quote }}}
{{- end }}
{{- end -}}
{{- define "audio-tune.governance-settings" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $gpu := .gpu -}}
{{- if include "audio-tune.governance-secret" (dict "root" $root "of" "studio") }}
- name: AUDIOTUNE_GOVERNANCE_STUDIO_KEY
  valueFrom: {secretKeyRef: {name: {{ include "audio-tune.governance-secret" (dict "root" $root "of" "studio") | quote }}, key: key}}
{{- end }}
{{- if include "audio-tune.governance-secret" (dict "root" $root "of" "ingest") }}
- name: AUDIOTUNE_GOVERNANCE_INGEST_KEY
  valueFrom: {secretKeyRef: {name: {{ include "audio-tune.governance-secret" (dict "root" $root "of" "ingest") | quote }}, key: key}}
{{- end }}
{{- if include "audio-tune.governance-secret" (dict "root" $root "of" "erasure") }}
- name: AUDIOTUNE_GOVERNANCE_ERASURE_KEY
  valueFrom: {secretKeyRef: {name: {{ include "audio-tune.governance-secret" (dict "root" $root "of" "erasure") | quote }}, key: key}}
{{- end }}
{{- if include "audio-tune.governance-secret" (dict "root" $root "of" "tickets") }}
- name: AUDIOTUNE_GOVERNANCE_TICKET_KEY
  valueFrom: {secretKeyRef: {name: {{ include "audio-tune.governance-secret" (dict "root" $root "of" "tickets") | quote }}, key: key}}
{{- end }}
{{- if include "audio-tune.governance-secret" (dict "root" $root "of" "ledger") }}
- name: AUDIOTUNE_GOVERNANCE_LEDGER_KEY
  valueFrom: {secretKeyRef: {name: {{ include "audio-tune.governance-secret" (dict "root" $root "of" "ledger") | quote }}, key: key}}
{{- end }}
{{- if $values.governance.secrets.olderLedger }}
- name: AUDIOTUNE_GOVERNANCE_OLDER_LEDGER_KEY
  valueFrom: {secretKeyRef: {name: {{ $values.governance.secrets.olderLedger | quote }}, key: key}}
{{- end }}
{{- if $values.studio.oidc.issuer }}
- {name: AUDIOTUNE_GOVERNANCE_OIDC_ISSUER, value: {{ $values.studio.oidc.issuer | quote }}}
- {name: AUDIOTUNE_GOVERNANCE_OIDC_CLIENT_ID, value: {{ $values.studio.oidc.clientId | quote }}}
- {name: AUDIOTUNE_GOVERNANCE_OIDC_MEMBER_CLAIM, value: {{ $values.studio.oidc.memberClaim | quote }}}
- {name: AUDIOTUNE_GOVERNANCE_OIDC_CLAIM_IS_MEMBER, value: {{ $values.studio.oidc.claimIsMember | quote }}}
- {name: AUDIOTUNE_GOVERNANCE_OIDC_GROUPS, value: {{ join "," $values.studio.oidc.groups | quote }}}
- {name: AUDIOTUNE_GOVERNANCE_OIDC_GROUPS_CLAIM, value: {{ $values.studio.oidc.groupsClaim | quote }}}
{{- end }}
{{- if and $values.studio.oidc.issuer $values.studio.oidc.caConfigMap }}
- {name: AUDIOTUNE_GOVERNANCE_OIDC_CA, value: {{ "/etc/audio-tune/oidc/ca.crt" | quote }}}
{{- end }}
{{- end -}}
{{- define "audio-tune.cluster-settings" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $gpu := .gpu -}}
gpus: {{ int64 $gpu.count }}
shared_memory: {{ $gpu.sharedMemory | quote }}
batch_size: {{ int64 $gpu.batchSize }}
recipe: {{ $gpu.recipe | quote }}
nodes: {{ int64 $values.pipelines.nodes }}
retries: {{ int64 $values.pipelines.retries }}
gpu_timeout_s: {{ int64 $values.pipelines.gpuTimeoutSeconds }}
cpu_request: {{ $values.pipelines.cpuRequest | quote }}
memory_request: {{ $values.pipelines.memoryRequest | quote }}
memory_limit: {{ $values.pipelines.memoryLimit | quote }}
gpu_memory_limit: {{ $values.pipelines.gpuMemoryLimit | quote }}
hub_secret: {{ $values.huggingFace.secret | quote }}
hub_secret_key: {{ $values.huggingFace.key | quote }}
hub_endpoint: {{ $values.huggingFace.endpoint | quote }}
service_account: {{ ternary $values.kfp.serviceAccount "" (eq $values.kfp.mode "multi-user") | quote }}
{{- end -}}
