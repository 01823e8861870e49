{{- /* The service's own knobs: root, gpu; release and alias where they are not the values'. */ -}}
{{- define "audio-tune.generation-env" -}}
{{- $values := .root.Values.generation -}}
- {name: AUDIOTUNE_ACCESS, value: {{ .access | default .root.Values.access.mode }}}
- {name: AUDIOTUNE_GENERATION_RELEASE, value: {{ .release | default $values.release.name | quote }}}
- {name: AUDIOTUNE_GENERATION_ALIAS, value: {{ .alias | default $values.release.alias | quote }}}
- {name: AUDIOTUNE_GENERATION_CANDIDATES, value: {{ $values.release.candidates | quote }}}
- {name: AUDIOTUNE_GENERATION_POLL_S, value: {{ $values.pollSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_CONSENT_S, value: {{ $values.consentSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_ADAPTERS, value: {{ $values.adapters | quote }}}
- {name: AUDIOTUNE_GENERATION_QUEUE, value: {{ int $values.queue | quote }}}
- {name: AUDIOTUNE_GENERATION_QUEUE_S, value: {{ $values.queueSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_BATCH_S, value: {{ $values.batchSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_BODY_MB, value: {{ $values.bodyMb | quote }}}
- {name: AUDIOTUNE_GENERATION_INIT_S, value: {{ $values.initSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_RATE_PER_MINUTE, value: {{ int $values.allowance.ratePerMinute | quote }}}
- {name: AUDIOTUNE_GENERATION_SOUND_S_PER_DAY, value: {{ $values.allowance.soundSecondsPerDay | quote }}}
- {name: AUDIOTUNE_GENERATION_MEMBER_QUEUE, value: {{ int $values.allowance.queue | quote }}}
- {name: AUDIOTUNE_GENERATION_MEMBER_JOBS, value: {{ int $values.allowance.jobs | quote }}}
- {name: AUDIOTUNE_GENERATION_GRACE_S, value: {{ $values.graceSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_KEEP_DAYS, value: {{ $values.keepDays | quote }}}
- {name: AUDIOTUNE_GENERATION_BATCH, value: {{ int .gpu.batchSize | quote }}}
- {name: AUDIOTUNE_GENERATION_KEEP, value: {{ $values.keep | quote }}}
# as long as the pod may take to end
- {name: AUDIOTUNE_GENERATION_PATIENCE_S, value: {{ int $values.longestSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_DRAIN_S, value: {{ int $values.longestSeconds | quote }}}
- {name: AUDIOTUNE_GENERATION_LOG_PROMPTS, value: {{ $values.logPrompts | quote }}}
- {name: AUDIOTUNE_GENERATION_DEVICE, value: {{ ternary "cuda" "cpu" (gt (int .gpu.count) 0) }}}
{{- end -}}

{{- /* Only in the service: the test's own one tells nobody. */ -}}
{{- define "audio-tune.webhooks-env" -}}
{{- if .secret }}
- name: AUDIOTUNE_GENERATION_WEBHOOK_SECRET
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: secret}}
- {name: AUDIOTUNE_GENERATION_WEBHOOK_HOSTS, value: {{ join "," .hosts | quote }}}
{{- end }}
{{- end -}}
