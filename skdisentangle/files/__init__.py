"""Save fitted estimators to files, and load them."""
