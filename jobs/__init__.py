"""The commands: one file each, run as `python jobs/NAME.py` or, once installed, `samtok-NAME`."""
