"""Many runs: which, running them, and what their scores say together."""
