"""Every value of the chart is changed here and must have its effect, so that values.yaml has no unused value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from deploy.chart.value_fields import build_defaults, list_value_fields
from tests.rendered_chart import CHART, at, merged, text

EXTERNAL_STORE = {"objectStorage": {"kind": "external", "external": {"secret": "keys", "endpoint": "https://s3.example"}}}
EXTERNAL_DATABASE = {"database": {"kind": "external", "external": {"host": "db.example", "secret": "login"}}}
EXTERNAL_REGISTRY = {"registry": {"kind": "external", "external": {"url": "https://mlflow.example"}}}
KFP = {"kfp": {"mode": "multi-user", "endpoint": "http://ml-pipeline.kubeflow:8888"}}
INGRESS = {"ingress": {"enabled": True, "studioHost": "studio.example", "generationHost": "api.example"}}
ROUTE = {
    "httpRoute": {
        "enabled": True,
        "studioHost": "studio.example",
        "generationHost": "api.example",
        "parentRefs": [{"name": "gate"}],
    }
}
_OIDC = {"issuer": "https://idp.example", "clientId": "studio", "url": "https://studio.example"}
OIDC = {"studio": {"oidc": _OIDC}}
HPA = {"generation": {"autoscaling": {"kind": "hpa"}}}
GPU = {"generation": {"gpu": {"preset": "l4-24gb"}}}
STEPS_GPU = {"pipelines": {"gpu": {"preset": "l4-24gb"}}}
MONITOR = {"monitoring": {"serviceMonitor": {"enabled": True}}}
RULES = {"monitoring": {"rules": {"enabled": True}}}
DASHBOARD = {"monitoring": {"dashboard": {"enabled": True}}}
CLASSES = {"priorityClasses": {"create": True}}
CLAIM = {"generation": {"gpu": {"device": "claim"}}}
HOOK = {"studio": {"notices": {"webhook": {"url": "https://h.example", "secret": "other"}}}}
MAIL = {"studio": {"notices": {"mail": {"host": "mail.band.example", "sender": "tune@band.example"}}}}
MATRIX = {"studio": {"notices": {"matrix": {"url": "https://matrix.example", "room": "!a:matrix.example", "secret": "matrix"}}}}
BASE = "stabilityai/stable-audio-open-1.0"
BASES = {"bases": [BASE]}
NEW = {"kube_version": "1.34.0"}
KEDA = {"api_versions": "keda.sh/v1alpha1/ScaledObject"}


@dataclass(frozen=True)
class Effect:
    """A value, and words that are rendered with it and not (so often) without; after `not: ` the other way round."""

    value: Any
    words: str
    given: dict[str, Any] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)


E = Effect
EFFECTS: dict[str, Effect] = {
    "nameOverride": E("band", "audio-tune-band-"),
    "images.registry": E("other.home/x", "image: other.home/x/audio-tune/studio:"),
    "images.pullPolicy": E("Always", "imagePullPolicy: Always"),
    "images.pullSecrets": E(["login"], "- name: login"),
    "access.mode": E("open", "AUDIOTUNE_ACCESS, value: open"),
    "access.firstOwner": E("ana", "first-owner, ana, --to"),
    "generation.replicas": E(3, "replicas: 3"),
    "generation.release.name": E("noise", 'AUDIOTUNE_GENERATION_RELEASE, value: "noise"'),
    "generation.release.alias": E("blue", 'AUDIOTUNE_GENERATION_ALIAS, value: "blue"'),
    "generation.release.candidates": E(True, 'AUDIOTUNE_GENERATION_CANDIDATES, value: "true"'),
    "generation.queueSeconds": E(77.5, 'AUDIOTUNE_GENERATION_QUEUE_S, value: "77.5"'),
    "generation.batchSeconds": E(7.5, 'AUDIOTUNE_GENERATION_BATCH_S, value: "7.5"'),
    "generation.bodyMb": E(7.5, 'AUDIOTUNE_GENERATION_BODY_MB, value: "7.5"'),
    "generation.initSeconds": E(77, 'AUDIOTUNE_GENERATION_INIT_S, value: "77"'),
    "generation.allowance.ratePerMinute": E(77, 'AUDIOTUNE_GENERATION_RATE_PER_MINUTE, value: "77"'),
    "generation.allowance.soundSecondsPerDay": E(77.5, 'AUDIOTUNE_GENERATION_SOUND_S_PER_DAY, value: "77.5"'),
    "generation.allowance.keptMbPerDay": E(77.5, 'AUDIOTUNE_GENERATION_KEPT_MB_PER_DAY, value: "77.5"'),
    "generation.allowance.queue": E(7, 'AUDIOTUNE_GENERATION_MEMBER_QUEUE, value: "7"'),
    "generation.allowance.jobs": E(7, 'AUDIOTUNE_GENERATION_MEMBER_JOBS, value: "7"'),
    "generation.webhooks.secret": E("signs", "name: signs, key: secret"),
    "generation.webhooks.hosts": E(["daw.home:8443"], "{protocol: TCP, port: 8443}", at("generation.webhooks.secret", "signs")),
    "generation.corsOrigins": E(
        ["https://band.example", "http://localhost:5173"],
        'AUDIOTUNE_GENERATION_CORS_ORIGINS, value: "https://band.example,http://localhost:5173"',
    ),
    "generation.rootPath": E("/tune", 'path: "/tune/v1"', INGRESS),
    "generation.graceSeconds": E(77, 'AUDIOTUNE_GENERATION_GRACE_S, value: "77"'),
    "generation.keepDays": E(7.5, 'AUDIOTUNE_GENERATION_KEEP_DAYS, value: "7.5"'),
    "generation.queue": E(77, 'AUDIOTUNE_GENERATION_QUEUE, value: "77"'),
    "generation.pollSeconds": E(7.5, 'AUDIOTUNE_GENERATION_POLL_S, value: "7.5"'),
    "generation.ledgerSeconds": E(0.7, 'AUDIOTUNE_GENERATION_LEDGER_S, value: "0.7"'),
    "generation.consentSeconds": E(33, 'AUDIOTUNE_GENERATION_CONSENT_S, value: "33"'),
    "generation.adapters": E("grit,tape", 'AUDIOTUNE_GENERATION_ADAPTERS, value: "grit,tape"'),
    "generation.keep": E(False, 'AUDIOTUNE_GENERATION_KEEP, value: "false"'),
    "generation.logPrompts": E(True, 'AUDIOTUNE_GENERATION_LOG_PROMPTS, value: "true"'),
    "generation.gpu.preset": E("l4-24gb", "nvidia.com/gpu.product: NVIDIA-L4"),
    "generation.gpu.device": E("claim", "kind: ResourceClaimTemplate", GPU, NEW),
    "generation.gpu.deviceClass": E("gpu.example", "deviceClassName: gpu.example", merged(GPU, CLAIM), NEW),
    "generation.gpu.resource": E("amd.com/gpu", "amd.com/gpu: 1", GPU),
    "generation.gpu.count": E(2, "nvidia.com/gpu: 2", GPU),
    "generation.gpu.nodeSelector": E({"room": "cellar"}, "room: cellar", GPU),
    "generation.gpu.tolerations": E([{"key": "mine", "operator": "Exists"}], "key: mine", GPU),
    "generation.gpu.runtimeClassName": E("kata", "runtimeClassName: kata", GPU),
    "generation.gpu.sharedMemory": E("3Gi", "medium: Memory, sizeLimit: 3Gi"),
    "generation.gpu.batchSize": E(9, 'AUDIOTUNE_GENERATION_BATCH, value: "9"'),
    "generation.cacheSize": E("77Gi", "sizeLimit: 77Gi"),
    "generation.preStopSeconds": E(33, "sleep: {seconds: 33}"),
    "generation.longestSeconds": E(1000, "terminationGracePeriodSeconds: 1030"),
    "generation.autoscaling.kind": E("hpa", "kind: HorizontalPodAutoscaler"),
    "generation.autoscaling.minReplicas": E(2, "minReplicas: 2", HPA),
    "generation.autoscaling.maxReplicas": E(9, "maxReplicas: 9", HPA),
    "generation.autoscaling.waiting": E(7, 'averageValue: "7"', HPA),
    "generation.autoscaling.prometheusUrl": E(
        "http://p.example",
        'serverAddress: "http://p.example"',
        at("generation.autoscaling", {"kind": "keda", "prometheusUrl": "http://q"}),
        KEDA,
    ),
    "generation.env": E({"TZ": "Europe/Berlin"}, 'TZ, value: "Europe/Berlin"'),
    "governance.secrets.studio": E("mine", "secretKeyRef: {name: mine, key: key}"),
    "governance.secrets.ingest": E("mine", "governance_secret: mine"),
    "governance.secrets.erasure": E("mine", "secretKeyRef: {name: mine, key: key}"),
    "governance.secrets.tickets": E("mine", "secretKeyRef: {name: mine, key: key}"),
    "governance.secrets.ledger": E("mine", "secretKeyRef: {name: mine, key: key}"),
    "governance.secrets.olderLedger": E("mine", "secretKeyRef: {name: mine, key: key}"),
    "studio.enabled": E(False, "not: name: audio-tune-studio\n"),
    "studio.releasesBy": E("owners", "AUDIOTUNE_STUDIO_RELEASES_BY, value: owners"),
    "studio.uploadQuotaGb": E(77.0, 'UPLOAD_QUOTA_GB, value: "77"'),
    "studio.hosts": E(["jam.example"], 'STUDIO_HOSTS, value: "jam.example,studio.example"', INGRESS),
    "studio.rootPath": E("/band/studio", 'path: "/band/studio"', INGRESS),
    "studio.proxies": E(["10.1.0.0/16", "10.2.0.9"], 'PROXIES, value: "10.1.0.0/16,10.2.0.9"'),
    "studio.oidc.issuer": E(
        "https://login.example", 'OIDC_ISSUER, value: "https://login.example"', {"studio": {"oidc": {**_OIDC, "issuer": ""}}}
    ),
    "studio.oidc.clientId": E("band", 'OIDC_CLIENT_ID, value: "band"', OIDC),
    "studio.oidc.secret": E("login", "secretKeyRef: {name: login, key: client-secret}", OIDC),
    "studio.oidc.name": E("the band's", 'OIDC_NAME, value: "the band\'s"', OIDC),
    "studio.oidc.scopes": E("openid crew", 'OIDC_SCOPES, value: "openid crew"', OIDC),
    "studio.oidc.memberClaim": E("email", 'OIDC_MEMBER_CLAIM, value: "email"', OIDC),
    "studio.oidc.claimIsMember": E(True, 'OIDC_CLAIM_IS_MEMBER, value: "true"', OIDC),
    "studio.oidc.groups": E(["band", "crew"], 'OIDC_GROUPS, value: "band,crew"', OIDC),
    "studio.oidc.groupsClaim": E("roles", 'OIDC_GROUPS_CLAIM, value: "roles"', OIDC),
    "studio.oidc.url": E("https://s.example", 'PUBLIC_URL, value: "https://s.example"', OIDC),
    "studio.oidc.sessionHours": E(77, 'OIDC_SESSION_H, value: "77"', OIDC),
    "studio.oidc.caConfigMap": E("own-ca", "configMap: {name: own-ca}", OIDC),
    "studio.oidc.port": E(8443, "port: 8443", OIDC),
    "studio.notices.webhook.url": E("https://hook.example", 'NOTICE_WEBHOOK, value: "https://hook.example"', HOOK),
    "studio.notices.webhook.secret": E("signs", "secretKeyRef: {name: signs, key: secret}", HOOK),
    "studio.notices.mail.host": E("mail.example", 'SMTP_HOST, value: "mail.example"', MAIL),
    "studio.notices.mail.port": E(2525, "{protocol: TCP, port: 2525}", MAIL),
    "studio.notices.mail.security": E("tls", 'SMTP_SECURITY, value: "tls"', MAIL),
    "studio.notices.mail.user": E("tune", 'SMTP_USER, value: "tune"', MAIL),
    "studio.notices.mail.secret": E("login", "secretKeyRef: {name: login, key: password}", MAIL),
    "studio.notices.mail.sender": E("t@x.example", 'SMTP_FROM, value: "t@x.example"', MAIL),
    "studio.notices.matrix.url": E("https://m.example", 'MATRIX_URL, value: "https://m.example"', MATRIX),
    "studio.notices.matrix.room": E("!b:m.example", 'MATRIX_ROOM, value: "!b:m.example"', MATRIX),
    "studio.notices.matrix.secret": E("tok", "secretKeyRef: {name: tok, key: token}", MATRIX),
    "studio.notices.hosts": E(["mail.home:2526"], "{protocol: TCP, port: 2526}", MAIL),
    "studio.uploadLimitMb": E(77, 'AUDIOTUNE_STUDIO_UPLOAD_LIMIT_MB, value: "77"'),
    "studio.generationLimitSeconds": E(77, 'AUDIOTUNE_STUDIO_GENERATION_LIMIT_S, value: "77"'),
    "studio.workSize": E("77Gi", "sizeLimit: 77Gi"),
    "studio.preStopSeconds": E(44, "sleep: {seconds: 44}"),
    "studio.env": E({"TZ": "Europe/Berlin"}, 'TZ, value: "Europe/Berlin"'),
    "registry.kind": E("external", "not: name: audio-tune-registry\n", at("registry.external.url", "https://mlflow.example")),
    "registry.external.url": E("https://m.example", 'MLFLOW_TRACKING_URI, value: "https://m.example"', EXTERNAL_REGISTRY),
    "registry.external.port": E(8443, "port: 8443", EXTERNAL_REGISTRY),
    "registry.external.tokenSecret": E("login", "name: login, key: token", EXTERNAL_REGISTRY),
    "registry.migrate": E(False, "not: name: audio-tune-migrate"),
    "registry.allowedHosts": E(["mlflow.example"], "--allowed-hosts=mlflow.example,"),
    "database.kind": E(
        "external",
        "not: kind: StatefulSet\nmetadata:\n  name: audio-tune-database",
        at("database.external", {"host": "db", "secret": "s"}),
    ),
    "database.name": E("runs", 'PGDATABASE, value: "runs"'),
    "database.bundled.size": E("77Gi", "storage: 77Gi"),
    "database.bundled.storageClass": E("fast", "storageClassName: fast"),
    "database.bundled.secret": E("mine", "name: mine, key: password"),
    "database.bundled.runAsUser": E(70, "runAsUser: 70"),
    "database.external.host": E("pg.example", 'PGHOST, value: "pg.example"', EXTERNAL_DATABASE),
    "database.external.port": E(6432, 'PGPORT, value: "6432"', EXTERNAL_DATABASE),
    "database.external.secret": E("mine", "name: mine, key: password", EXTERNAL_DATABASE),
    "database.external.sslMode": E("verify-full", 'PGSSLMODE, value: "verify-full"', EXTERNAL_DATABASE),
    "database.backup.enabled": E(False, "not: name: audio-tune-backup\n"),
    "database.backup.schedule": E("1 2 3 4 5", 'schedule: "1 2 3 4 5"'),
    "database.backup.oldHours": E(10, "> 36000", RULES),
    "objectStorage.kind": E("external", "not: name: audio-tune-object-store\n", at("objectStorage.external.secret", "keys")),
    "objectStorage.bucket": E("band", 's3://band"'),
    "objectStorage.prefix": E("jazz", 's3://audio-tune/jazz"'),
    "objectStorage.region": E("eu-central-1", 'AWS_REGION, value: "eu-central-1"'),
    "objectStorage.bundled.size": E("77Gi", "storage: 77Gi"),
    "objectStorage.bundled.storageClass": E("fast", "storageClassName: fast"),
    "objectStorage.bundled.rootSecret": E("mine", "name: mine, key: secretkey"),
    "objectStorage.external.endpoint": E(
        "https://minio.example", 'AWS_ENDPOINT_URL_S3, value: "https://minio.example"', EXTERNAL_STORE
    ),
    "objectStorage.external.port": E(9443, "port: 9443", EXTERNAL_STORE),
    "objectStorage.external.secret": E("mine", "name: mine, key: secretkey", EXTERNAL_STORE),
    "objectStorage.external.secrets.studio": E("for-studio", "name: for-studio, key: secretkey", EXTERNAL_STORE),
    "objectStorage.external.secrets.generation": E("for-sounds", "name: for-sounds, key: secretkey", EXTERNAL_STORE),
    "objectStorage.external.secrets.pipelines": E("for-steps", '"store_secret": "for-steps"', EXTERNAL_STORE),
    "objectStorage.external.secrets.registry": E("for-mlflow", "name: for-mlflow, key: secretkey", EXTERNAL_STORE),
    "objectStorage.external.secrets.governance": E("for-consent", "name: for-consent, key: secretkey", EXTERNAL_STORE),
    "objectStorage.external.secrets.backup": E("to-keep", "name: to-keep, key: secretkey", EXTERNAL_STORE),
    "objectStorage.external.secrets.erasure": E("to-erase", "name: to-erase, key: secretkey", EXTERNAL_STORE),
    "objectStorage.external.caConfigMap": E("home-ca", "configMap: {name: home-ca}", EXTERNAL_STORE),
    "objectStorage.external.pathStyle": E(False, "AUDIOTUNE_STORE_STYLE, value: virtual", EXTERNAL_STORE),
    "objectStorage.external.makeBucket": E(True, "- --versioning", EXTERNAL_STORE),
    "objectStorage.versioning": E(False, "not: - --versioning"),
    "objectStorage.lifecycle.noncurrentDays": E(77, "--noncurrent-days=77"),
    "objectStorage.lifecycle.jobsDays": E(77, "--jobs-days=77"),
    "objectStorage.lifecycle.uploadsDays": E(77, "--uploads-days=77"),
    "objectStorage.lifecycle.backupsDays": E(77, "--backups-days=77"),
    "kfp.mode": E("multi-user", "name: kfp-launcher", at("kfp.endpoint", "http://k.example:8888")),
    "kfp.endpoint": E("http://k.example:8888", 'AUDIOTUNE_KFP_ENDPOINT, value: "http://k.example:8888"', KFP),
    "kfp.pages": E("https://k.example/pipelines", 'AUDIOTUNE_STUDIO_KFP_PAGES, value: "https://k.example/pipelines"', KFP),
    "kfp.namespace": E("pipes", "kubernetes.io/metadata.name: pipes", KFP),
    "kfp.tokenSecret": E("login", "name: login, key: token", KFP),
    "kfp.upload": E(False, "not: name: audio-tune-upload-r1", KFP),
    "kfp.serviceAccount": E("player", "name: player", KFP),
    "pipelines.nodes": E(3, "name: audio-tune-training", KFP),
    "pipelines.internet": E(False, "not: steps-to-internet", KFP),
    "pipelines.retries": E(7, '"retries": 7'),
    "pipelines.gpuTimeoutSeconds": E(7777, '"gpu_timeout_s": 7777'),
    "pipelines.cpuRequest": E("77m", '"cpu_request": "77m"'),
    "pipelines.memoryRequest": E("77Mi", '"memory_request": "77Mi"'),
    "pipelines.memoryLimit": E("77Gi", '"memory_limit": "77Gi"'),
    "pipelines.gpuMemoryLimit": E("77Gi", '"gpu_memory_limit": "77Gi"'),
    "pipelines.gpu.preset": E("h100-80gb", '"recipe": "full_finetune"'),
    "pipelines.gpu.device": E("claim", '"device": "claim"'),
    "pipelines.gpu.deviceClass": E("gpu.example", '"device_class": "gpu.example"'),
    "pipelines.gpu.resource": E("amd.com/gpu", '"gpu_resource": "amd.com/gpu"', STEPS_GPU),
    "pipelines.gpu.count": E(4, '"gpus": 4', STEPS_GPU),
    "pipelines.gpu.nodeSelector": E({"room": "cellar"}, '"room": "cellar"', STEPS_GPU),
    "pipelines.gpu.tolerations": E([{"key": "mine", "operator": "Exists"}], '"gpu_taint": "mine"', STEPS_GPU),
    "pipelines.gpu.runtimeClassName": E("kata", '"runtime_class": "kata"', STEPS_GPU),
    "pipelines.gpu.sharedMemory": E("3Gi", '"shared_memory": "3Gi"'),
    "pipelines.gpu.batchSize": E(9, '"batch_size": 9'),
    "pipelines.gpu.recipe": E("first_release", '"recipe": "first_release"'),
    "bases": E([BASE], "- stabilityai/stable-audio-open-1.0"),
    "huggingFace.secret": E("mine", "secretKeyRef: {name: mine, key: token, optional: true}", BASES),
    "huggingFace.key": E("read", '"hub_secret_key": "read"'),
    "huggingFace.endpoint": E("http://hub.home:8081", "{protocol: TCP, port: 8081}", BASES),
    "huggingFace.deadlineSeconds": E(777, "activeDeadlineSeconds: 777", BASES),
    "jobs.deadlineSeconds": E(777, "activeDeadlineSeconds: 777"),
    "jobs.attempts": E(3, "backoffLimit: 3"),
    "journey.enabled": E(False, "not: name: audio-tune-journey"),
    "journey.steps": E(77, 'JOURNEY_STEPS, value: "77"'),
    "journey.deadlineSeconds": E(777, "activeDeadlineSeconds: 777"),
    "network.policies": E(False, "not: kind: NetworkPolicy"),
    "network.ingressFrom": E([{"podSelector": {"matchLabels": {"gate": "front"}}}], "gate: front"),
    "network.dns.namespace": E("names", "kubernetes.io/metadata.name: names"),
    "network.dns.labels": E({"dns": "mine"}, "dns: mine"),
    "network.dns.port": E(5353, "port: 5353"),
    "network.dns.cidrs": E(["169.254.20.10/32"], "ipBlock: {cidr: 169.254.20.10/32}"),
    "network.apiPorts": E([16443], "port: 16443"),
    "network.listenAddress": E("::", 'services.governance, --host, "::"'),
    "network.blocked": E(["10.0.0.0/8"], "- 10.0.0.0/8"),
    "ingress.enabled": E(True, "kind: Ingress\n", at("ingress.studioHost", "s.example")),
    "ingress.studioHost": E("other.example", 'host: "other.example"', INGRESS),
    "ingress.generationHost": E("other.example", 'host: "other.example"', INGRESS),
    "ingress.annotations": E({"a.b/c": "d"}, "a.b/c: d", INGRESS),
    "ingress.className": E("front", "ingressClassName: front", INGRESS),
    "ingress.tlsSecret": E("cert", "secretName: cert", INGRESS),
    "httpRoute.enabled": E(
        True, "kind: HTTPRoute", at("httpRoute", {"studioHost": "s.example", "parentRefs": [{"name": "gate"}]})
    ),
    "httpRoute.studioHost": E("other.example", 'hostnames: ["other.example"]', ROUTE),
    "httpRoute.generationHost": E("other.example", 'hostnames: ["other.example"]', ROUTE),
    "httpRoute.annotations": E({"a.b/c": "d"}, "a.b/c: d", ROUTE),
    "httpRoute.parentRefs": E([{"name": "back"}], "parentRefs:\n    -\n      name: back", ROUTE),
    "monitoring.serviceMonitor.enabled": E(True, "kind: ServiceMonitor"),
    "monitoring.serviceMonitor.intervalSeconds": E(77, "interval: 77s", MONITOR),
    "monitoring.serviceMonitor.labels": E({"found": "by-me"}, "found: by-me", MONITOR),
    "monitoring.rules.enabled": E(True, "kind: PrometheusRule"),
    "monitoring.rules.labels": E({"found": "by-me"}, "found: by-me", RULES),
    "monitoring.rules.runbooksUrl": E("https://docs.example/t", "https://docs.example/t#audiotunequeuegrowing", RULES),
    "monitoring.dashboard.enabled": E(True, "audio-tune.json"),
    "monitoring.dashboard.labels": E({"found": "by-me"}, "found: by-me", DASHBOARD),
    "monitoring.scrapeFrom": E([{"namespaceSelector": {"matchLabels": {"m": "eyes"}}}], "m: eyes"),
    "pods.runAsUser": E(2000, "runAsUser: 2000"),
    "pods.fsGroup": E(3000, "fsGroup: 3000"),
    "pods.priorityClassName": E("high", "priorityClassName: high"),
    "pods.labels": E({"band": "us"}, "band: us"),
    "priorityClasses.create": E(True, "kind: PriorityClass"),
    "priorityClasses.services": E(77, "value: 77", CLASSES),
    "priorityClasses.jobs": E(66, "value: 66", CLASSES),
}
UNREAD = {"global": "Helm's own, for charts inside charts"}


def _alike(path: str) -> Effect | None:
    """Values that look the same in every part."""
    *_, last = path.split(".")
    if ".resources." in path:
        unit = {"cpu": "m", "memory": "Mi"}.get(last, "Gi")
        return E(f"321{unit}", f"{last}: 321{unit}", BASES)
    if path.startswith("images."):
        value = "sha256:" + "ab" * 32 if last == "digest" else "another"
        shown = {"registry": "another/", "name": "/another:", "tag": ":another", "digest": f"@{value}"}[last]
        return E(value, shown)
    plain: dict[str, tuple[Any, str]] = {
        "nodeSelector": ({"room": "cellar"}, "room: cellar"),
        "tolerations": ([{"key": "mine", "operator": "Exists"}], "key: mine"),
        "affinity": ({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}, "podAntiAffinity"),
        "priorityClassName": ("special", "priorityClassName: special"),
        "annotations": ({"seen": "by-me"}, "seen: by-me"),
    }
    return E(*plain[last]) if last in plain else None


PATHS = [value.name for value in list_value_fields(build_defaults()) if not value.group]


def _cases() -> Iterator[Any]:
    for path in PATHS:
        effect = EFFECTS.get(path) or _alike(path)
        if effect:
            yield pytest.param(path, effect, id=path)


def _leaves(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every value that the schema lets somebody set; a list or a free map is one."""
    if "properties" not in schema:
        yield ".".join(path)
    for key, below in schema.get("properties", {}).items():
        yield from _leaves(below, (*path, key))


def test_every_leaf_of_the_schema_is_one_of_these_values() -> None:
    assert set(_leaves(json.loads((CHART / "values.schema.json").read_text()))) == set(PATHS)


def test_no_value_is_left_out() -> None:
    known = {case.values[0] for case in _cases()}
    assert set(PATHS) - known - set(UNREAD) == set()
    assert set(EFFECTS) - set(PATHS) == set(), "no such value"


@pytest.mark.parametrize(("path", "effect"), list(_cases()))
def test_a_value_has_its_effect(path: str, effect: Effect) -> None:
    before = text(effect.given, **effect.flags).replace('"', "")
    after = text(merged(effect.given, at(path, effect.value)), **effect.flags).replace('"', "")
    words = effect.words.removeprefix("not: ").replace('"', "")  # whether something is quoted is another test's business
    seen, unseen = (before, after) if effect.words.startswith("not: ") else (after, before)
    assert words in seen
    assert seen.count(words) > unseen.count(words)
