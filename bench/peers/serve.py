"""The protocol of serve.mjs for contenders in Python: lines of JSON out, lines of words in."""

import ctypes
import json
import os
import re
import resource
import sys
import time

SLOWEST = float(os.environ.get("SLOWEST_STEP_SECONDS", "5"))


def say(value):
    print(json.dumps(value), flush=True)


def decline(error):
    """A contender that cannot take part says why."""
    say({"declined": str(error)})
    sys.exit(0)


def blas():
    """The OpenBLAS that this process has loaded, in its own words; None where it is another library."""
    with open("/proc/self/maps") as maps:
        files = set(re.findall(r"(/\S*(?:libblas|libopenblas)\S*)", maps.read()))
    for file in sorted(files):
        try:
            tell = ctypes.CDLL(file).openblas_get_config
        except (OSError, AttributeError):
            continue
        tell.restype = ctypes.c_char_p
        return tell().decode()
    return None


def first_steps(step, count):
    losses, slow = [], []
    for i in range(count):
        start = time.perf_counter()
        losses.append(step())
        seconds = time.perf_counter() - start
        if i > 0:
            slow.append(1e3 * seconds)
            if seconds > SLOWEST:
                return {"losses": losses, "slow": slow}
    return {"losses": losses}


def serve(info, step):
    """Eleven first steps, then windows on demand; at the end the process's peak resident memory."""
    serve_tasks(info, {"": ({}, step)}, 11)


def serve_tasks(info, tasks, count=2):
    """Tasks by name: what to tell of each, and its step; so many first steps of each."""
    told = {name: {**more, **first_steps(step, count)} for name, (more, step) in tasks.items()}
    say({**info, **told[""]} if "" in told else {**info, "tasks": told})
    for line in sys.stdin:
        words = line.split()
        if words[0] == "end":
            break
        step = tasks[words[2] if len(words) > 2 else ""][1]
        milliseconds, end = [], time.perf_counter() + float(words[1])
        while True:
            start = time.perf_counter()
            step()
            now = time.perf_counter()
            milliseconds.append(1e3 * (now - start))
            if now >= end:
                break
        say({"milliseconds": milliseconds})
    say({"peakResidentBytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss})
