"""One script a result; `python -m experiments` lists them."""
