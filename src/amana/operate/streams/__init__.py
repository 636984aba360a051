"""`amana events`: what goes through the streams, how far everybody is, and what nobody could handle."""
