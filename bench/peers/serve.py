"""The protocol of serve.mjs for contenders in Python: lines of JSON out, lines of words in."""

import json
import resource
import sys
import time


def say(value):
    print(json.dumps(value), flush=True)


def decline(error):
    """A contender that cannot take part says why."""
    say({"declined": str(error)})
    sys.exit(0)


def serve(info, losses, step):
    """Windows of steps on demand, behind the first losses; at the end the process's peak resident memory."""
    say({**info, "losses": losses})
    for line in sys.stdin:
        words = line.split()
        if words[0] == "end":
            break
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
