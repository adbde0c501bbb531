"""Ctrl-C while ``python -m attacks`` still imports: the process ends at once, without a traceback.

The imports take seconds, nothing has begun, and the command line can catch no exception yet.
"""

import signal
import sys

if sys.argv[:1] == ["-m"]:  # so it is while Python imports the package of ``-m``, and never later
    signal.signal(signal.SIGINT, signal.SIG_DFL)
