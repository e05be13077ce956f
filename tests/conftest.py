"""Settings of every test run, made before torch is imported."""

import os

# Tiny tensors gain nothing from a second thread and lose to its start; processes that tests start inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing in the default run may need a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
