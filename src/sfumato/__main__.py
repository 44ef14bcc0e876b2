"""`python -m sfumato`: the command line, for those who start it by another program, as `accelerate launch` does."""

from sfumato.cli import main

if __name__ == "__main__":
    main()
