from reference_cases.simcse_unsup import run as run
