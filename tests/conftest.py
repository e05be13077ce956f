"""Settings of every test run, made before torch is imported."""

import os

from jaxtyping import install_import_hook

# Tiny tensors gain nothing from a second thread and lose to its start; processes that tests start inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing in the default run may need a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Types and shapes of the mathematics are checked at every call. Elsewhere pyright has to do: checking every call of the
# package takes half as much time again (TEXTCL_CHECKED=textcl does it).
CHECKED = "textcl.arithmetic,textcl.contrast,textcl.objectives,textcl.method"
install_import_hook(
    os.environ.get("TEXTCL_CHECKED", CHECKED).split(","),
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)
