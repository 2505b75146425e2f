#!/usr/bin/env python3
"""One closing summary of tools/test: passed, failed, skipped with the reason, seconds of each part.

summary.py STEPS STRICT REPORT.xml...
STEPS: lines of "name<TAB>passed|failed<TAB>seconds"; the reports are ctest's JUnit files.
"""
import sys
import xml.etree.ElementTree as tree


def reason_of(case):
    """The line of a run's own table about this case, else the last line that it printed."""
    output = (case.findtext("system-out") or "").strip().splitlines()
    own = (case.get("name") or "").split("/")[-1] + " "
    for line in output:
        if line.startswith(own) and ("failed" in line or "skipped" in line):
            return line[len(own):].strip()[:160]
    for line in reversed(output):
        if line.strip():
            return line.strip()[:160]
    return ""


def read(paths):
    for path in paths:
        for case in tree.parse(path).getroot().iter("testcase"):
            failed = case.find("failure") is not None or case.find("error") is not None
            skipped = case.find("skipped") is not None or case.get("status") in ("notrun", "disabled")
            result = "failed" if failed else "skipped" if skipped else "passed"
            yield case.get("name"), result, float(case.get("time") or 0), reason_of(case)


def main():
    steps, strict, reports = sys.argv[1], sys.argv[2] == "yes", sys.argv[3:]
    cases = list(read(reports))
    parts = {}
    for name, result, seconds, _ in cases:
        part = parts.setdefault("/".join(name.split("/")[:2]).split("-")[0],
                                {"passed": 0, "failed": 0, "skipped": 0, "seconds": 0.0})
        part[result] += 1
        part["seconds"] += seconds

    print("\n=== summary ===")
    with open(steps, encoding="utf-8") as lines:
        broken = [line for line in lines if "\tfailed\t" in line]
        lines.seek(0)
        for line in lines:
            name, result, seconds = line.rstrip("\n").split("\t")
            print(f"{name:32} {result:8} {seconds:>6} s")
    print(f"\n{'part':32} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    for name, part in parts.items():
        print(f"{name:32} {part['passed']:7} {part['failed']:7} {part['skipped']:8} {part['seconds']:8.1f}")
    for wanted in ("skipped", "failed"):
        for name, result, _, reason in cases:
            if result == wanted:
                print(f"{wanted.upper():8} {name}: {reason}")
    count = {r: sum(1 for c in cases if c[1] == r) for r in ("passed", "failed", "skipped")}
    print(f"\n{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    if not cases:
        print("no test ran")
        return 1
    return 1 if count["failed"] or broken or (strict and count["skipped"]) else 0


sys.exit(main())
