"""`textcl export --backend static` writes the table that a model distils to."""

import numpy as np
from families import tiny_model_dir
from typer.testing import CliRunner

from textcl import Encoder, distil
from textcl.cli.app import app


def test_a_model_becomes_a_table(tmp_path):
    model = tiny_model_dir(tmp_path, layers=1)
    arguments = ["export", str(model), "-o", str(tmp_path / "table"), "--backend", "static"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "a table of 171 tokens, 32 dimensions, not trained" in " ".join(result.stderr.split())
    expected = distil(Encoder.from_pretrained(model)).encode(["a dog"])
    found = Encoder.from_pretrained(tmp_path / "table").encode(["a dog"])
    np.testing.assert_allclose(found, expected, atol=1e-6)
