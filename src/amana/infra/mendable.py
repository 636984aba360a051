"""What a person at the keyboard can mend. Apart from whoever raises it, so that a command need not load them."""


class Mendable(Exception):
    """The message is for whoever typed the command: what is wrong, and where there is something to do, what."""
