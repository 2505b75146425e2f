"""What is printed: a table for each measurement, every figure beside its goal, its floor and the peers."""
import os
import sys

from suite.rig import flush_ms

missed, files = [], [sys.stdout]


def also_into(path):
    files.append(open(path, "w", encoding="utf-8"))


def line(text=""):
    for file in files:
        print(text, file=file, flush=True)


def times(ratio):
    """A ratio as one reads it: 3.1 x, 0.44 x, 1/62."""
    if ratio >= 10:
        return f"{ratio:.0f} x"
    if ratio >= 0.095:
        return f"{ratio:.2f} x"
    return f"1/{1 / ratio:.0f}" if ratio > 0 else "0 x"


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


class Table:
    def __init__(self, title, load):
        """`load` says what it was measured under: accounts, chains, devices."""
        self.title = title
        line()
        line(title)
        line(f"  {load}; flush p50 {flush_ms():.2f} ms; load average {os.getloadavg()[0]:.1f}")

    def row(self, what, value, unit, below=None, above=None, floor=None, peers=None, note=""):
        """`below` and `above` are goals; `floor` is (name, value), `peers` a dict of values by name."""
        words = []
        if below or above:
            goal = below or above
            met = value <= goal if below else value >= goal
            words.append(f"{'under' if below else 'over'} {number(goal)} {'met' if met else 'MISSED'} ({times(value / goal)})")
            if not met:
                missed.append(f"{self.title}: {what} {number(value)} {unit}, goal {'under' if below else 'over'} {number(goal)}")
        if floor and floor[1]:
            words.append(f"{times(value / floor[1])} {floor[0]} ({number(floor[1])})")
        for name, other in (peers or {}).items():
            if other:
                words.append(f"{times(value / other)} {name} ({number(other)})")
        if note:
            words.append(note)
        line(f"  {what:40} {number(value):>11} {unit:9} {'; '.join(words)}")

    def words(self, what, text):
        line(f"  {what:40} {text}")
