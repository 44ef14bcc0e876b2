"""A plugin of pytest that ends the process by SIGXCPU when one test takes more than a minute of processor time.

`mutants.py` has the tests run under it: a fault may make a loop that never ends, and the clock says little of that on
a machine that is busy.
"""

import math
import resource

SECONDS = 60
"""Several times what the slowest test takes."""


def pytest_runtest_logstart(nodeid: str, location: tuple[str, int | None, str]) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(used.ru_utime + used.ru_stime) + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
