#!/usr/bin/env python3
"""What is unusually long in our C: the top of each list, for a reviewer. It never fails a build.

sizes.py [N]     N rows of each list (10)
"""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def functions(lines):
    """Name and length of each function: from its opening brace in column 0 to the closing one."""
    for at, line in enumerate(lines):
        if line != "{" or at == 0:
            continue
        end = next((i for i in range(at, len(lines)) if lines[i] == "}"), at)
        head = at - 1
        while head > 0 and lines[head].startswith((" ", "\t")):
            head -= 1
        yield lines[head].split("(")[0].split()[-1].lstrip("*"), end - head + 1




def show(title, rows, count):
    print(title)
    for size, where in sorted(rows, reverse=True)[:count]:
        print(f"  {size:5}  {where}")


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    bodies, heads, all_functions = [], [], []
    for folder in ("proto", "storage", "server", "tools"):
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            lines = path.read_text(encoding="utf-8").splitlines()
            name = str(path.relative_to(ROOT))
            (heads if path.suffix == ".h" else bodies).append((len(lines), name))
            if path.suffix == ".c":
                all_functions += [(size, f"{name}: {function}") for function, size in functions(lines)]
    lengths = sorted(size for size, _ in all_functions)
    print(f"{len(lengths)} functions: median {lengths[len(lengths) // 2]}, "
          f"p75 {lengths[len(lengths) * 3 // 4]}, p95 {lengths[len(lengths) * 95 // 100]}, max {lengths[-1]} lines")
    show("longest functions (over 60: look twice)", all_functions, count)
    show("longest .c files (over 600: look twice)", bodies, count)
    show("longest .h files (over 250: look twice)", heads, count)


main()
