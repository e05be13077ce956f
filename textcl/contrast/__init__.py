"""The table of anchors and candidates that every softmax reads, and all that changes it."""
