"""The verdict of a claim, computed from records: identical, contrast, order, exact and ease."""
