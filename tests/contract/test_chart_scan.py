"""How the output of scanners is parsed and compared with the reasons; the scanners themselves are optional."""

from __future__ import annotations

import io
import sys

import pytest

from deploy.chart import scan
from deploy.chart.scan import ScannerFinding, list_faults, parse_checkov, parse_kube_score, parse_reasons, parse_trivy
from tests.rendered_chart import text

HIGH = ScannerFinding("trivy", "KSV-0109", "HIGH", "ConfigMap with secrets")
LOW = ScannerFinding("trivy", "KSV-0011", "LOW", "CPU not limited")
KNOWN = {("trivy", "KSV-0011"): "throttling", ("trivy", "KSV-0109"): "no excuse", ("checkov", "CKV_K8S_11"): "throttling"}


def test_answers_are_read() -> None:
    fault = {"ID": "KSV-0011", "Severity": "LOW", "Title": "CPU not limited", "Message": "..."}
    assert list(parse_trivy({"Results": [{"Target": "a"}, {"Target": "b", "Misconfigurations": [fault]}]})) == [LOW]
    check = {"id": "pod-probes", "comment": "Makes sure that probes differ"}
    graded = [{"check": check, "skipped": False, "grade": 1}, {"check": check, "skipped": False, "grade": 10}]
    graded += [{"check": check, "skipped": True, "grade": 0}]
    assert list(parse_kube_score([{"checks": graded}])) == [
        ScannerFinding("kube-score", "pod-probes", "CRITICAL", check["comment"])
    ]
    failed = {"check_id": "CKV_K8S_11", "check_name": "CPU limits should be set", "severity": None}
    wanted = [ScannerFinding("checkov", "CKV_K8S_11", "-", "CPU limits should be set")]
    assert list(parse_checkov({"results": {"failed_checks": [failed]}})) == wanted
    assert list(parse_checkov([{"results": {"failed_checks": [failed]}}])) == wanted
    assert list(parse_checkov({"passed": 0, "failed": 0})) == []


def test_a_finding_without_a_reason_is_a_fault() -> None:
    assert list_faults([LOW], {("trivy", "KSV-0011"): "throttling"}, ["trivy"]) == []
    assert list_faults([LOW, LOW], {}, ["trivy"]) == ["trivy KSV-0011 (LOW): CPU not limited"]
    assert list_faults([LOW, HIGH], KNOWN, ["trivy"]) == ["trivy KSV-0109 (HIGH): ConfigMap with secrets"]


def test_a_reason_without_a_finding_is_a_fault_if_the_scanner_ran() -> None:
    known = {("trivy", "KSV-0011"): "throttling", ("checkov", "CKV_K8S_11"): "throttling"}
    assert list_faults([], known, ["trivy"]) == ["trivy KSV-0011 is found no more: take its line out of scanners.md"]


def test_the_page_gives_a_reason_for_each_scanner() -> None:
    found = parse_reasons(scan.PAGE.read_text())
    assert {scanner for scanner, _ in found} == set(scan.SCANNERS)
    assert found["trivy", "KSV-0011"].startswith("no CPU limit")
    assert len(found) == scan.PAGE.read_text().count("\n| ") - 1  # every line but the heads is understood


def test_nothing_rendered_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(" \n"))
    assert scan.main() == 2
    assert "helm template" in capsys.readouterr().err


def test_without_a_scanner_nothing_is_proved(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text()))
    monkeypatch.setenv("PATH", "/nowhere")
    assert scan.main() == 1
    assert capsys.readouterr().out.count("did not run") == 3
