"""Images that stay on disk, in a tree of files or a prepared folder; decoded as training needs them."""

from suite.data.source import Images
from suite.data.stored.images import Crops, StoredImages

__all__ = ["AnyImages", "Crops", "StoredImages"]

AnyImages = Images | StoredImages  # in memory, or on disk
