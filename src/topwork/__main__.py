"""``python -m topwork``: the command for where the script of that name is not on the path. It knows the entry alone."""

from topwork.cli import main

if __name__ == "__main__":
    main()
