"""`python -m probe`: the command line `rnn-probe`, also where its script is not on the path."""

from .command_line.main import main

if __name__ == "__main__":
    main()
