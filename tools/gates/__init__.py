"""The gates of `course.py check`: functions that take the course and yield problems."""
