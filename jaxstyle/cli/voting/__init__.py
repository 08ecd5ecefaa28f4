"""`jaxstyle vote`: the page that asks people, and the command that serves it and adds up what they said."""

from jaxstyle.cli.voting.command import Vote

__all__ = ["Vote"]
