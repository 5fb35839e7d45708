"""One script per result; `python -m experiments` lists them. What they share is in the folder `support`."""
