"""The steps behind course.py; each runs as `python -m tools.NAME` in the course's environment."""
