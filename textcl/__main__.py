"""`python -m textcl`, and what `accelerate launch -m textcl` starts."""

from textcl.cli import main

if __name__ == "__main__":
    main()
