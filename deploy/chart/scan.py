"""Runs security scanners on a rendered chart: `helm template ... | python -m deploy.chart.scan`. Exit code 1 when one finds something new.

It runs those that are on PATH: trivy (its own checks, offline), kube-score, checkov. A finding must be fixed, or listed with a reason in
docs/operations/scanners.md; a finding that trivy rates HIGH or CRITICAL must be fixed. Lines without a finding are reported, too.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations" / "scanners.md"
_ROW = re.compile(r"^\| (\S+) \| `(\S+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)
_TIMEOUT_S = 600


@dataclass(frozen=True, order=True)
class ScannerFinding:
    """A fault as a scanner reports it; `check` is the scanner's id."""

    scanner: str
    check: str
    severity: str
    title: str

    def is_excused(self, reasons: dict[tuple[str, str], str]) -> bool:
        severe = self.scanner == "trivy" and self.severity in ("HIGH", "CRITICAL")
        return not severe and (self.scanner, self.check) in reasons


@dataclass(frozen=True)
class ChartScanner:
    """The command of a scanner, without the file, and the function that parses its output."""

    command: tuple[str, ...]
    parse: Callable[[Any], Iterable[ScannerFinding]]

    def scan_file(self, rendered: Path) -> Counter[ScannerFinding]:
        """Raises ValueError when the output is not JSON."""
        done = subprocess.run([*self.command, str(rendered)], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        try:
            return Counter(self.parse(json.loads(done.stdout)))
        except json.JSONDecodeError:
            raise ValueError(f"{self.command[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}") from None


def parse_trivy(answer: Any) -> Iterable[ScannerFinding]:
    for result in answer.get("Results") or []:
        for fault in result.get("Misconfigurations") or []:
            yield ScannerFinding("trivy", fault["ID"], fault["Severity"], fault["Title"])


def parse_kube_score(answer: Any) -> Iterable[ScannerFinding]:
    for scored in answer:
        for check in scored["checks"]:
            if not check["skipped"] and check["grade"] < 10:
                severity = "WARNING" if check["grade"] > 1 else "CRITICAL"
                yield ScannerFinding("kube-score", check["check"]["id"], severity, check["check"]["comment"])


def parse_checkov(answer: Any) -> Iterable[ScannerFinding]:
    for report in answer if isinstance(answer, list) else [answer]:
        for fault in report.get("results", {}).get("failed_checks", []):
            yield ScannerFinding("checkov", fault["check_id"], str(fault.get("severity") or "-"), fault["check_name"])


SCANNERS = {
    "trivy": ChartScanner(("trivy", "config", "--format", "json", "--quiet", "--skip-check-update"), parse_trivy),
    "kube-score": ChartScanner(("kube-score", "score", "--output-format", "json"), parse_kube_score),
    "checkov": ChartScanner(
        ("checkov", "--framework", "kubernetes", "--output", "json", "--compact", "--quiet", "--skip-download", "--file"),
        parse_checkov,
    ),
}


def parse_reasons(page: str) -> dict[tuple[str, str], str]:
    """(scanner, check) -> reason, from the page's table."""
    return {(scanner, check): reason for scanner, check, _, reason in _ROW.findall(page)}


def list_faults(findings: Iterable[ScannerFinding], reasons: dict[tuple[str, str], str], scanners: Iterable[str]) -> list[str]:
    """Findings that are not excused, and reasons for which these scanners have no finding."""
    known = sorted(set(findings))
    new = [f"{one.scanner} {one.check} ({one.severity}): {one.title}" for one in known if not one.is_excused(reasons)]
    gone = {key for key in reasons if key[0] in set(scanners)} - {(one.scanner, one.check) for one in known}
    return new + [f"{scanner} {check} is found no more: take its line out of {PAGE.name}" for scanner, check in sorted(gone)]


def main() -> int:
    rendered = sys.stdin.read()
    if not rendered.strip():
        print("nothing was rendered: pipe `helm template` into this", file=sys.stderr)
        return 2
    installed = {name: scanner for name, scanner in SCANNERS.items() if shutil.which(name)}
    findings: Counter[ScannerFinding] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chart.yaml"
        path.write_text(rendered)
        for name, scanner in installed.items():
            own = scanner.scan_file(path)
            findings += own
            print(f"{name:11} {len(own):3} kinds of findings, {own.total()} in all")
    for name in SCANNERS.keys() - installed.keys():
        print(f"{name:11} is not on PATH and did not run")
    faults = list_faults(findings, parse_reasons(PAGE.read_text()), installed)
    print("\n".join(faults) if faults else "every finding has a reason in docs/operations/scanners.md")
    return 1 if faults or not installed else 0


if __name__ == "__main__":
    raise SystemExit(main())
