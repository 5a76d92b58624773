"""nablafx learns the sound of audio gear from dry and wet recordings."""

import os

# Threads of torch that have nothing to do would spin for milliseconds, on the core that a compiled loop of ours then
# needs: steps of small nets take up to 1.7 times as long. OpenMP reads this once, when torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
