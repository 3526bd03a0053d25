"""Images that stay on disk, in a tree of files or a prepared folder; decoded when training needs them."""
