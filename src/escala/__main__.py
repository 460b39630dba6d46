"""`python -m escala`: the same as the `escala` command."""

from escala.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
